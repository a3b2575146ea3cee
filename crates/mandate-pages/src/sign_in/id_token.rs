//! Verifies ID tokens: signature, issuer, audience, times and nonce. Where the issuer stands for many organizations, the
//! issuer of a token has to be that of the organization that the token names.

use jsonwebtoken::{Validation, decode, decode_header};
use mandate_pdp::wall_clock;
use serde_json::Value;

use super::claims::Claims;
use super::failure::Failure;
use super::key_set::KeySet;

/// The tolerated difference between the clocks, in seconds.
const LEEWAY: u64 = 60;

/// The longest token, in bytes.
const MAX_LENGTH: usize = 32 * 1024;

/// Stands for the organization, in the issuer of many.
const ORGANIZATION: &str = "{tenantid}";

/// The claim with the organization.
const ORGANIZATION_CLAIM: &str = "tid";

/// What a token has to say.
pub struct Expected<'e> {
    /// With `{tenantid}` if it is the issuer of many organizations.
    pub issuer: &'e str,
    pub audience: &'e str,
    /// `None` if there was no request of ours.
    pub nonce: Option<&'e str>,
}

/// Verifies a token, and gives its claims.
///
/// # Errors
/// It is not valid, or the keys cannot be read.
pub async fn verify(token: &str, keys: &KeySet, expected: &Expected<'_>) -> Result<Claims, Failure> {
    let invalid = |reason: String| Failure::Invalid(format!("the ID token is not valid: {reason}"));
    if token.len() > MAX_LENGTH {
        return Err(invalid("it is too long".to_owned()));
    }
    let header = decode_header(token).map_err(|error| invalid(error.to_string()))?;
    if header.crit.is_some() {
        return Err(invalid("its header has `crit`".to_owned()));
    }
    let keys = keys.keys_for(header.kid.as_deref()).await.map_err(Failure::Unavailable)?;
    let mut validation = Validation::new(header.alg);
    validation.leeway = LEEWAY;
    validation.validate_nbf = true;
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.set_audience(&[expected.audience]);
    let mut reason = "no key has its id and algorithm".to_owned();
    let fits = |id: &Option<String>| id.is_none() || header.kid.is_none() || *id == header.kid;
    for key in keys.iter().filter(|key| fits(&key.id) && key.algorithms.contains(&header.alg)) {
        match decode::<Claims>(token, &key.public, &validation) {
            Ok(token) => {
                check(&token.claims, expected).map_err(|reason| invalid(reason.to_owned()))?;
                return Ok(token.claims);
            }
            Err(error) => reason = error.to_string(),
        }
    }
    Err(invalid(reason))
}

/// Checks what the library does not know.
fn check(claims: &Claims, expected: &Expected<'_>) -> Result<(), &'static str> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss").is_none_or(|issuer| !is_issuer(issuer, expected.issuer, text(ORGANIZATION_CLAIM))) {
        return Err("wrong issuer");
    }
    if text("sub").is_none_or(str::is_empty) {
        return Err("no `sub`");
    }
    // A token for several has to be for us first of all.
    let is_for_several = claims.get("aud").and_then(Value::as_array).is_some_and(|all| all.len() > 1);
    match text("azp") {
        Some(party) if party != expected.audience => return Err("wrong `azp`"),
        None if is_for_several => return Err("several audiences, and no `azp`"),
        Some(_) | None => {}
    }
    if let Some(nonce) = expected.nonce
        && text("nonce") != Some(nonce)
    {
        return Err("wrong nonce");
    }
    let issued = claims.get("iat").and_then(Value::as_f64);
    #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 are small")]
    let latest = wall_clock::now().unix_seconds() as f64 + LEEWAY as f64;
    if issued.is_some_and(|issued| issued > latest) { Err("issued in the future") } else { Ok(()) }
}

fn is_issuer(found: &str, expected: &str, organization: Option<&str>) -> bool {
    let Some((before, after)) = expected.split_once(ORGANIZATION) else { return found == expected };
    let is_plain = |it: &&str| {
        !it.is_empty()
            && it.len() <= 64
            && it.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let organization = organization.filter(is_plain);
    organization.is_some_and(|it| found == format!("{before}{it}{after}"))
}

/// Whether an issuer is one that stands for many, such as `organizations`, in the place of the organization.
pub fn is_of_many(configured: &str, template: &str) -> bool {
    let Some((before, after)) = template.split_once(ORGANIZATION) else { return false };
    let middle = configured.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    middle.is_some_and(|middle| matches!(middle, "organizations" | "common"))
}

#[cfg(test)]
mod tests {
    use super::{is_issuer, is_of_many};

    #[test]
    fn issuers_of_many_organizations() {
        let template = "https://login.example/{tenantid}/v2.0";
        assert!(is_issuer("https://login.example/a-1/v2.0", template, Some("a-1")));
        assert!(!is_issuer("https://login.example/a-1/v2.0", template, Some("b")));
        assert!(!is_issuer("https://login.example/a-1/v2.0", template, None));
        assert!(!is_issuer("https://login.example/x/y/v2.0", template, Some("x/y")));
        assert!(!is_issuer("https://evil.example/a-1/v2.0", template, Some("a-1")));
        assert!(is_issuer("https://login.example", "https://login.example", None));
        assert!(!is_issuer("https://login.example/", "https://login.example", None));
        assert!(is_of_many("https://login.example/organizations/v2.0", template));
        assert!(!is_of_many("https://login.example/a-1/v2.0", template));
        assert!(!is_of_many("https://evil.example/organizations/v2.0", template));
    }
}
