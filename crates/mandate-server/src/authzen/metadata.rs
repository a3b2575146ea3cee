//! AuthZEN's metadata document: the base URL of the decision point and the URLs of its endpoints, which come
//! from the table in `crate::endpoints`. It is served by `crate::service`.

use hyper::Request;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::base_url::base_url;
use crate::endpoints::{METADATA_BASE_KEY, metadata_paths};
use crate::listen::address::Address;

/// The metadata for one caller.
#[derive(Debug)]
pub struct Metadata {
    base_url: String,
    /// Whether access requests are taken here.
    takes_requests: bool,
}

/// What AuthZEN calls a decision point that takes access requests.
const ACCESS_REQUESTS: &str = "urn:openid:authzen:capability:access-request";

impl Metadata {
    /// The metadata with the operator's public URL, which does not end with a slash, or else with the
    /// address that the request was sent to.
    pub fn of<B>(
        public_url: Option<&str>,
        listener: &Address,
        request: &Request<B>,
        takes_requests: bool,
    ) -> Self {
        let base_url = base_url(public_url, listener, request.uri(), request.headers());
        Self { base_url, takes_requests }
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(METADATA_BASE_KEY, &self.base_url)?;
        for (key, path) in metadata_paths(self.takes_requests) {
            map.serialize_entry(key, &format_args!("{}{path}", self.base_url))?;
        }
        if self.takes_requests {
            map.serialize_entry("capabilities", &[ACCESS_REQUESTS])?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;
    use serde_json::{Value, json};

    use super::Metadata;
    use crate::endpoints::{ENDPOINTS, EndpointPath, METADATA_BASE_KEY};
    use crate::listen::address::Address;

    #[test]
    fn every_url_is_the_path_of_an_endpoint() {
        let metadata = Metadata::of(Some("https://pdp"), &Address::loopback(1), &Request::new(()), true);
        let Value::Object(mut metadata) = serde_json::to_value(&metadata).unwrap() else { panic!() };
        assert_eq!(metadata.remove(METADATA_BASE_KEY), Some(json!("https://pdp")));
        assert_eq!(metadata.remove("capabilities"), Some(json!([super::ACCESS_REQUESTS])));
        assert_eq!(metadata.len(), 7);
        for (key, url) in metadata {
            let path = url.as_str().unwrap().strip_prefix("https://pdp").unwrap();
            let rows = ENDPOINTS.iter().filter(|row| row.metadata_key == Some(key.as_str()));
            let paths: Vec<EndpointPath> = rows.map(|row| row.path).collect();
            assert_eq!(paths, [EndpointPath::Exact(crate::endpoints::find(path).unwrap().path.fixed_part())]);
        }
    }
}
