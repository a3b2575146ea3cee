//! `[identity-sources]`: where routes may take principals from. It is only in the configuration file, because
//! it has to be outside the policy folder. Routes are checked in mandate-routes.

use serde::Deserialize;

use mandate_routes::IdentitySources;

/// The table; a list that is missing is empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentitySourcesTable {
    headers: Vec<String>,
    claims: Vec<String>,
    metadata: Vec<String>,
    certificates: Vec<String>,
    extensions: Vec<String>,
    constants: Vec<String>,
}

impl IdentitySourcesTable {
    pub fn into_identity_sources(self) -> IdentitySources {
        let Self { headers, claims, metadata, certificates, extensions, constants } = self;
        IdentitySources { headers, claims, metadata, certificates, extensions, constants }
    }
}
