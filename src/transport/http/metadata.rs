//! What the decision point says of itself: `AuthZEN`'s metadata.

use std::net::SocketAddr;

use hyper::header::HOST;
use hyper::http::request::Parts;
use serde::Serialize;

pub const PATH: &str = "/.well-known/authzen-configuration";

/// How a request came, where a listener says so; else it is `http`.
#[derive(Debug, Clone, Copy)]
pub struct Scheme(pub &'static str);

/// Where callers reach the decision point.
#[derive(Debug, Clone)]
pub struct Address {
    /// As the operator says, without a slash at the end.
    pub public: Option<String>,
    pub listener: SocketAddr,
}

#[derive(Debug, Serialize)]
pub struct Metadata {
    policy_decision_point: String,
    access_evaluation_endpoint: String,
    access_evaluations_endpoint: String,
    search_subject_endpoint: String,
    search_resource_endpoint: String,
    search_action_endpoint: String,
}

impl Metadata {
    /// The metadata for whoever sent a request.
    pub fn of(address: &Address, request: &Parts) -> Self {
        let base = address.public.clone().unwrap_or_else(|| derived(address, request));
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

fn derived(address: &Address, request: &Parts) -> String {
    let scheme = request.extensions.get::<Scheme>().map_or("http", |scheme| scheme.0);
    let host = request.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = request.uri.authority().map(hyper::http::uri::Authority::as_str).or(host);
    let host = host.filter(|host| is_host(host)).map_or_else(|| address.listener.to_string(), str::to_owned);
    format!("{scheme}://{host}")
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
