//! Limits on the nodes that ehos creates for the jobs of one user or one accounting group.
//!
//! A node is charged to the user and the accounting group of the job group that it was created for, as long as the node
//! exists. Jobs of others on the node change nothing: the negotiator decides where jobs run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::budget::Budget;
use super::job_requirements::with_parents;
use super::node::Node;
use super::observation::Demand;
use keys::settings;

/// The entry of `user_limits` and `accounting_group_limits` for all that have none of their own.
pub const DEFAULT: &str = "default";

/// A user, or an accounting group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum Submitter {
    /// `Owner` of jobs.
    User(String),
    /// `AcctGroup` of jobs, in lower case; its nodes count towards the limits of the groups above it, too.
    AccountingGroup(String),
}

const GROUP: &str = "accounting group ";
const USER: &str = "user ";

impl std::fmt::Display for Submitter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Submitter::User(name) => write!(f, "{USER}{name}"),
            Submitter::AccountingGroup(name) => write!(f, "{GROUP}{name}"),
        }
    }
}

impl From<Submitter> for String {
    fn from(submitter: Submitter) -> String {
        submitter.to_string()
    }
}

impl From<String> for Submitter {
    fn from(text: String) -> Submitter {
        match (text.strip_prefix(GROUP), text.strip_prefix(USER)) {
            (Some(group), _) => Submitter::AccountingGroup(group.to_owned()),
            (None, user) => Submitter::User(user.unwrap_or(&text).to_owned()),
        }
    }
}

/// Every submitter that a node is charged to; empty where no limit applies to them.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Submitters(pub Vec<Submitter>);

impl Submitters {
    /// No submitter.
    pub const NONE: &'static Submitters = &Submitters(Vec::new());

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

settings! {
    /// The limits of one submitter.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct SubmitterLimit {
        /// Nodes that exist for its jobs at the same time.
        nodes_max: Option<u64> = None, "no limit";
        /// Cores of these nodes.
        cores_max: Option<u64> = None, "no limit";
    }
    beside {
        /// The most that these nodes cost.
        budget: Budget = Budget::default();
    }
}

/// `user_limits` and `accounting_group_limits`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SubmitterLimits {
    /// By `Owner`, or [`DEFAULT`].
    pub users: BTreeMap<String, SubmitterLimit>,
    /// By `AcctGroup` in lower case, or [`DEFAULT`].
    pub accounting_groups: BTreeMap<String, SubmitterLimit>,
}

impl SubmitterLimits {
    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.accounting_groups.is_empty()
    }

    pub fn of(&self, submitter: &Submitter) -> Option<&SubmitterLimit> {
        let (limits, name) = match submitter {
            Submitter::User(name) => (&self.users, name),
            Submitter::AccountingGroup(name) => (&self.accounting_groups, name),
        };
        limits.get(name).or_else(|| limits.get(DEFAULT))
    }

    /// The submitters of these jobs that have a limit.
    pub fn submitters(&self, demand: &Demand) -> Submitters {
        if self.is_empty() {
            return Submitters::default();
        }
        let user = demand.owner.iter().cloned().map(Submitter::User);
        let groups = demand.accounting_group.as_deref();
        let groups = groups.filter(|group| !group.is_empty());
        let groups = groups.into_iter().flat_map(with_parents);
        let groups = groups.map(|group| Submitter::AccountingGroup(group.to_owned()));
        let all = user.chain(groups);
        Submitters(all.filter(|one| self.of(one).is_some()).collect())
    }
}

/// The nodes that exist for the jobs of one submitter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Charged {
    /// Servers, those that the plan creates included.
    pub nodes: u64,
    /// Their cores.
    pub cores: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChargedNodes(BTreeMap<Submitter, Charged>);

impl ChargedNodes {
    /// Counts the nodes that exist; `cores` says how many a node has.
    pub fn count(nodes: &[Node<'_>], cores: impl Fn(&Node<'_>) -> u64) -> Self {
        let mut charged = ChargedNodes::default();
        for node in nodes.iter().filter(|node| node.exists()) {
            if !node.memory.submitters.is_empty() {
                charged.add(&node.memory.submitters, cores(node));
            }
        }
        charged
    }

    /// Adds a node.
    pub fn add(&mut self, submitters: &Submitters, cores: u64) {
        for submitter in &submitters.0 {
            let charged = self.0.entry(submitter.clone()).or_default();
            charged.nodes += 1;
            charged.cores = charged.cores.saturating_add(cores);
        }
    }

    /// The nodes of one submitter.
    pub fn of(&self, submitter: &Submitter) -> Charged {
        self.0.get(submitter).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(users: &[&str], groups: &[&str]) -> SubmitterLimits {
        let all = |names: &[&str]| {
            let names = names.iter();
            names
                .map(|name| ((*name).to_owned(), SubmitterLimit::default()))
                .collect()
        };
        SubmitterLimits {
            users: all(users),
            accounting_groups: all(groups),
        }
    }

    #[test]
    fn a_node_is_charged_to_those_that_have_a_limit() {
        let demand = Demand {
            owner: Some("bob".to_owned()),
            accounting_group: Some("physics.heavy".to_owned()),
            ..Demand::default()
        };
        let charged = |limits: SubmitterLimits| {
            let all = limits.submitters(&demand).0;
            all.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(charged(limits(&[], &[])), [""; 0]);
        assert_eq!(charged(limits(&["alice"], &["chemistry"])), [""; 0]);
        assert_eq!(charged(limits(&["bob"], &[])), ["user bob"]);
        assert_eq!(charged(limits(&[DEFAULT], &[])), ["user bob"]);
        assert_eq!(
            charged(limits(&["alice"], &["physics", "physics.heavy"])),
            ["accounting group physics", "accounting group physics.heavy"]
        );
    }

    #[test]
    fn a_submitter_is_read_as_it_is_written() {
        for submitter in [
            Submitter::User("accounting group".to_owned()),
            Submitter::User("user bob".to_owned()),
            Submitter::AccountingGroup("user bob".to_owned()),
        ] {
            let text = serde_json::to_string(&submitter).unwrap();
            assert_eq!(
                serde_json::from_str::<Submitter>(&text).unwrap(),
                submitter,
                "{text}"
            );
        }
    }
}
