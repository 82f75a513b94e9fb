//! Settings of HTCondor: how ehos queries it, and how nodes join.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

/// How HTCondor is asked.
#[derive(Debug, Default)]
pub struct CondorSettings {
    /// The central manager's address as nodes reach it (`host_ip`): the `{host_ip}` of user data.
    pub host_ip: Option<String>,
    /// Another pool's collector (`-pool`); else what this machine's HTCondor is configured for.
    pub pool: Option<String>,
    /// Schedds to ask, by name; empty: the one of this machine.
    pub schedds: Vec<String>,
    /// A site's own limit on which jobs count, ANDed to the demand query.
    pub job_constraint: Option<String>,
    /// Room alone decides where jobs may run (`match_requirements: false`), not their Requirements.
    pub ignore_requirements: bool,
    /// Folder of the condor_* tools; else `$PATH`.
    pub bin: Option<PathBuf>,
    /// HTCondor's global event log, where it is not [`CondorSettings::EVENT_LOG`].
    pub event_log: Option<PathBuf>,
    /// Universes whose idle jobs need nodes (5 vanilla).
    pub universes: Vec<u32>,
    /// `UID_DOMAIN`/`TRUST_DOMAIN` for tokens and user data, when not asked of `condor_config_val`.
    pub trust_domain: Option<String>,
    /// The shared pool password of the original ehos: the `{password}` of user data.
    pub password: Option<SecretString>,
    /// The token with which all nodes join; else `condor_token_create` makes one for each.
    pub token: Option<SecretString>,
    /// The name of the key that signs such tokens; `None`: the pool's.
    pub token_key: Option<String>,
    /// The folder in which that key is ehos's own file; `None`: HTCondor's.
    pub token_key_directory: Option<PathBuf>,
    /// The identity of tokens that ehos makes (`execute@TRUST_DOMAIN` by default).
    pub token_identity: Option<String>,
    /// How long such a token is good for; by default [`CondorSettings::TOKEN_LIFETIME`].
    pub token_lifetime: Option<Duration>,
    /// With `scale_down: node`, after how long without a claim a node powers itself off (`idle_timeout`): the
    /// `{noclaim_shutdown}` of user data.
    pub noclaim_shutdown: Option<Duration>,
}

impl CondorSettings {
    /// The lifetime of tokens that ehos makes, when none is configured: a node that gets old is replaced before.
    pub const TOKEN_LIFETIME: Duration = Duration::from_secs(90 * 86_400);

    /// `$(LOG)/EventLog` of HTCondor's packages, which ehos.path watches.
    pub const EVENT_LOG: &str = "/var/log/condor/EventLog";

    /// HTCondor's global event log, if there is one.
    pub fn event_log(&self) -> &Path {
        let given = self.event_log.as_deref();
        given.unwrap_or(Path::new(Self::EVENT_LOG))
    }

    /// The lifetime of tokens that ehos makes.
    pub fn token_lifetime(&self) -> Duration {
        self.token_lifetime.unwrap_or(Self::TOKEN_LIFETIME)
    }
}
