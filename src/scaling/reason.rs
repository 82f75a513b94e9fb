//! Why: one value for each thing that can be said about a node, a group of jobs or an action, with its numbers.
//! `Display` makes the sentence, serde the JSON; tests and programs look at the value, never at the sentence.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::allocation::Choice;
use super::console::ConsoleExcerpt;
use super::limits::Limit;
use super::nearest::Nearest;
use super::needs::OwnerBound;
use super::node::{JobLeft, JobListed};
use super::observation::Resources;

/// Why something is, or is not, done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[allow(missing_docs)] // The sentence of each is below.
pub enum Reason {
    // Nodes that are left as they are.
    Requested {
        seconds: u64,
    },
    Building {
        seconds: u64,
    },
    Booting {
        seconds: u64,
        boot_timeout_seconds: u64,
    },
    Busy {
        claimed_cpus: u64,
        total_cpus: u64,
    },
    NeededByDemand {
        jobs: u64,
    },
    IdleNotLongEnough {
        idle_seconds: u64,
        idle_timeout_seconds: u64,
    },
    EndsItself {
        idle_seconds: u64,
        idle_timeout_seconds: u64,
    },
    Spare {
        nodes_spare: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        percent: Option<u64>,
    },
    Paid {
        idle_seconds: u64,
        paid_seconds_left: u64,
    },
    OutlivedWaits {
        age_seconds: u64,
        max_lifetime_seconds: u64,
    },
    Minimum {
        nodes_min: u64,
    },
    Silent {
        silent_seconds: u64,
        lost_timeout_seconds: u64,
        job_listed: bool,
    },
    SilentOnUnknownSchedd {
        silent_seconds: u64,
        lost_job_timeout_seconds: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        schedd: Option<String>,
    },
    SilentAdopted {
        silent_seconds: u64,
        lost_job_timeout_seconds: u64,
    },
    Unheard {
        cause: Unheard,
    },
    NoSlot,
    NotActive {
        status: String,
    },
    Inactive {
        status: String,
        job: JobListed,
    },
    Unreachable {
        silent_seconds: u64,
        unlisted_seconds: u64,
        lost_job_timeout_seconds: u64,
        job_left: JobLeft,
    },
    TakesNoJobs {
        closed_seconds: u64,
    },
    DrainedByOther {
        drain_reason: String,
    },
    DrainNotComplete,
    Stopped {
        silent: bool,
        job: JobListed,
    },
    Contradiction {
        says_instance_id: String,
        says_node: String,
    },
    Contested {
        first: String,
        second: String,
    },
    DrainedWithJob {
        machine: String,
    },
    DrainContradicted {
        unlisted_seconds: u64,
        lost_job_timeout_seconds: u64,
    },
    AdoptedUntrusted {
        seconds: u64,
    },
    Unsigned {
        /// It counts towards nodes_max.
        counts: bool,
    },
    AnotherCondorHost {
        condor_host: String,
        configured_condor_host: String,
    },
    CloudUnknown,
    ServerUnread,
    DeleteUnderWay {
        seconds: u64,
    },
    DeletedByOther,
    GoneFromCloud,
    IntentLapsed {
        seconds: u64,
    },
    Braked {
        brake: String,
    },
    MaxActions {
        max_actions: u64,
    },
    // Nodes that something is done with.
    DrainSurplus {
        idle_seconds: u64,
        surplus: u64,
        nodes_spare: u64,
    },
    DrainTakesNoJobs {
        idle_seconds: u64,
        closed_seconds: u64,
    },
    DrainTokenEnds {
        idle_seconds: u64,
        token_left_seconds: u64,
    },
    DrainOutlived {
        idle_seconds: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        closed_seconds: Option<u64>,
        age_seconds: u64,
        max_lifetime_seconds: u64,
    },
    DrainCloudRetires {
        idle_seconds: u64,
    },
    DrainAboveMaximum {
        idle_seconds: u64,
        nodes_max: u64,
    },
    KilledForItsAge {
        age_seconds: u64,
        max_lifetime_seconds: u64,
        claims: u64,
    },
    DrainOlderImage {
        idle_seconds: u64,
        image: String,
        configured_image: String,
    },
    DrainToTryImage {
        idle_seconds: u64,
        image: String,
        configured_image: String,
    },
    DrainTakenBack {
        jobs: u64,
    },
    Drained {
        #[serde(skip_serializing_if = "Option::is_none")]
        idle_seconds: Option<u64>,
    },
    FailedInCloud {
        fault: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        console: Option<ConsoleExcerpt>,
    },
    NeverJoined {
        seconds: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        console: Option<ConsoleExcerpt>,
    },
    StoppedInCloud,
    Lost {
        silent_seconds: u64,
    },
    UnreachableWithoutJob {
        silent_seconds: u64,
        unlisted_seconds: u64,
    },
    DeleteAgain {
        seconds: u64,
    },
    ServerGone,
    // Builders.
    BuilderWithinLifetime {
        age_seconds: u64,
        lifetime_seconds: u64,
    },
    BuilderExpiredOnce {
        age_seconds: u64,
        lifetime_seconds: u64,
    },
    BuilderExpired {
        age_seconds: u64,
        lifetime_seconds: u64,
    },
    BuilderRunsJobs {
        claims: u64,
    },
    // What was left behind.
    LeftoverSeenOnce,
    LeftBehind {
        seconds: u64,
    },
    LeftoverUnmarked {
        seconds: u64,
    },
    FloatingIpUnused {
        seconds: u64,
        unused_after_seconds: u64,
    },
    FloatingIpForMaster,
    FloatingIpOfNode,
    // Nodes that are made.
    CreateForDemand {
        jobs: u64,
        request: Resources,
        choice: Option<Choice>,
    },
    CreateForMinimum {
        nodes_min: u64,
    },
    CreateForSpare {
        nodes_spare: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        percent: Option<u64>,
    },
    // Groups of jobs.
    FitsFree {
        jobs: u64,
    },
    FitsClaimed {
        jobs: u64,
    },
    FitsComing {
        jobs: u64,
    },
    FitsTakenBack {
        jobs: u64,
    },
    NewNodes {
        jobs: u64,
        nodes: u64,
        kinds: Vec<Made>,
    },
    FitsNew {
        jobs: u64,
    },
    TooLarge {
        asks: Resources,
        largest: Option<Resources>,
        #[serde(skip_serializing_if = "Option::is_none")]
        nearest: Option<Nearest>,
    },
    NoMatch {
        refused: Vec<Refuses>,
    },
    NotAnswered {
        why: String,
    },
    FirstWillTell {
        jobs: u64,
        clause: Option<String>,
    },
    ConcurrencyLimit {
        jobs: u64,
        concurrency_limit: String,
        used: String,
        limit: String,
    },
    GroupQuota {
        jobs: u64,
        accounting_group: String,
        used: String,
        quota: String,
    },
    MaxJobsRunning {
        jobs: u64,
        schedd: String,
        running: u64,
        limit: u64,
    },
    Deferred {
        jobs: u64,
        seconds: u64,
    },
    DeferralMissed {
        jobs: u64,
    },
    ParallelUniverse {
        jobs: u64,
    },
    Restarting {
        jobs: u64,
        starts: u64,
        seconds: u64,
    },
    BadRequest {
        jobs: u64,
        attribute: String,
        value: String,
    },
    Unread {
        jobs: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        attribute: Option<String>,
        problem: String,
    },
    OwnerBound {
        jobs: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        owner: Option<String>,
        bound: OwnerBound,
    },
    Limited {
        jobs: u64,
        nodes: u64,
        limit: Limit,
        other_limits: Vec<Limit>,
    },
    Refused {
        jobs: u64,
    },
    NothingMade {
        jobs: u64,
        brake: String,
    },
}

/// Why nothing is known of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "name", rename_all = "snake_case")]
#[allow(missing_docs)] // The sentence of each is below.
pub enum Unheard {
    CollectorUnknown,
    CollectorYoung {
        up_seconds: u64,
        collector_grace_seconds: u64,
    },
    CloudUnknown {
        seconds: u64,
    },
}

impl fmt::Display for Unheard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unheard::CollectorUnknown => f.write_str("the collector does not answer"),
            Unheard::CollectorYoung {
                up_seconds,
                collector_grace_seconds,
            } => write!(
                f,
                "the collector started {} ago, and every startd has reported after {} (collector_grace)",
                spoken(*up_seconds),
                spoken(*collector_grace_seconds)
            ),
            Unheard::CloudUnknown { seconds } => write!(
                f,
                "its cloud does not answer, and it has not joined the pool in {}",
                spoken(*seconds)
            ),
        }
    }
}

/// New nodes of one kind for one group of jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Made {
    /// How many.
    pub nodes: u64,
    /// Why the first of them is of this kind.
    pub choice: Choice,
}

/// How many limits, or kinds of new nodes, one line names.
const NAMED: usize = 3;

/// A kind of node that takes none of a group's jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refuses {
    /// Its cloud.
    pub cloud: String,
    /// Its flavor.
    pub flavor: String,
    /// The node's own Requirements (`START`) are what is false; else the jobs' are.
    pub node: bool,
    /// The part of the jobs' Requirements that is false there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clause: Option<String>,
}

/// The kinds that refuse for one reason together: what a user has to change is said once.
fn no_match(f: &mut fmt::Formatter<'_>, refused: &[Refuses]) -> fmt::Result {
    let mut kinds: Vec<(&Refuses, Vec<String>)> = Vec::new();
    for refuses in refused {
        let name = format!("{} in {}", refuses.flavor, refuses.cloud);
        let alike = kinds
            .iter_mut()
            .find(|(one, _)| (one.node, &one.clause) == (refuses.node, &refuses.clause));
        match alike {
            Some((_, names)) => names.push(name),
            None => kinds.push((refuses, vec![name])),
        }
    }
    f.write_str("no node would run them: ")?;
    for (index, (refuses, names)) in kinds.iter().enumerate() {
        let separator = if index == 0 { "" } else { "; " };
        let shown = names.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        let more = match names.len().saturating_sub(3) {
            0 => String::new(),
            more => format!(" and {more} others"),
        };
        match (refuses.node, &refuses.clause) {
            (true, _) => write!(f, "{separator}START of {shown}{more} refuses them")?,
            (false, Some(clause)) => {
                write!(f, "{separator}{clause} is false on {shown}{more}")?;
            }
            (false, None) => {
                write!(f, "{separator}their Requirements refuse {shown}{more}")?;
            }
        }
    }
    Ok(())
}

impl Reason {
    /// Both together, when both are of deferred jobs, or of jobs that start again and again.
    pub(super) fn together_with(&self, other: &Reason) -> Option<Reason> {
        match (self, other) {
            (
                Reason::Deferred { jobs, seconds },
                Reason::Deferred {
                    jobs: more,
                    seconds: then,
                },
            ) => Some(Reason::Deferred {
                jobs: jobs.saturating_add(*more),
                seconds: *seconds.min(then),
            }),
            (
                Reason::Restarting {
                    jobs,
                    starts,
                    seconds,
                },
                Reason::Restarting {
                    jobs: more,
                    starts: fewest,
                    seconds: then,
                },
            ) => Some(Reason::Restarting {
                jobs: jobs.saturating_add(*more),
                starts: *starts.min(fewest),
                seconds: *seconds.min(then),
            }),
            _ => None,
        }
    }

    /// Adds what the console of a node that failed said.
    pub fn learn_console(&mut self, said: &ConsoleExcerpt) {
        if let Reason::FailedInCloud { console, .. } | Reason::NeverJoined { console, .. } = self {
            *console = Some(said.clone());
        }
    }

    /// Its name, as in JSON and in metric labels.
    pub fn name(&self) -> String {
        match serde_json::to_value(self) {
            Ok(value) => value
                .get("reason")
                .and_then(|name| name.as_str())
                .unwrap_or("unknown")
                .to_owned(),
            Err(_) => "unknown".to_owned(),
        }
    }
}

/// A duration as people say it: `45 s`, `7 min`, `2 h 5 min`.
pub fn spoken(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ if seconds % 3600 < 60 => format!("{} h", seconds / 3600),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Whole seconds of a duration.
pub fn seconds(duration: Duration) -> u64 {
    duration.as_secs()
}

pub(super) fn count(number: u64, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

/// The first [`NAMED`] of them, and how many more there are.
pub(super) fn first_few(mut all: Vec<String>, between: &str) -> String {
    let more = all.len().saturating_sub(NAMED);
    all.truncate(NAMED);
    let named = all.join(between);
    match more {
        0 => named,
        more => format!("{named} and {}", count(more as u64, "other")),
    }
}

fn share(f: &mut fmt::Formatter<'_>, percent: Option<u64>) -> fmt::Result {
    percent.map_or(Ok(()), |percent| {
        write!(f, " ({percent}% of the nodes that are needed)")
    })
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Requested { seconds } => {
                write!(f, "asked for {} ago, not seen yet", spoken(*seconds))
            }
            Reason::Building { seconds } => write!(f, "being built for {}", spoken(*seconds)),
            Reason::Booting {
                seconds,
                boot_timeout_seconds,
            } => {
                write!(
                    f,
                    "booting for {}, may take {}",
                    spoken(*seconds),
                    spoken(*boot_timeout_seconds)
                )
            }
            Reason::Busy {
                claimed_cpus,
                total_cpus,
            } => {
                write!(f, "busy {claimed_cpus} of {}", count(*total_cpus, "cpu"))
            }
            Reason::NeededByDemand { jobs } => {
                write!(f, "needed by {}", count(*jobs, "waiting job"))
            }
            Reason::IdleNotLongEnough {
                idle_seconds,
                idle_timeout_seconds,
            } => {
                write!(
                    f,
                    "idle {}, kept until {}",
                    spoken(*idle_seconds),
                    spoken(*idle_timeout_seconds)
                )
            }
            Reason::EndsItself {
                idle_seconds,
                idle_timeout_seconds,
            } => {
                write!(
                    f,
                    "idle {}, powers itself off after {} without a claim",
                    spoken(*idle_seconds),
                    spoken(*idle_timeout_seconds)
                )
            }
            Reason::Spare {
                nodes_spare,
                percent,
            } => {
                write!(f, "one of {}", count(*nodes_spare, "spare node"))?;
                share(f, *percent)
            }
            Reason::Paid {
                idle_seconds,
                paid_seconds_left,
            } => write!(
                f,
                "idle {}, and paid for another {}",
                spoken(*idle_seconds),
                spoken(*paid_seconds_left)
            ),
            Reason::OutlivedWaits {
                age_seconds,
                max_lifetime_seconds,
            } => write!(
                f,
                "{} old, max_lifetime {}: waits for others that are replaced",
                spoken(*age_seconds),
                spoken(*max_lifetime_seconds)
            ),
            Reason::Minimum { nodes_min } => {
                write!(f, "one of the least {}", count(*nodes_min, "node"))
            }
            Reason::Silent {
                silent_seconds,
                lost_timeout_seconds,
                job_listed,
            } => {
                write!(f, "not heard of for {}, ", spoken(*silent_seconds))?;
                let until = spoken(*lost_timeout_seconds);
                if *job_listed {
                    write!(f, "a schedd lists a running job on it: lost after {until}")
                } else {
                    write!(f, "lost after {until}")
                }
            }
            Reason::SilentOnUnknownSchedd {
                silent_seconds,
                lost_job_timeout_seconds,
                schedd,
            } => {
                write!(f, "not heard of for {}, and ", spoken(*silent_seconds))?;
                match schedd {
                    Some(schedd) => write!(
                        f,
                        "schedd {schedd}, which does not answer, may have a job on it"
                    )?,
                    None => f.write_str(
                        "a schedd that is not asked may have a job on it: it had a claim",
                    )?,
                }
                write!(f, "; lost after {}", spoken(*lost_job_timeout_seconds))
            }
            Reason::SilentAdopted {
                silent_seconds,
                lost_job_timeout_seconds,
            } => write!(
                f,
                "found on the cloud {} ago and not heard of since; it may run jobs of before: lost after {}",
                spoken(*silent_seconds),
                spoken(*lost_job_timeout_seconds)
            ),
            Reason::Unheard { cause } => write!(f, "not known: {cause}"),
            Reason::NoSlot => write!(
                f,
                "would be drained, but its startd has no slot that condor_drain could name"
            ),
            Reason::NotActive { status } => {
                write!(f, "would be drained, but Nova says {status}")
            }
            Reason::Inactive { status, job } => {
                write!(
                    f,
                    "Nova says {status}: it takes no jobs, and is left alone until Nova says ACTIVE"
                )?;
                if *job == JobListed::Yes {
                    f.write_str("; a schedd lists a running job on it")?;
                }
                Ok(())
            }
            Reason::Unreachable {
                silent_seconds,
                unlisted_seconds,
                lost_job_timeout_seconds,
                job_left,
            } => {
                write!(
                    f,
                    "unreachable for {}: its token has ended, and the collector does not take it back; ",
                    spoken(*silent_seconds)
                )?;
                match job_left {
                    JobLeft::Listed => {
                        write!(
                            f,
                            "a schedd lists a running job on it: left alone until that ends"
                        )
                    }
                    JobLeft::Unknown => {
                        write!(
                            f,
                            "a schedd that may have a job on it does not answer: left alone"
                        )
                    }
                    JobLeft::NotAsked => write!(
                        f,
                        "a schedd that is not asked may have a job on it: left alone; `ehos tick --trust-silence` when \
                         it has none"
                    ),
                    JobLeft::None => write!(
                        f,
                        "no schedd has listed a job on it for {}: deleted after {}",
                        spoken(*unlisted_seconds),
                        spoken(*lost_job_timeout_seconds)
                    ),
                }
            }
            Reason::TakesNoJobs { closed_seconds } => write!(
                f,
                "no claim, and its startd has taken no jobs for {} (Start is false)",
                spoken(*closed_seconds)
            ),
            Reason::DrainedByOther { drain_reason } => {
                write!(
                    f,
                    "drained by somebody else ({drain_reason:?}): theirs to end"
                )
            }
            Reason::DrainNotComplete => write!(f, "draining"),
            Reason::Stopped { silent: true, job } => match job {
                JobListed::Yes => f.write_str("switched off, and a schedd lists a job on it"),
                JobListed::No => f.write_str("switched off, its startd is not heard of any more"),
                JobListed::Unknown => f.write_str(
                    "switched off, and a schedd that may have a job on it does not answer",
                ),
            },
            Reason::Stopped { silent: false, .. } => {
                write!(f, "switched off, its startd was heard of a moment ago")
            }
            Reason::Contradiction {
                says_instance_id,
                says_node,
            } => write!(
                f,
                "its startd says it is server {says_instance_id} and node {says_node}, which is another one: not touched; \
                 look at EhosNode and CloudInstanceID there"
            ),
            Reason::Contested { first, second } => write!(
                f,
                "two startds say that they are this node, {first} and {second}: ehos drains and deletes nothing of it until one of \
                 them is gone; find out which one runs on another machine, and stop that one"
            ),
            Reason::DrainedWithJob { machine } => write!(
                f,
                "its startd says that it is drained, and a schedd lists a running job on {machine}: ehos keeps the node until the \
                 schedd lists none"
            ),
            Reason::DrainContradicted {
                unlisted_seconds,
                lost_job_timeout_seconds,
            } => write!(
                f,
                "its startd says that it is drained, and a schedd listed a running job on it {} ago: ehos keeps the node until no \
                 schedd has listed one for {}",
                spoken(*unlisted_seconds),
                spoken(*lost_job_timeout_seconds)
            ),
            Reason::AdoptedUntrusted { seconds } => write!(
                f,
                "found on the cloud {} ago, never seen in this pool's collector: another ehos's with the same \
                 ehos.cluster? `ehos tick --trust-adopted` when it is ours",
                spoken(*seconds)
            ),
            Reason::Unsigned { counts } => write!(
                f,
                "its ehos_proof is not valid: a forgery, or made with a lost key: not touched{}; delete it by hand, or run \
                 `ehos tick --trust-server UUID` when it is of this pool",
                if *counts {
                    ", counts towards nodes_max"
                } else {
                    ""
                }
            ),
            Reason::AnotherCondorHost {
                condor_host,
                configured_condor_host,
            } => write!(
                f,
                "found on the cloud, told to join the central manager {condor_host} and not {configured_condor_host}: \
                 another ehos's with the same ehos.cluster? It is not touched; when it is nobody's, delete it by hand"
            ),
            Reason::CloudUnknown => {
                write!(f, "its cloud does not answer: taken as it was last seen")
            }
            Reason::ServerUnread => {
                write!(f, "its server cannot be read: taken as it was last seen")
            }
            Reason::DeleteUnderWay { seconds } => {
                write!(f, "being deleted for {}", spoken(*seconds))
            }
            Reason::DeletedByOther => write!(f, "being deleted, not by ehos"),
            Reason::GoneFromCloud => write!(f, "gone from its cloud, not by ehos"),
            Reason::IntentLapsed { seconds } => {
                write!(
                    f,
                    "asked for {} ago and never seen: given up",
                    spoken(*seconds)
                )
            }
            Reason::Braked { brake } => write!(f, "would go, but {brake}"),
            Reason::MaxActions { max_actions } => {
                write!(f, "would go, but max_actions is {max_actions} a minute")
            }
            Reason::DrainSurplus {
                idle_seconds,
                surplus,
                nodes_spare,
            } => {
                write!(
                    f,
                    "idle {}, surplus {surplus} over spare {nodes_spare}",
                    spoken(*idle_seconds)
                )
            }
            Reason::DrainTakesNoJobs {
                idle_seconds,
                closed_seconds,
            } => write!(
                f,
                "no claim for {}, and its startd has taken no jobs for {} (Start is false)",
                spoken(*idle_seconds),
                spoken(*closed_seconds)
            ),
            Reason::DrainTokenEnds {
                idle_seconds,
                token_left_seconds: 0,
            } => write!(f, "idle {}, and its token has ended", spoken(*idle_seconds)),
            Reason::DrainTokenEnds {
                idle_seconds,
                token_left_seconds,
            } => write!(
                f,
                "idle {}, and its token ends in {}",
                spoken(*idle_seconds),
                spoken(*token_left_seconds)
            ),
            Reason::DrainOutlived {
                idle_seconds,
                closed_seconds,
                age_seconds,
                max_lifetime_seconds,
            } => {
                match closed_seconds {
                    Some(closed) => {
                        write!(f, "no claim, has taken no jobs for {}", spoken(*closed))?
                    }
                    None => write!(f, "idle {}", spoken(*idle_seconds))?,
                }
                write!(
                    f,
                    ", {} old, and max_lifetime is {}",
                    spoken(*age_seconds),
                    spoken(*max_lifetime_seconds)
                )
            }
            Reason::DrainCloudRetires { idle_seconds } => {
                write!(
                    f,
                    "idle {}, and its cloud has retire: true",
                    spoken(*idle_seconds)
                )
            }
            Reason::DrainAboveMaximum {
                idle_seconds,
                nodes_max,
            } => write!(
                f,
                "idle {}, above nodes_max {nodes_max}",
                spoken(*idle_seconds)
            ),
            Reason::KilledForItsAge {
                age_seconds,
                max_lifetime_seconds,
                claims,
            } => write!(
                f,
                "JOBS END: {} old, max_lifetime {} and max_lifetime_kill are over; it is deleted with {} on it",
                spoken(*age_seconds),
                spoken(*max_lifetime_seconds),
                count(*claims, "claimed slot")
            ),
            Reason::DrainOlderImage {
                idle_seconds,
                image,
                configured_image,
            } => write!(
                f,
                "idle {}, made from image {image}, and {configured_image} is configured",
                spoken(*idle_seconds)
            ),
            Reason::DrainToTryImage {
                idle_seconds,
                image,
                configured_image,
            } => write!(
                f,
                "idle {}, made from image {image}, and {configured_image} is configured: the first to be replaced, to \
                 see whether nodes of that join",
                spoken(*idle_seconds)
            ),
            Reason::DrainTakenBack { jobs } => {
                write!(
                    f,
                    "its drain is taken back: {} can use it",
                    count(*jobs, "waiting job")
                )
            }
            Reason::Drained { idle_seconds } => {
                f.write_str("drained, no claim left")?;
                match idle_seconds {
                    Some(idle) => write!(f, ", idle {}", spoken(*idle)),
                    None => Ok(()),
                }
            }
            Reason::FailedInCloud { fault, console } => {
                write!(f, "failed: {fault}")?;
                match console {
                    Some(console) => write!(f, "; {console}"),
                    None => Ok(()),
                }
            }
            Reason::NeverJoined { seconds, console } => {
                write!(
                    f,
                    "failed: made {} ago and never joined the pool",
                    spoken(*seconds)
                )?;
                match console {
                    Some(console) => write!(f, ": {console}")?,
                    None => f.write_str("; its console is in the log")?,
                }
                // Where the node itself says what is wrong, these are right.
                if console.as_ref().is_none_or(|console| !console.is_cause()) {
                    f.write_str(" (look at condor.host_ip, port 9618 and the token)")?;
                }
                Ok(())
            }
            Reason::StoppedInCloud => write!(f, "switched off, no job on it"),
            Reason::Lost { silent_seconds } => {
                write!(f, "lost: not heard of for {}", spoken(*silent_seconds))
            }
            Reason::UnreachableWithoutJob {
                silent_seconds,
                unlisted_seconds,
            } => write!(
                f,
                "unreachable for {} since its token ended, and no schedd has listed a job on it for {}",
                spoken(*silent_seconds),
                spoken(*unlisted_seconds)
            ),
            Reason::DeleteAgain { seconds } => {
                write!(
                    f,
                    "its delete was accepted {} ago and is not done: asked again",
                    spoken(*seconds)
                )
            }
            Reason::ServerGone => write!(
                f,
                "its server is gone: its ads are taken out of the collector"
            ),
            Reason::BuilderWithinLifetime {
                age_seconds,
                lifetime_seconds,
            } => {
                write!(
                    f,
                    "made {} ago, its lifetime is {}",
                    spoken(*age_seconds),
                    spoken(*lifetime_seconds)
                )
            }
            Reason::BuilderExpiredOnce {
                age_seconds,
                lifetime_seconds,
            } => {
                write!(
                    f,
                    "made {} ago, its lifetime of {} is over: it goes when the next tick sees that too",
                    spoken(*age_seconds),
                    spoken(*lifetime_seconds)
                )
            }
            Reason::BuilderExpired {
                age_seconds,
                lifetime_seconds,
            } => {
                write!(
                    f,
                    "made {} ago, its lifetime of {} is over: forgotten by its build; its console is in the log",
                    spoken(*age_seconds),
                    spoken(*lifetime_seconds)
                )
            }
            Reason::BuilderRunsJobs { claims } => {
                write!(
                    f,
                    "its lifetime is over, but it is in the pool, with {}: condor should not join from the image",
                    count(*claims, "claim")
                )
            }
            Reason::LeftoverSeenOnce => write!(
                f,
                "its server is gone: it goes when the next tick sees it, too"
            ),
            Reason::LeftBehind { seconds } => {
                write!(f, "left behind, seen for {}", spoken(*seconds))
            }
            Reason::LeftoverUnmarked { seconds } => write!(
                f,
                "no server has had it for {}, and nothing tells whether it was this pool's: delete it by hand if it was",
                spoken(*seconds)
            ),
            Reason::FloatingIpUnused {
                seconds,
                unused_after_seconds,
            } => write!(
                f,
                "leads nowhere for {}, goes after {}",
                spoken(*seconds),
                spoken(*unused_after_seconds)
            ),
            Reason::FloatingIpForMaster => write!(
                f,
                "leads nowhere, but a central manager of this pool is without one"
            ),
            Reason::FloatingIpOfNode => write!(
                f,
                "leads to a node, and daemon.purge_floating_ips takes it off"
            ),
            Reason::CreateForDemand {
                jobs,
                request,
                choice,
            } => {
                write!(f, "for {} of {request}", count(*jobs, "waiting job"))?;
                match choice {
                    Some(choice) => write!(f, ": {choice}"),
                    None => Ok(()),
                }
            }
            Reason::CreateForMinimum { nodes_min } => write!(f, "to have nodes_min {nodes_min}"),
            Reason::CreateForSpare {
                nodes_spare,
                percent,
            } => {
                write!(f, "to have nodes_spare {nodes_spare}")?;
                share(f, *percent)
            }
            Reason::FitsFree { jobs } => write!(f, "{jobs} in free slots"),
            Reason::FitsClaimed { jobs } => {
                write!(f, "{jobs} in claimed slots that run no job yet")
            }
            Reason::FitsComing { jobs } => write!(f, "{jobs} on nodes that are coming"),
            Reason::FitsTakenBack { jobs } => write!(f, "{jobs} on drains taken back"),
            Reason::NewNodes { jobs, nodes, kinds } => {
                write!(f, "{jobs} on {}", count(*nodes, "new node"))?;
                match &kinds[..] {
                    [] => Ok(()),
                    [one] => write!(f, ": {}", one.choice),
                    several => {
                        let kinds = several.iter().map(|made| {
                            format!(
                                "{} {} in {}",
                                made.nodes, made.choice.flavor, made.choice.cloud
                            )
                        });
                        write!(f, ": {}", first_few(kinds.collect(), ", "))
                    }
                }
            }
            Reason::FitsNew { jobs } => write!(f, "{jobs} beside others on new nodes"),
            Reason::TooLarge {
                nearest: Some(nearest),
                ..
            } => nearest.fmt(f),
            Reason::TooLarge {
                asks,
                largest: Some(largest),
                ..
            } => write!(
                f,
                "no flavor is large enough: requested {asks}; largest node {largest}"
            ),
            Reason::TooLarge {
                asks,
                largest: None,
                ..
            } => write!(
                f,
                "no flavor of the configuration exists in its cloud: requested {asks}"
            ),
            Reason::NoMatch { refused } => no_match(f, refused),
            Reason::NotAnswered { why } => {
                write!(f, "no node until it is known which would run them: {why}")
            }
            Reason::FirstWillTell { jobs, clause } => {
                write!(f, "{jobs} wait for the first node of a kind to say ")?;
                match clause {
                    Some(clause) => write!(f, "whether {clause}"),
                    None => f.write_str("what it has"),
                }
            }
            Reason::ConcurrencyLimit {
                jobs,
                concurrency_limit,
                used,
                limit,
            } => write!(
                f,
                "{jobs} wait for concurrency limit {concurrency_limit}: {used} of {limit} in use"
            ),
            Reason::GroupQuota {
                jobs,
                accounting_group,
                used,
                quota,
            } => write!(
                f,
                "{jobs} wait for the quota of accounting group {accounting_group}: {used} of {quota} in use"
            ),
            Reason::MaxJobsRunning {
                jobs,
                schedd,
                running,
                limit,
            } => write!(
                f,
                "{jobs} wait, limited by MAX_JOBS_RUNNING {limit} of schedd {schedd}: {} there",
                count(*running, "running job")
            ),
            Reason::Deferred { jobs, seconds } => write!(
                f,
                "{jobs} deferred: HTCondor matches the first in {}, nodes are made shortly before",
                spoken(*seconds)
            ),
            Reason::Restarting {
                jobs,
                starts,
                seconds,
            } => write!(
                f,
                "{jobs} wait in backoff: each was started at least {starts} times and is idle again; a node is created in {}",
                spoken(*seconds)
            ),
            Reason::DeferralMissed { jobs } => write!(
                f,
                "{jobs} match no slot: DeferralTime and DeferralWindow have passed; remove the jobs, or set \
                 DeferralTime with condor_qedit"
            ),
            Reason::ParallelUniverse { jobs } => write!(
                f,
                "{jobs} of the parallel universe, no node is made for them; to count them, add 11 to condor.universes \
                 and set DedicatedScheduler on the nodes"
            ),
            Reason::BadRequest {
                jobs,
                attribute,
                value,
            } => write!(
                f,
                "{jobs} match no slot: {attribute} is no amount: {value}; set {attribute} to a number with condor_qedit"
            ),
            Reason::Unread {
                jobs,
                attribute,
                problem,
            } => {
                write!(f, "{jobs} not read, no node is made for them: ")?;
                match attribute {
                    Some(attribute) => write!(f, "{attribute}: {problem}"),
                    None => f.write_str(problem),
                }
            }
            Reason::OwnerBound { jobs, owner, bound } => {
                let owner = owner.as_deref().unwrap_or("an unknown owner");
                write!(
                    f,
                    "{jobs} of {owner} not read, no node is created for them: {bound}"
                )
            }
            Reason::Limited {
                jobs,
                nodes,
                limit,
                other_limits,
            } => {
                let limits = std::iter::once(limit).chain(other_limits);
                write!(
                    f,
                    "{jobs} wait for {}, limited by {}",
                    count(*nodes, "more node"),
                    first_few(limits.map(ToString::to_string).collect(), ", and by ")
                )
            }
            Reason::Refused { jobs } => write!(
                f,
                "{jobs} wait beside a free slot that they fit: no nodes for them until one starts \
                 (condor_q -better-analyze says why)"
            ),
            Reason::NothingMade { jobs, brake } => write!(f, "{jobs} wait, but {brake}"),
        }
    }
}
