//! The HTTP client of what only tells (notices, InfluxDB): one attempt, in the time that it is given, to that host alone.

use std::time::Duration;

use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};

/// A client whose every request ends within `timeout`.
pub(crate) fn agent(timeout: Duration) -> Agent {
    let trusted = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .build();
    Agent::config_builder()
        .http_status_as_error(false)
        .tls_config(trusted)
        // A redirect could carry a secret to another host.
        .max_redirects(0)
        .user_agent(concat!("ehos/", env!("CARGO_PKG_VERSION")))
        .timeout_global(Some(timeout))
        .timeout_resolve(Some(timeout))
        .timeout_connect(Some(timeout))
        .build()
        .new_agent()
}
