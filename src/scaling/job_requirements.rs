//! The Requirements of jobs beyond resources, and whether a new node of a type would match them.
//!
//! HTCondor evaluates the matches; this module holds the queries and their results.

use std::collections::BTreeMap;
use std::fmt;

use crate::index::{Index, index};
use crate::sorting::IntoMap;
use serde::{Deserialize, Serialize};

use super::capacity::Capacity;
use super::observation::{CloudName, CloudView, Observed, Resources, StartdView};
use super::policy::Policy;
use super::state::{NodeType, State};

/// What a group of jobs needs of a machine besides room: a digest of their Requirements and of what those refer to.
/// Jobs with equal requests and equal needs get equal answers. Empty: nothing is known of them, and room decides.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequirementsDigest(pub String);

impl RequirementsDigest {
    /// Nothing is known of them.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The requirements of unreadable jobs; `what` distinguishes them from others.
    pub fn unread(what: &str) -> RequirementsDigest {
        RequirementsDigest(format!("{UNREAD}{what}"))
    }

    /// Whether they could not be read.
    pub fn is_unread(&self) -> bool {
        self.0.starts_with(UNREAD)
    }
}

const UNREAD: &str = "unread-";

/// What is wrong with jobs that are counted and for which no node is made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum JobFault {
    /// A request is no amount, so that HTCondor matches them with no slot.
    Request {
        attribute: String,
        /// Its expression, shortened.
        value: String,
    },
    /// An attribute that could not be read: whether a node would run them is unknown.
    Unread {
        /// The attribute, if known.
        #[serde(skip_serializing_if = "Option::is_none")]
        attribute: Option<String>,
        problem: String,
    },
    /// Their owner has more of them, or more in them, than ehos works on for one owner.
    OwnerBound {
        /// The owner, where it is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<String>,
        /// The share that is used up.
        bound: OwnerBound,
    },
    /// Their time is over: `DeferralTime` and `DeferralWindow` have passed.
    Missed,
    /// They are of the parallel universe, which is not among the configured ones.
    ParallelUniverse,
}

impl JobFault {
    /// HTCondor may run them: what is free is kept for them.
    pub fn may_run(&self) -> bool {
        matches!(self, JobFault::Unread { .. } | JobFault::OwnerBound { .. })
    }
}

/// The bounds per owner of jobs, so that the jobs of one owner cannot prevent the reading of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnerBound {
    /// Time to evaluate an expression.
    Time,
    /// Jobs with expressions, which are read one by one.
    Expressions,
    /// Bytes of Requirements and of what they refer to.
    Requirements,
    /// Job groups.
    Groups,
}

impl fmt::Display for OwnerBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OwnerBound::Time => {
                "HTCondor takes too long to evaluate their expressions; shorten them with condor_qedit"
            }
            OwnerBound::Expressions => {
                "a tick reads at most 2000 jobs with expressions of one owner, and of 8 owners; set requests to numbers"
            }
            OwnerBound::Requirements => {
                "the Requirements of this owner's idle jobs exceed 2 MiB; make them equal or shorter"
            }
            OwnerBound::Groups => {
                "this owner has more than 10000 job groups; make requests and Requirements equal"
            }
        })
    }
}

/// What makes jobs alike: equal requests and equal needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobGroupKey {
    /// What each of them asks for.
    #[serde(flatten)]
    pub request: Resources,
    /// What they need besides.
    #[serde(
        default,
        rename = "requirements",
        alias = "needs",
        skip_serializing_if = "RequirementsDigest::is_empty"
    )]
    pub needs: RequirementsDigest,
}

/// Whether jobs of one kind would run on a new node of another, as HTCondor matches them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MatchResult {
    /// They would.
    Matches,
    /// Their Requirements are false there.
    JobRefuses {
        /// The first clause that is false, if known.
        clause: Option<String>,
    },
    /// The node's own Requirements (`START`) are.
    NodeRefuses,
    /// That depends on what is not known of such a node before the first of its kind has joined.
    Undetermined {
        /// The clause of the Requirements that is undetermined, if known.
        clause: Option<String>,
    },
}

/// A kind of node that jobs may run on, and what is known of it: what HTCondor is to match against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchTarget {
    /// The kind.
    pub node_type: NodeType,
    /// What such a node offers.
    pub capacity: Capacity,
    /// One that is in the pool: `Name` of its first slot.
    pub example: Option<String>,
}

/// The answers: for each kind of node and each kind of jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matches {
    answers: BTreeMap<NodeType, BTreeMap<JobGroupKey, Observed<MatchResult>>>,
    /// What jobs ask of a node of a kind, where that depends on the machine.
    requests: BTreeMap<JobGroupKey, BTreeMap<NodeType, Resources>>,
    failure: Option<String>,
}

impl Matches {
    /// Keeps an answer.
    pub fn insert(
        &mut self,
        node_type: NodeType,
        jobs: JobGroupKey,
        answer: Observed<MatchResult>,
    ) {
        self.answers
            .entry(node_type)
            .or_default()
            .insert(jobs, answer);
    }

    /// Keeps what jobs ask of a node of this kind: their requests depend on the machine.
    pub fn insert_request(&mut self, node_type: NodeType, jobs: JobGroupKey, request: Resources) {
        self.requests
            .entry(jobs)
            .or_default()
            .insert(node_type, request);
    }

    /// Whether what such jobs ask for depends on the machine.
    pub fn depends_on_machine(&self, jobs: &JobGroupKey) -> bool {
        self.requests.contains_key(jobs)
    }

    /// What such jobs ask of a node of this kind.
    pub fn request(&self, node_type: &NodeType, jobs: &JobGroupKey) -> Resources {
        let own = self
            .requests
            .get(jobs)
            .and_then(|node_types| node_types.get(node_type));
        own.copied().unwrap_or(jobs.request)
    }

    /// HTCondor failed to answer some of it: the view is partial. Of several failures the first is kept.
    pub fn fail(&mut self, why: String) {
        self.failure.get_or_insert(why);
    }

    /// Why some of it is not answered, where that is a failure and not a matter of the jobs.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// The answer; room alone decides about jobs of which nothing is known.
    pub fn answer(&self, node_type: &NodeType, jobs: &JobGroupKey) -> MatchAnswer<'_> {
        if jobs.needs.is_empty() {
            return MatchAnswer::Takes;
        }
        match self
            .answers
            .get(node_type)
            .and_then(|answers| answers.get(jobs))
        {
            Some(Observed::Known(MatchResult::Matches)) => MatchAnswer::Takes,
            Some(Observed::Known(MatchResult::Undetermined { clause })) => {
                MatchAnswer::Perhaps(clause.as_deref())
            }
            Some(Observed::Known(refusal)) => MatchAnswer::Refuses(refusal),
            Some(Observed::Unknown(why)) => MatchAnswer::Unknown(why),
            None if jobs.needs.is_unread() => {
                MatchAnswer::Unknown("the request or Requirements are unreadable")
            }
            None => MatchAnswer::Unknown("ehos has not queried HTCondor yet"),
        }
    }
}

/// What an answer means for a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchAnswer<'a> {
    /// A node of the kind takes such jobs.
    Takes,
    /// The first node of the type decides; the clause that is undetermined.
    Perhaps(Option<&'a str>),
    /// It does not.
    Refuses(&'a MatchResult),
    /// Not answered, and why: nothing is made for such jobs, and no room is taken from them.
    Unknown(&'a str),
}

impl MatchAnswer<'_> {
    /// Jobs may be counted on to use a node of the kind that is there: only a refusal says that they will not.
    pub fn may_use(&self) -> bool {
        !matches!(self, MatchAnswer::Refuses(_))
    }
}

/// The accounting group and those above it: `a.b.c` has `a.b` and `a`.
pub fn with_parents(group: &str) -> impl Iterator<Item = &str> {
    let ends = group.match_indices('.').map(|(at, _)| at);
    ends.chain([group.len()]).filter_map(|end| group.get(..end))
}

/// What a node of `kind` offers: what one really did, else what its flavor promises.
pub fn capacity(
    node_type: &NodeType,
    state: &State,
    clouds: &BTreeMap<CloudName, Observed<CloudView>>,
) -> Option<Capacity> {
    let learnt = state
        .node_type(node_type)
        .and_then(|memory| memory.capacity.clone());
    learnt.or_else(|| {
        let view = clouds.get(&node_type.cloud)?.known()?;
        let flavor = view.flavors.get(&node_type.flavor)?;
        Some(Capacity::whole(flavor.expected_capacity()))
    })
}

/// Every kind of node that is configured, and every other one that there is.
pub fn candidates(
    policy: &Policy,
    state: &State,
    startds: &[StartdView],
    clouds: &BTreeMap<CloudName, Observed<CloudView>>,
) -> Vec<MatchTarget> {
    let mut slots: Index<&str, &str> = index(startds.len());
    for startd in startds {
        if let Some(slot) = startd.slots.first() {
            slots.insert(&startd.machine, &slot.name);
        }
    }
    let configured = policy.clouds.iter().flat_map(|cloud| {
        let flavors = cloud.flavors.iter();
        flavors.map(|flavor| NodeType::of(cloud, flavor))
    });
    let mut examples: BTreeMap<NodeType, Option<String>> =
        configured.map(|node_type| (node_type, None)).into_map();
    for node in state.nodes.values() {
        let proven = node.join.proven && !node.failed;
        let example = match examples.get_mut(&node.node_type) {
            Some(example) => example,
            None => examples.entry(node.node_type.clone()).or_default(),
        };
        if let (None, true, Some(machine)) = (&example, proven, &node.join.machine) {
            *example = slots.get(machine.as_str()).map(|name| (*name).to_owned());
        }
    }
    let candidate = |(node_type, example)| {
        let capacity = capacity(&node_type, state, clouds)?;
        Some(MatchTarget {
            node_type,
            capacity,
            example,
        })
    };
    examples.into_iter().filter_map(candidate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node_type(flavor: &str) -> NodeType {
        NodeType {
            cloud: "a".to_owned(),
            flavor: flavor.to_owned(),
            image: "i".to_owned(),
        }
    }

    fn jobs(needs: &str) -> JobGroupKey {
        JobGroupKey {
            needs: RequirementsDigest(needs.to_owned()),
            ..JobGroupKey::default()
        }
    }

    #[test]
    fn what_was_not_asked_is_unknown_and_no_refusal() {
        let mut matches = Matches::default();
        let refuses = MatchResult::JobRefuses { clause: None };
        matches.insert(
            node_type("f"),
            jobs("x"),
            Observed::Known(MatchResult::Matches),
        );
        matches.insert(node_type("g"), jobs("x"), Observed::Known(refuses.clone()));
        assert_eq!(
            matches.answer(&node_type("f"), &jobs("x")),
            MatchAnswer::Takes
        );
        assert_eq!(
            matches.answer(&node_type("g"), &jobs("x")),
            MatchAnswer::Refuses(&refuses)
        );
        assert!(!matches.answer(&node_type("g"), &jobs("x")).may_use());
        let unknown = matches.answer(&node_type("h"), &jobs("x"));
        assert!(matches!(unknown, MatchAnswer::Unknown(_)) && unknown.may_use());
        // Of jobs whose Requirements nobody asked for, room decides.
        assert_eq!(
            matches.answer(&node_type("h"), &jobs("")),
            MatchAnswer::Takes
        );
    }

    #[test]
    fn a_group_counts_for_those_above_it() {
        let names: Vec<&str> = with_parents("a.b.c").collect();
        assert_eq!(names, ["a", "a.b", "a.b.c"]);
        assert_eq!(with_parents("a").collect::<Vec<_>>(), ["a"]);
    }

    /// A state of before has requests alone.
    #[test]
    fn a_request_alone_is_a_kind_of_jobs() {
        let read: JobGroupKey =
            serde_json::from_str(r#"{"cpus":2,"memory_mb":512,"disk_kb":1024,"gpus":0}"#).unwrap();
        assert_eq!((read.request.cpus, read.needs.is_empty()), (2, true));
    }
}
