//! The host names of the page.
//!
//! A foreign web site can point its own name to the address of this machine and then read the page (DNS rebinding). A check of
//! the Host header prevents that.

use std::net::{IpAddr, SocketAddr};

/// The names.
#[derive(Debug, Clone)]
pub struct Hosts {
    any: bool,
    names: Vec<String>,
}

impl Hosts {
    /// Those of a server at `address`, with the given `names`: loopback's, and on another address any, if none is given.
    pub fn new(address: SocketAddr, names: &[String]) -> Hosts {
        Hosts {
            any: names.is_empty() && !is_loopback(address.ip()),
            names: names.iter().map(|name| bare(name)).collect(),
        }
    }

    /// Whether a request for `host` is for us. One without, of HTTP/1.0, comes from no browser.
    pub fn include(&self, host: Option<&str>) -> bool {
        let Some(host) = host.map(bare) else {
            return true;
        };
        let address = host.trim_start_matches('[').trim_end_matches(']').parse();
        self.any
            || host == "localhost"
            || address.is_ok_and(is_loopback)
            || self.names.contains(&host)
    }
}

/// Whether only this machine gets there.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Without port and final dot, in small letters.
fn bare(host: &str) -> String {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    name.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_asked_for_by_its_own_names_or_by_those_that_are_given() {
        let hosts = |listen: &str, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            Hosts::new(listen.parse().unwrap(), &names)
        };
        for listen in ["127.0.0.1:5000", "[::1]:5000"] {
            let own = hosts(listen, &[]);
            for host in [
                "localhost",
                "LocalHost:5000",
                "127.0.0.1:5000",
                "[::1]:5000",
                "localhost.",
                "127.1.2.3",
            ] {
                assert!(own.include(Some(host)), "{host}");
            }
            for host in [
                "evil.example",
                "localhost.evil.example",
                "127.0.0.1.evil.example",
                "10.0.0.1",
                "",
                "[::2]:1",
            ] {
                assert!(!own.include(Some(host)), "{host}");
            }
            assert!(own.include(None));
        }
        let named = hosts("127.0.0.1:5000", &["Pool.example"]);
        assert!(named.include(Some("pool.example:443")));
        assert!(named.include(Some("localhost")));
        assert!(!named.include(Some("evil.example")));
        let open = hosts("10.0.0.1:5000", &[]);
        assert!(open.include(Some("whatever.example")));
        let open = hosts("10.0.0.1:5000", &["pool.example"]);
        assert!(!open.include(Some("whatever.example")));
    }
}
