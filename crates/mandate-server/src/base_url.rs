//! The base URL under which a caller reaches the decision point: the operator's, or the one that the request was sent to.

use hyper::Uri;
use hyper::header::{HOST, HeaderMap};
use hyper::http::uri::Authority;

use crate::listen::address::Address;

/// The host that a request is sent to, in HTTP/2 or in HTTP/1.
pub fn host<'r>(uri: &'r Uri, headers: &'r HeaderMap) -> Option<&'r str> {
    let authority = uri.authority().map(Authority::as_str);
    authority.or_else(|| headers.get(HOST)?.to_str().ok())
}

/// The operator's public URL, which does not end with a slash, or else the address that a request was sent to.
pub fn base_url(public_url: Option<&str>, listener: &Address, uri: &Uri, headers: &HeaderMap) -> String {
    if let Some(url) = public_url {
        return url.to_owned();
    }
    let host = host(uri, headers).filter(|host| is_host(host));
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
