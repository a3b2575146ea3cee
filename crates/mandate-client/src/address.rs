//! Which addresses belong to the public internet, and which names mean this machine. Names are resolved in `client`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is one of the public internet: not loopback, private, link-local, multicast, documentation, shared
/// by a carrier, or an IPv4 address inside an IPv6 address.
///
/// ```
/// use mandate_client::is_public;
///
/// assert!(is_public("192.0.1.1".parse().expect("an address")));
/// assert!(!is_public("169.254.169.254".parse().expect("an address")));
/// ```
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let is_special = match address.octets() {
        // Shared by a carrier.
        [100, second, ..] => second & 0xC0 == 64,
        // Private.
        [172, second, ..] => second & 0xF0 == 16,
        // Measurements of networks.
        [198, second, ..] if second & 0xFE == 18 => true,
        // This network, private, loopback, multicast, reserved, broadcast; link-local; private; then protocols,
        // documentation, and relays between IPv6 and IPv4.
        octets => matches!(
            octets,
            [0 | 10 | 127 | 224.., ..]
                | [169, 254, ..]
                | [192, 168, ..]
                | [192, 0, 0 | 2, _]
                | [192, 88, 99, _]
                | [198, 51, 100, _]
                | [203, 0, 113, _]
        ),
    };
    !is_special
}

/// Only `2000::/3` is given out, and some of it has another meaning.
fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // Protocols, such as Teredo, which holds an IPv4 address; documentation.
        [0x2001, second, ..] if second < 0x0200 => false,
        [0x3FFF, second, ..] if second < 0x1000 => false,
        // Documentation; 6to4, which holds an IPv4 address.
        [0x2001, 0x0DB8, ..] | [0x2002, ..] => false,
        [first, ..] => first & 0xE000 == 0x2000,
    }
}

/// Whether a host, with a port or without, is a name of this machine. A page of the web can give its own name the
/// address of this machine, and so get a browser to ask here; the name tells.
///
/// ```
/// assert!(mandate_client::is_this_machine("localhost:8080"));
/// assert!(!mandate_client::is_this_machine("localhost.example.com"));
/// ```
pub fn is_this_machine(host: &str) -> bool {
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let name = name.map_or(host, |(name, _)| name);
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::{is_public, is_this_machine};

    #[test]
    fn public_addresses() {
        for public in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.0.1",
            "169.255.0.1",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2000::1",
            "2001:200::1",
            "2606:4700::1111",
            "2a00:1450::1",
            "3ffe::1",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn internal_addresses() {
        for internal in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2001:1ff::1",
            "2002:7f00:1::",
            "3fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(internal.parse().unwrap()), "{internal}");
        }
    }

    #[test]
    fn names_of_this_machine() {
        for host in ["localhost", "LOCALHOST:8181", "127.0.0.1:8181", "127.0.0.2", "[::1]:8181", "[::1]"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in ["", "evil.example", "evil.example:80", "localhost.evil.example:80", "10.0.0.1", "::1.x"]
        {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
