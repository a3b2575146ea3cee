//! AuthZEN's metadata document: the base URL of the decision point and the URLs of its endpoints, which come
//! from the table in `crate::endpoints`. It is served by `crate::service`.

use hyper::Request;
use hyper::header::HOST;
use hyper::http::uri::Authority;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::endpoints::{METADATA_BASE_KEY, metadata_paths};
use crate::listen::address::Address;

/// The metadata for one caller.
#[derive(Debug)]
pub struct Metadata {
    base_url: String,
}

impl Metadata {
    /// The metadata with the operator's public URL, which does not end with a slash, or else with the
    /// address that the request was sent to.
    pub fn of<B>(public_url: Option<&str>, listener: &Address, request: &Request<B>) -> Self {
        let base_url = public_url.map_or_else(|| base_url_from_request(listener, request), ToOwned::to_owned);
        Self { base_url }
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(METADATA_BASE_KEY, &self.base_url)?;
        for (key, path) in metadata_paths() {
            map.serialize_entry(key, &format_args!("{}{path}", self.base_url))?;
        }
        map.end()
    }
}

fn base_url_from_request<B>(listener: &Address, request: &Request<B>) -> String {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let host = request.uri().authority().map(Authority::as_str).or(host);
    let host = host.filter(|host| is_host(host));
    let (scheme, own) = match listener {
        Address::Http(address) => ("http", address.to_string()),
        Address::Https(address) => ("https", address.to_string()),
        Address::Unix(_) => ("http", "localhost".to_owned()),
    };
    format!("{scheme}://{}", host.unwrap_or(&own))
}

/// Whether a text is a host, with or without a port. It is stricter than `http`'s `Authority`, which accepts
/// user names, `%` and other characters that could change the meaning of a URL.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.rfind(':').filter(|_| !text.ends_with(']')) {
        Some(colon) => text.split_at(colon),
        None => (text, ""),
    };
    let digits = port.strip_prefix(':').unwrap_or("0");
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let plain = |name: &str| {
        name.len() <= 253
            && !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
    };
    digits.parse::<u16>().is_ok()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && address.map_or_else(|| plain(name), |address| address.parse::<std::net::Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use hyper::Request;
    use serde_json::{Value, json};

    use super::{Metadata, is_host};
    use crate::endpoints::{ENDPOINTS, EndpointPath, METADATA_BASE_KEY};
    use crate::listen::address::Address;

    #[test]
    fn every_url_is_the_path_of_an_endpoint() {
        let metadata = Metadata::of(Some("https://pdp"), &Address::loopback(1), &Request::new(()));
        let Value::Object(mut metadata) = serde_json::to_value(&metadata).unwrap() else { panic!() };
        assert_eq!(metadata.remove(METADATA_BASE_KEY), Some(json!("https://pdp")));
        assert_eq!(metadata.len(), 5);
        for (key, url) in metadata {
            let path = url.as_str().unwrap().strip_prefix("https://pdp").unwrap();
            let rows = ENDPOINTS.iter().filter(|row| row.metadata_key == Some(key.as_str()));
            let paths: Vec<EndpointPath> = rows.map(|row| row.path).collect();
            assert_eq!(paths, [EndpointPath::Exact(crate::endpoints::find(path).unwrap().path.fixed_part())]);
        }
    }

    #[track_caller]
    fn check(host: &str, expected: bool) {
        assert_eq!(is_host(host), expected, "{host}");
    }

    #[test]
    fn hosts() {
        check("pdp.example.com", true);
        check("127.0.0.1:8181", true);
        check("[::1]:8181", true);
        check("[::1]", true);
        check("", false);
        check(":80", false);
        check("a b", false);
        check("user@host", false);
        check("host/path", false);
        check("host:port", false);
        check("host:+1", false);
        check("host:99999", false);
        check("::1", false);
        check("[x]:1", false);
        check("\"<script>", false);
    }
}
