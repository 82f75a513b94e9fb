//! Proxies by curl's rules: which requests go through one, and which of them. Pure.
//!
//! Source: curl(1), "ENVIRONMENT"; curl's lib/noproxy.c since 7.86, in which an entry may be a block of addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The schemes of proxies that ehos can use.
const SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// What the environment says of proxies. Its `Debug` shows no user and no password.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    http: Option<Result<Proxy, Unusable>>,
    https: Option<Result<Proxy, Unusable>>,
    /// The variable with the exceptions, and what it says.
    exceptions: Option<(&'static str, String)>,
}

/// A proxy, and the variable that names it.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Its address. A user and a password may be in it.
    pub url: String,
    /// Its address without them.
    shown: String,
    variable: &'static str,
    exceptions: &'static str,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, variable) = (&self.shown, self.variable);
        write!(
            f,
            "the proxy {shown} of ${variable} (exceptions: ${})",
            self.exceptions
        )
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A variable whose value is the address of no proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    variable: &'static str,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "${} is not the address of a proxy: write http://HOST:PORT, or unset it (schemes: {})",
            self.variable,
            SCHEMES.join(", ")
        )
    }
}

impl Proxies {
    /// What these environment variables say.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Proxies {
        // curl takes a variable that is empty for one that is not set.
        let first = |names: &[&'static str]| {
            names.iter().find_map(|name| {
                let value = variable(name).filter(|value| !value.is_empty())?;
                Some((*name, value))
            })
        };
        let exceptions = first(&["no_proxy", "NO_PROXY"]);
        let named_so = exceptions.as_ref().map_or("no_proxy", |(name, _)| *name);
        let proxy = |names: &[&'static str]| {
            first(names).map(|(variable, value)| {
                Proxy::parse(variable, &value, named_so).ok_or(Unusable { variable })
            })
        };
        Proxies {
            // Not HTTP_PROXY: a web server gives that name to what a client sends as `Proxy:` (CGI).
            http: proxy(&["http_proxy", "all_proxy", "ALL_PROXY"]),
            https: proxy(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            exceptions,
        }
    }

    /// The proxy of requests to `host`; `None`: they go there directly. An IPv6 address may stand in brackets.
    ///
    /// # Errors
    /// When the variable that counts names no proxy.
    pub fn of_request(
        &self,
        https: bool,
        host: &str,
        port: u16,
    ) -> Result<Option<&Proxy>, &Unusable> {
        let proxy = if https { &self.https } else { &self.http };
        let is_exception = |(_, list): &(_, String)| is_exception(list, host, port);
        match proxy {
            Some(_) if self.exceptions.as_ref().is_some_and(is_exception) => Ok(None),
            Some(proxy) => proxy.as_ref().map(Some),
            None => Ok(None),
        }
    }

    /// Every proxy of the environment.
    pub fn all(&self) -> impl Iterator<Item = &Proxy> {
        let both = [&self.http, &self.https];
        both.into_iter().flatten().flatten()
    }
}

impl Proxy {
    fn parse(variable: &'static str, value: &str, exceptions: &'static str) -> Option<Proxy> {
        let value = value.trim();
        let (scheme, rest) = match value.split_once("://") {
            Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
            None => ("http".to_owned(), value),
        };
        let scheme = if scheme == "socks" {
            "socks4"
        } else {
            SCHEMES.into_iter().find(|known| **known == scheme)?
        };
        let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user, host) = match rest.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, rest),
        };
        let (name, port) = host_and_port(host)?;
        let named = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '@');
        if !named {
            return None;
        }
        // curl's port of a proxy that names none, but for https.
        let port = port.unwrap_or(if scheme == "https" { 443 } else { 1080 });
        let shown = format!("{scheme}://{name}:{port}");
        let url = match user {
            Some(user) => format!("{scheme}://{user}@{name}:{port}"),
            None => shown.clone(),
        };
        Some(Proxy {
            url,
            shown,
            variable,
            exceptions,
        })
    }
}

/// `HOST`, `HOST:PORT`, `[IPV6]`, `[IPV6]:PORT`; an IPv6 address keeps its brackets.
fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let end = text.rfind(']').map_or(0, |end| end + 1);
    let after = text.get(end..).unwrap_or_default();
    match after.rfind(':') {
        None => Some((text, None)),
        Some(colon) => {
            let (host, port) = text.split_at(end + colon);
            let port = port.trim_start_matches(':');
            let port = if port.is_empty() {
                None
            } else {
                Some(port.parse().ok()?)
            };
            Some((host, port))
        }
    }
}

/// Whether the list of exceptions has this host. What curl does not have: `*` beside others, `*.example.org`, an entry
/// with a port, which holds for that port alone, an IPv6 address in brackets, and blanks that part entries.
fn is_exception(list: &str, host: &str, port: u16) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = host.strip_suffix('.').unwrap_or(host);
    let address: Option<IpAddr> = host.parse().ok();
    let mut entries = list
        .split([',', ' ', '\t'])
        .filter(|entry| !entry.is_empty());
    entries.any(|entry| {
        if entry == "*" || is_entry(entry, host, address) {
            return true;
        }
        match host_and_port(entry) {
            Some((entry, Some(only))) if !is_ipv6(entry) => {
                only == port && is_entry(entry, host, address)
            }
            _ => false,
        }
    })
}

/// Without brackets what looks like a port is a part of the address.
fn is_ipv6(entry: &str) -> bool {
    entry.contains(':') && !entry.starts_with('[')
}

fn is_entry(entry: &str, host: &str, address: Option<IpAddr>) -> bool {
    match address {
        Some(IpAddr::V4(address)) => is_in_v4(entry, address),
        Some(IpAddr::V6(address)) => is_in_v6(entry, address),
        None => is_name_or_below(entry, host),
    }
}

/// `example.org` and `.example.org` are that name and all below it.
fn is_name_or_below(entry: &str, host: &str) -> bool {
    let entry = entry.strip_prefix('*').unwrap_or(entry);
    let entry = entry.strip_suffix('.').unwrap_or(entry);
    let entry = entry.strip_prefix('.').unwrap_or(entry);
    let (entry, host) = (entry.as_bytes(), host.as_bytes());
    let Some(start) = host.len().checked_sub(entry.len()) else {
        return false;
    };
    let (before, tail) = host.split_at(start);
    !entry.is_empty()
        && tail.eq_ignore_ascii_case(entry)
        && (before.is_empty() || before.ends_with(b"."))
}

fn is_in_v4(entry: &str, address: Ipv4Addr) -> bool {
    let Some((network, bits)) = block::<Ipv4Addr>(entry, 32) else {
        return false;
    };
    let differ = network.to_bits() ^ address.to_bits();
    differ.checked_shr(32 - bits).unwrap_or(0) == 0
}

fn is_in_v6(entry: &str, address: Ipv6Addr) -> bool {
    let entry = entry.replace(['[', ']'], "");
    let Some((network, bits)) = block::<Ipv6Addr>(&entry, 128) else {
        return false;
    };
    let differ = network.to_bits() ^ address.to_bits();
    differ.checked_shr(128 - bits).unwrap_or(0) == 0
}

/// An address and how many of its bits count.
fn block<A: std::str::FromStr>(entry: &str, most: u32) -> Option<(A, u32)> {
    let (address, bits) = match entry.split_once('/') {
        Some((address, bits)) => (address, bits.parse().ok().filter(|bits| *bits <= most)?),
        None => (entry, most),
    };
    Some((address.parse().ok()?, bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::of(|name| {
            let found = variables.iter().find(|(there, _)| *there == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn used(variables: &[(&str, &str)], url: &str) -> String {
        let (scheme, rest) = url.split_once("://").unwrap();
        let (host, port) = host_and_port(rest).unwrap();
        let https = scheme == "https";
        let port = port.unwrap_or(if https { 443 } else { 80 });
        match proxies(variables).of_request(https, host, port) {
            Ok(Some(proxy)) => proxy.shown.clone(),
            Ok(None) => String::new(),
            Err(unusable) => unusable.to_string(),
        }
    }

    #[test]
    fn the_variable_of_the_scheme_counts_and_then_the_one_for_all() {
        let p = "http://127.0.0.1:9";
        for (name, http, https) in [
            ("http_proxy", p, ""),
            ("HTTP_PROXY", "", ""),
            ("https_proxy", "", p),
            ("HTTPS_PROXY", "", p),
            ("all_proxy", p, p),
            ("ALL_PROXY", p, p),
        ] {
            assert_eq!(used(&[(name, p)], "http://a.example"), http, "{name}");
            assert_eq!(used(&[(name, p)], "https://a.example"), https, "{name}");
        }
        let both = [
            ("https_proxy", "http://low:1"),
            ("HTTPS_PROXY", "http://up:1"),
        ];
        assert_eq!(used(&both, "https://a"), "http://low:1");
        let over_all = [
            ("all_proxy", "http://all:1"),
            ("http_proxy", "http://own:1"),
        ];
        assert_eq!(used(&over_all, "http://a"), "http://own:1");
        assert_eq!(used(&over_all, "https://a"), "http://all:1");
        let empty = [("https_proxy", ""), ("ALL_PROXY", "http://all:1")];
        assert_eq!(used(&empty, "https://a"), "http://all:1");
    }

    #[test]
    fn exceptions_are_names_with_all_below_them_addresses_and_blocks() {
        for (list, host, direct) in [
            ("example.org", "api.cloud.example.org", true),
            ("cloud.example.org", "api.cloud.example.org", true),
            (".example.org", "api.cloud.example.org", true),
            ("localhost, .example.org", "api.cloud.example.org", true),
            ("localhost .example.org", "api.cloud.example.org", true),
            ("EXAMPLE.ORG", "api.Example.org", true),
            ("example.org.", "api.example.org", true),
            ("example.org", "example.org.", true),
            (".example.org", "example.org", true),
            ("*.example.org", "api.example.org", true),
            ("ample.org", "example.org", false),
            ("example.org", "badexample.org", false),
            ("api.example.org", "example.org", false),
            ("example", "example.org", false),
            (".", "example.org", false),
            (",, ,", "example.org", false),
            ("*", "example.org", true),
            ("*", "10.0.0.1", true),
            ("a, *", "example.org", true),
            ("*ample.org", "example.org", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("localhost,127.0.0.0/8", "127.0.0.1", true),
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.1.2.3/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/31", "10.0.0.1", true),
            ("10.0.0.0/31", "10.0.0.2", false),
            ("10.0.0.1/32", "10.0.0.1", true),
            ("0.0.0.0/0", "10.0.0.1", true),
            ("10.0.0.0/33", "10.0.0.0", false),
            ("10.0.0.0/x", "10.0.0.0", false),
            ("10.0.0.0/8", "ten.example.org", false),
            ("0.0.1", "10.0.0.1", false),
            (".1", "10.0.0.1", false),
            ("::1", "[::1]", true),
            ("[::1]", "[::1]", true),
            ("0:0:0:0:0:0:0:1", "[::1]", true),
            ("fd00::/8", "[fd12::5]", true),
            ("[fd00::]/8", "[fd12::5]", true),
            ("fd00::/8", "[fe80::5]", false),
            ("fd00::/8", "10.0.0.1", false),
            ("10.0.0.1:5000", "10.0.0.1:5000", true),
            ("10.0.0.1:5000", "10.0.0.1:80", false),
            ("example.org:5000", "api.example.org:5000", true),
            ("example.org:5000", "api.example.org:443", false),
            ("[::1]:5000", "[::1]:5000", true),
            ("[::1]:5000", "[::1]:443", false),
        ] {
            for name in ["no_proxy", "NO_PROXY"] {
                let variables = [("http_proxy", "http://p:9"), (name, list)];
                let used = used(&variables, &format!("http://{host}"));
                assert_eq!(used.is_empty(), direct, "{list:?} {host}");
            }
        }
        let both = [("all_proxy", "p:9"), ("no_proxy", "b"), ("NO_PROXY", "a")];
        assert_eq!(
            used(&both, "http://a"),
            "http://p:9",
            "the small one counts"
        );
        let empty = [("all_proxy", "p:9"), ("no_proxy", ""), ("NO_PROXY", "a")];
        assert_eq!(used(&empty, "http://a"), "", "an empty one is none");
    }

    #[test]
    fn a_proxy_is_shown_without_its_user() {
        let variables = [
            ("https_proxy", "http://me:hu%40sh@p.example:3128/"),
            ("NO_PROXY", "x"),
        ];
        let all = proxies(&variables);
        let proxy = all.of_request(true, "a", 443).unwrap().unwrap();
        assert_eq!(proxy.url, "http://me:hu%40sh@p.example:3128");
        assert_eq!(
            proxy.to_string(),
            "the proxy http://p.example:3128 of $https_proxy (exceptions: $NO_PROXY)"
        );
        assert!(!format!("{all:?} {proxy:?}").contains("sh@"), "{all:?}");
    }

    #[test]
    fn what_is_no_address_of_a_proxy_is_named_and_not_shown() {
        for value in [
            "http://",
            "ftp://p:1",
            "a b",
            "http://p:port",
            "http://me:hush@",
        ] {
            let said = used(&[("https_proxy", value)], "https://a");
            assert!(
                said.starts_with("$https_proxy is not the address"),
                "{value}: {said}"
            );
            assert!(!said.contains("hush"), "{said}");
            let excepted = [("https_proxy", value), ("no_proxy", "a")];
            assert_eq!(used(&excepted, "https://a"), "", "it is not asked");
        }
        for (value, shown) in [
            ("p", "http://p:1080"),
            ("p:3128", "http://p:3128"),
            ("HTTP://p:3128/", "http://p:3128"),
            ("https://p", "https://p:443"),
            ("socks5h://p", "socks5h://p:1080"),
            ("[::1]:3128", "http://[::1]:3128"),
        ] {
            assert_eq!(used(&[("all_proxy", value)], "https://a"), shown);
        }
    }
}
