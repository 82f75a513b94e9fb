//! Everything that can be wrong, found before a server is made. One file for each thing that is looked at: it asks, and
//! judges what it got by pure functions.

mod access;
mod boot;
mod cloud;
mod configuration;
pub mod fix;
mod maintenance;
mod placement;
mod pool;
mod quota;
mod reach;
pub mod report;
mod rights;
mod slot_users;
mod state_directory;

use std::path::Path;
use std::thread;

use serde::Serialize;

use config::Config;
use deploy::local_keys::LocalKeys;
use openstack::CloudSettings;
use system::advice::Advice;
use system::deadline::Deadline;
use system::environment::Environment;
use system::threads::{joined, spawn};

use self::fix::Fix;
pub use configuration::unusable;

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// It was not looked at: the text says why.
    Skipped,
    /// It works for now, or not for all.
    Warning,
    /// No node can be made, or none can work, until it is put right.
    Failed,
}

/// What was found out about one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at: a short word that stays the same.
    pub check: &'static str,
    /// How it is.
    pub outcome: Outcome,
    /// The same in a sentence.
    #[serde(rename = "text")]
    pub what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// What `ehos check --fix` does about it.
    #[serde(skip)]
    pub fixes: Vec<Fix>,
}

impl Finding {
    fn new(
        check: &'static str,
        outcome: Outcome,
        what: impl Into<String>,
        remedy: Option<String>,
    ) -> Finding {
        Finding {
            check,
            outcome,
            what: what.into(),
            remedy,
            fixes: Vec::new(),
        }
    }

    fn fixed_by(self, fixes: impl IntoIterator<Item = Fix>) -> Finding {
        Finding {
            fixes: fixes.into_iter().collect(),
            ..self
        }
    }

    fn ok(check: &'static str, what: impl Into<String>) -> Finding {
        Finding::new(check, Outcome::Ok, what, None)
    }

    fn skipped(check: &'static str, why: impl Into<String>) -> Finding {
        Finding::new(check, Outcome::Skipped, why, None)
    }

    fn warning(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding::new(check, Outcome::Warning, what, Some(remedy.into()))
    }

    fn failed(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding::new(check, Outcome::Failed, what, Some(remedy.into()))
    }

    fn of(check: &'static str, outcome: Outcome, advice: impl Into<Advice>) -> Finding {
        let Advice { problem, remedy } = advice.into();
        Finding::new(check, outcome, problem, remedy)
    }

    fn by_error(check: &'static str, advice: impl Into<Advice>) -> Finding {
        Finding::of(check, Outcome::Failed, advice)
    }
}

/// What was found out about one part of the site.
#[derive(Debug, Clone)]
pub struct Area {
    /// `configuration`, `cloud NAME` or `pool`.
    pub name: String,
    /// All of it, in the order in which it matters.
    pub findings: Vec<Finding>,
    /// Whether anybody answered; `None` when nobody was asked.
    pub answered: Option<bool>,
    /// The cloud that the area is about.
    pub cloud: Option<String>,
}

/// Looks at the configuration, the state directory, `clouds` and the pool, all of them at once.
pub fn run(
    config: &Config,
    clouds: &[&CloudSettings],
    environment: &Environment,
    state_directory: &Path,
    deadline: Deadline,
) -> Vec<Area> {
    let mut here = configuration::check(config, environment);
    here.findings
        .extend(state_directory::check(state_directory));
    here.findings
        .extend(maintenance::check(config, state_directory));
    let mut areas = vec![here];
    if config.simulation.is_some() {
        return areas;
    }
    let keys = &LocalKeys::look(environment);
    thread::scope(|scope| {
        let clouds: Vec<_> = clouds
            .iter()
            .map(|settings| {
                spawn(scope, move || {
                    cloud::check(config, settings, keys, deadline)
                })
            })
            .collect();
        let pool = pool::check(config, deadline);
        areas.extend(clouds.into_iter().map(joined));
        areas.push(pool);
    });
    areas
}
