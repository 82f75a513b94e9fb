//! Settings of HTCondor: how ehos queries it, and how nodes join.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

use keys::settings;

settings! {
    /// How ehos queries HTCondor, and how nodes join. A field with a key is that key of `condor:`.
    #[derive(Debug)]
    pub struct CondorSettings {
        /// The central manager's address as nodes reach it: `{host_ip}` of the template. Several central managers: all
        /// addresses, joined by commas.
        host_ip: Option<String> = None, "needed by `execute.yaml`";
        /// Another pool's collector (`-pool`).
        pool [Machine]: Option<String> = None, "this machine's";
        /// `true`: this host is one of several central managers with HAD. Only the ehos beside the active negotiator acts; see
        /// [high availability](high-availability.md).
        high_availability [Machine]: bool = false;
        /// Schedds to query, by name.
        schedds: Vec<String> = Vec::new(), "this machine's";
        /// Jobs that count: a ClassAd expression.
        job_constraint: Option<String> = None, "all";
        /// Folder of the condor_* commands.
        bin [Machine]: Option<PathBuf> = None, "`$PATH`";
        /// HTCondor's global event log (its `EVENT_LOG`), where ehos runs beside the schedd.
        event_log [Machine]: Option<PathBuf> = None, "/var/log/condor/EventLog";
        /// TRUST_DOMAIN of the pool: `{trust_domain}`.
        trust_domain: Option<String> = None, "that of HTCondor's configuration here";
        /// Name of the key that signs a token for each node: `{token}`; see [below](#tokens-of-nodes).
        token_key [Machine]: Option<String> = None, "the pool's, which only root can read";
        /// Folder with that key as a file of the user that runs ehos, mode 0600.
        token_key_directory [Machine]: Option<PathBuf> = None, "HTCondor's SEC_PASSWORD_DIRECTORY, root's";
        /// Identity of these tokens, the same for all nodes.
        token_identity: Option<String> = None, "`execute-NODE@TRUST_DOMAIN`, see [below](#tokens-of-nodes)";
        /// Lifetime of these tokens. A node is replaced before its token expires.
        token_lifetime [Positive]: Option<Duration> = None, "90 days";
    }
    beside {
        /// Matching goes by free resources alone (`match_requirements: false`), not by the jobs' Requirements.
        ignore_requirements: bool = false;
        /// Universes whose idle jobs need nodes (5 vanilla).
        universes: Vec<u32> = vec![5];
        /// The shared pool password of the original ehos: the `{password}` of user data.
        password: Option<SecretString> = None;
        /// The token with which all nodes join; else `condor_token_create` makes one for each.
        token: Option<SecretString> = None;
        /// With `scale_down: self-shutdown`, after how long without a claim a node powers itself off (`idle_timeout`): the
        /// `{noclaim_shutdown}` of user data.
        noclaim_shutdown: Option<Duration> = None;
    }
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
