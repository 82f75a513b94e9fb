//! Settings of the metrics: where a tick sends its figures.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

/// Who gets the figures of a tick.
#[derive(Debug)]
pub struct MetricsSettings {
    /// The file for node_exporter's textfile collector.
    pub prometheus_textfile: Option<PathBuf>,
    /// The InfluxDB that they are sent to.
    pub influxdb: Option<InfluxSettings>,
    /// What this machine is called there (`daemon.hostname`); `None`: its name.
    pub hostname: Option<String>,
    /// How long sending may take.
    pub timeout: Duration,
}

impl Default for MetricsSettings {
    fn default() -> MetricsSettings {
        MetricsSettings {
            prometheus_textfile: None,
            influxdb: None,
            hostname: None,
            timeout: Duration::from_secs(2),
        }
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
    /// What nobody may see of it.
    pub fn secret(&self) -> &SecretString {
        match self {
            InfluxLogin::Password { password, .. } => password,
            InfluxLogin::Token(token) => token,
        }
    }
}
