//! How ehos reaches HTTP services: the agents of all its clients, with the proxies of the environment.

use std::time::Duration;

use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{RootCerts, TlsConfig};

use crate::proxy::{Proxies, Proxy};

/// One agent for requests that go to their hosts directly, and one for each proxy.
pub struct Agents {
    proxies: Proxies,
    direct: Agent,
    by_proxy: Vec<(Proxy, Agent)>,
}

/// How a request goes out.
pub struct Route<'a> {
    /// What sends it.
    pub agent: &'a Agent,
    /// What it goes through.
    pub proxy: Option<&'a Proxy>,
}

impl Agents {
    /// Agents as `config` says, but for its proxy: that is by the environment of this process.
    pub fn new(config: &dyn Fn(Option<ureq::Proxy>) -> Config) -> Agents {
        let proxies = Proxies::of(|name| std::env::var(name).ok());
        let agent = |proxy: &Proxy| {
            let through = ureq::Proxy::new(&proxy.url).ok()?;
            Some((proxy.clone(), config(Some(through)).new_agent()))
        };
        Agents {
            by_proxy: proxies.all().filter_map(agent).collect(),
            direct: config(None).new_agent(),
            proxies,
        }
    }

    /// How requests to `uri` go out.
    ///
    /// # Errors
    /// When they go through a proxy that is none.
    pub fn route(&self, uri: &Uri) -> Result<Route<'_>, String> {
        let https = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let host = uri.host().unwrap_or_default();
        let proxy = self.proxies.of_request(https, host, port);
        let Some(proxy) = proxy.map_err(ToString::to_string)? else {
            return Ok(Route {
                agent: &self.direct,
                proxy: None,
            });
        };
        let agent = self.by_proxy.iter().find(|(there, _)| there == proxy);
        match agent {
            Some((_, agent)) => Ok(Route {
                agent,
                proxy: Some(proxy),
            }),
            None => Err(format!("{proxy} has an address that cannot be used")),
        }
    }
}

/// Agents of what only tells (notices, InfluxDB): one attempt within `timeout`, to that host alone.
pub fn agents(timeout: Duration) -> Agents {
    Agents::new(&|proxy| {
        let trusted = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .build();
        Agent::config_builder()
            .http_status_as_error(false)
            .tls_config(trusted)
            .proxy(proxy)
            // A redirect could carry a secret to another host.
            .max_redirects(0)
            .user_agent(concat!("ehos/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(timeout))
            .timeout_resolve(Some(timeout))
            .timeout_connect(Some(timeout))
            .build()
    })
}

/// What failed on the way through a proxy, with the proxy in it.
pub fn told(error: String, proxy: Option<&Proxy>) -> String {
    match proxy {
        Some(proxy) => format!("{error}; it was sent through {proxy}"),
        None => error,
    }
}

/// `value` for a query or a segment of a path (RFC 3986, 2.3).
pub fn percent_encoded(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded() {
        assert_eq!(
            percent_encoded("GOLD CentOS 7&x=ä"),
            "GOLD%20CentOS%207%26x%3D%C3%A4"
        );
    }
}
