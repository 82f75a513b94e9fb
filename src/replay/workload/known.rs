//! The jobs that were read: a file and its copy may hold the same ones.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::JOBS_MAX;

/// What tells a job from others.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) enum Identity<'a> {
    Global(&'a str),
    /// Cluster and process, and the time of the submit.
    Local((i64, i64), Option<i64>),
}

/// The identities of the jobs so far, hashed.
#[derive(Debug, Default)]
pub(super) struct Known(HashSet<u64>);

impl Known {
    /// Refuses a job that was there before. Nothing tells two jobs without an identity apart.
    pub(super) fn check(&mut self, identity: Option<Identity<'_>>) -> Result<(), &'static str> {
        let Some(identity) = identity else {
            return Ok(());
        };
        // All further jobs are left out.
        if self.0.len() >= JOBS_MAX {
            return Ok(());
        }
        let mut hasher = DefaultHasher::new();
        identity.hash(&mut hasher);
        match self.0.insert(hasher.finish()) {
            true => Ok(()),
            false => Err("the same job again: left out"),
        }
    }
}
