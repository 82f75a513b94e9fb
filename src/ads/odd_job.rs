//! Idle jobs that are asked for by themselves, for their expressions could keep a schedd busy.

use std::collections::BTreeMap;

/// One such job: all of its attributes that matter, by name in small letters, as they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OddJob {
    pub cluster: u64,
    pub proc: u64,
    pub owner: Option<String>,
    pub attributes: BTreeMap<String, String>,
}

/// What is known of these jobs.
#[derive(Debug, Default)]
pub struct OddJobs {
    /// Those that were read, with their values.
    pub valued: Vec<(OddJob, String)>,
    /// Those whose expressions take too long, and the names of these.
    pub slow: Vec<(OddJob, String)>,
    /// How many more each owner has.
    pub unread: BTreeMap<Option<String>, u64>,
}
