//! The settings of metrics.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use keys::settings;

settings! {
    /// The receivers of the figures of a tick. A field with a key is that key of `metrics:`.
    #[derive(Debug)]
    pub struct MetricsSettings {
        /// File for node_exporter's textfile collector, written by each acting tick; its name ends in `.prom`.
        prometheus_textfile: Option<PathBuf> = None, "none";
        /// Time limit of the request to InfluxDB, at most 10 s.
        timeout [Positive, AtMost(10)]: Duration = Duration::from_secs(2);
    }
    beside {
        /// The InfluxDB that they are sent to.
        influxdb: Option<InfluxSettings> = None;
        /// The name of this machine there (`daemon.hostname`); `None`: its own.
        hostname: Option<String> = None;
    }
}

/// An InfluxDB.
#[derive(Debug)]
pub struct InfluxSettings {
    /// Where lines are written, with the database, or the organization and the bucket. It has no secret in it.
    pub address: String,
    /// How ehos proves who it is.
    pub login: Option<InfluxLogin>,
}

/// How ehos proves who it is to InfluxDB.
#[derive(Debug)]
pub enum InfluxLogin {
    /// Version 1.
    Password {
        /// The user.
        username: String,
        /// Its password.
        password: SecretString,
    },
    /// Version 2.
    Token(SecretString),
}

impl InfluxLogin {
    /// Its secret.
    pub fn secret(&self) -> &SecretString {
        match self {
            InfluxLogin::Password { password, .. } => password,
            InfluxLogin::Token(token) => token,
        }
    }
}
