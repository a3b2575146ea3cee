//! What the decision point says of itself: `AuthZEN`'s metadata.

use hyper::Request;
use hyper::header::HOST;
use schemars::JsonSchema;
use serde::Serialize;

use crate::listen::address::Address;

pub const PATH: &str = "/.well-known/authzen-configuration";

#[derive(Debug, Serialize, JsonSchema)]
pub struct Metadata {
    policy_decision_point: String,
    access_evaluation_endpoint: String,
    access_evaluations_endpoint: String,
    search_subject_endpoint: String,
    search_resource_endpoint: String,
    search_action_endpoint: String,
}

impl Metadata {
    /// The metadata for whoever sent a request: by the address that the operator says, without a slash at
    /// its end, or by the one that was called.
    pub fn of<B>(public: Option<&str>, listener: &Address, request: &Request<B>) -> Self {
        let base = public.map_or_else(|| base_url_from_request(listener, request), ToOwned::to_owned);
        let at = |path: &str| format!("{base}/access/v1/{path}");
        Self {
            access_evaluation_endpoint: at("evaluation"),
            access_evaluations_endpoint: at("evaluations"),
            search_subject_endpoint: at("search/subject"),
            search_resource_endpoint: at("search/resource"),
            search_action_endpoint: at("search/action"),
            policy_decision_point: base,
        }
    }
}

fn base_url_from_request<B>(listener: &Address, request: &Request<B>) -> String {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let host = request.uri().authority().map(hyper::http::uri::Authority::as_str).or(host);
    let host = host.filter(|host| is_host(host));
    let (scheme, own) = match listener {
        Address::Http(address) => ("http", address.to_string()),
        Address::Https(address) => ("https", address.to_string()),
        Address::Unix(_) => ("http", "localhost".to_owned()),
    };
    format!("{scheme}://{}", host.unwrap_or(&own))
}

/// Whether this is a host, with a port or without, and nothing that could mean something else in a URL.
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
    use super::is_host;

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
