//! Why: one value for each thing that can be said about a node, a group of jobs or an action, with its numbers.
//! `Display` makes the sentence, serde the JSON; tests and programs look at the value, never at the sentence.

use serde::Serialize;

use super::allocation::Choice;
use super::console::ConsoleExcerpt;
use super::job_requirements::OwnerBound;
use super::limits::Limit;
use super::nearest::Nearest;
use super::node::{JobLeft, JobListed};
use super::observation::Resources;
use super::seconds::Seconds;
use super::sentence::{after, count, first_few, sentences, when};

sentences! {
/// Why something is, or is not, done.
#[serde(tag = "reason")]
pub enum Reason {
    // Nodes that are left as they are.
    Requested "requested" { seconds: Seconds } => "asked for {seconds} ago, not seen yet";
    Building "building" { seconds: Seconds } => "being built for {seconds}";
    Booting "booting" { seconds: Seconds, boot_timeout_seconds: Seconds } =>
        "booting for {seconds}, may take {boot_timeout_seconds}";
    Busy "busy" { claimed_cpus: u64, total_cpus: u64 } => "busy {claimed_cpus} of {}", count(*total_cpus, "cpu");
    NeededByDemand "needed_by_demand" { jobs: u64 } => "needed by {}", count(*jobs, "waiting job");
    IdleNotLongEnough "idle_not_long_enough" { idle_seconds: Seconds, idle_timeout_seconds: Seconds } =>
        "idle {idle_seconds}, kept until {idle_timeout_seconds}";
    SelfShutdown "self_shutdown" { idle_seconds: Seconds, idle_timeout_seconds: Seconds } =>
        "idle {idle_seconds}, powers itself off after {idle_timeout_seconds} without a claim";
    Spare "spare" { nodes_spare: u64, #[serde(skip_serializing_if = "Option::is_none")] percent: Option<u64> } =>
        "one of {}{}", count(*nodes_spare, "spare node"), share(*percent);
    Paid "paid" { idle_seconds: Seconds, paid_seconds_left: Seconds } =>
        "idle {idle_seconds}, and paid for another {paid_seconds_left}";
    ExpiredWaiting "expired_waiting" { age_seconds: Seconds, max_lifetime_seconds: Seconds } =>
        "{age_seconds} old, max_lifetime {max_lifetime_seconds}: waits for others that are replaced";
    Minimum "minimum" { nodes_min: u64 } => "one of the least {}", count(*nodes_min, "node");
    Silent "silent" { silent_seconds: Seconds, lost_timeout_seconds: Seconds, job_listed: bool } =>
        "not heard of for {silent_seconds}, {}lost after {lost_timeout_seconds}",
        when(*job_listed, "a schedd lists a running job on it: ");
    SilentOnUnknownSchedd "silent_on_unknown_schedd" {
        silent_seconds: Seconds, lost_job_timeout_seconds: Seconds,
        #[serde(skip_serializing_if = "Option::is_none")] schedd: Option<String>,
    } => "not heard of for {silent_seconds}, and {}; lost after {lost_job_timeout_seconds}", who_may_have_a_job(schedd);
    SilentAdopted "silent_adopted" { silent_seconds: Seconds, lost_job_timeout_seconds: Seconds } =>
        "found on the cloud {silent_seconds} ago and not heard of since; it may run jobs of before: \
         lost after {lost_job_timeout_seconds}";
    Unheard "unknown" { cause: Unheard } => "not known: {cause}";
    NoSlot "no_slot" => "would be drained, but its startd has no slot that condor_drain could name";
    NotActive "not_active" { status: String } => "would be drained, but Nova says {status}";
    Inactive "inactive" { status: String, job: JobListed } =>
        "Nova says {status}: it takes no jobs, and is left alone until Nova says ACTIVE{}",
        when(*job == JobListed::Yes, "; a schedd lists a running job on it");
    Unreachable "unreachable" {
        silent_seconds: Seconds, unlisted_seconds: Seconds, lost_job_timeout_seconds: Seconds, job_left: JobLeft,
    } => "unreachable for {silent_seconds}: its token has ended, and the collector does not take it back; {}",
        what_is_left(*job_left, *unlisted_seconds, *lost_job_timeout_seconds);
    TakesNoJobs "start_false" { closed_seconds: Seconds } =>
        "no claim, and its startd has taken no jobs for {closed_seconds} (Start is false)";
    DrainedByOther "drained_by_other" { drain_reason: String } =>
        "drained by somebody else ({drain_reason:?}): theirs to end";
    DrainNotComplete "drain_not_complete" => "draining";
    Stopped "stopped" { silent: bool, job: JobListed } => "switched off, {}", switched_off(*silent, *job);
    Contradiction "contradiction" { says_instance_id: String, says_node: String } =>
        "its startd says it is server {says_instance_id} and node {says_node}, which is another one: not touched; \
         look at EhosNode and CloudInstanceID there";
    Contested "contested" { first: String, second: String } =>
        "two startds say that they are this node, {first} and {second}: ehos drains and deletes nothing of it until \
         one of them is gone; find out which one runs on another machine, and stop that one";
    DrainedWithJob "drained_with_job" { machine: String } =>
        "its startd says that it is drained, and a schedd lists a running job on {machine}: ehos keeps the node until \
         the schedd lists none";
    DrainContradicted "drain_contradicted" { unlisted_seconds: Seconds, lost_job_timeout_seconds: Seconds } =>
        "its startd says that it is drained, and a schedd listed a running job on it {unlisted_seconds} ago: ehos \
         keeps the node until no schedd has listed one for {lost_job_timeout_seconds}";
    AdoptedUntrusted "adopted_untrusted" { seconds: Seconds } =>
        "found on the cloud {seconds} ago, never seen in this pool's collector: another ehos's with the same \
         ehos.cluster? `ehos tick --trust-adopted` when it is ours";
    Unsigned "unsigned" { /** It counts towards nodes_max. */ counts: bool } =>
        "its ehos_proof is not valid: a forgery, or made with a lost key: not touched{}; delete it by hand, or run \
         `ehos tick --trust-server UUID` when it is of this pool", when(*counts, ", counts towards nodes_max");
    AnotherCondorHost "another_condor_host" { condor_host: String, configured_condor_host: String } =>
        "found on the cloud, told to join the central manager {condor_host} and not {configured_condor_host}: \
         another ehos's with the same ehos.cluster? It is not touched; when it is nobody's, delete it by hand";
    CloudUnknown "cloud_unknown" => "its cloud does not answer: taken as it was last seen";
    ServerUnread "server_unread" => "its server cannot be read: taken as it was last seen";
    DeleteUnderWay "delete_under_way" { seconds: Seconds } => "being deleted for {seconds}";
    DeletedByOther "deleting_externally" => "being deleted, not by ehos";
    GoneFromCloud "deleted_externally" => "gone from its cloud, not by ehos";
    IntentLapsed "intent_lapsed" { seconds: Seconds } => "asked for {seconds} ago and never seen: given up";
    Braked "braked" { brake: String } => "would go, but {brake}";
    MaxActions "max_actions" { max_actions: u64 } => "would go, but max_actions is {max_actions} a minute";

    // Nodes that something is done with.
    DrainSurplus "drain_surplus" { idle_seconds: Seconds, surplus: u64, nodes_spare: u64 } =>
        "idle {idle_seconds}, surplus {surplus} over spare {nodes_spare}";
    DrainTakesNoJobs "drain_start_false" { idle_seconds: Seconds, closed_seconds: Seconds } =>
        "no claim for {idle_seconds}, and its startd has taken no jobs for {closed_seconds} (Start is false)";
    DrainTokenEnds "drain_token_expires" { idle_seconds: Seconds, token_left_seconds: Seconds } =>
        "idle {idle_seconds}, and its token {}", token_end(*token_left_seconds);
    DrainExpired "drain_expired" {
        idle_seconds: Seconds, #[serde(skip_serializing_if = "Option::is_none")] closed_seconds: Option<Seconds>,
        age_seconds: Seconds, max_lifetime_seconds: Seconds,
    } => "{}, {age_seconds} old, and max_lifetime is {max_lifetime_seconds}", idle_or_closed(*idle_seconds, *closed_seconds);
    DrainCloudRetires "drain_cloud_retires" { idle_seconds: Seconds } =>
        "idle {idle_seconds}, and its cloud has retire: true";
    DrainAboveMaximum "drain_above_maximum" { idle_seconds: Seconds, nodes_max: u64 } =>
        "idle {idle_seconds}, above nodes_max {nodes_max}";
    ForcefulExpiration "forceful_expiration" { age_seconds: Seconds, max_lifetime_seconds: Seconds, claims: u64 } =>
        "JOBS END: {age_seconds} old, max_lifetime {max_lifetime_seconds} and max_lifetime_kill are over; it is \
         deleted with {} on it", count(*claims, "claimed slot");
    DrainOlderImage "drain_outdated_image" { idle_seconds: Seconds, image: String, configured_image: String } =>
        "idle {idle_seconds}, made from image {image}, and {configured_image} is configured";
    DrainToTryImage "drain_to_try_image" { idle_seconds: Seconds, image: String, configured_image: String } =>
        "idle {idle_seconds}, made from image {image}, and {configured_image} is configured: the first to be replaced, \
         to see whether nodes of that join";
    DrainTakenBack "drain_cancelled" { jobs: u64 } =>
        "its drain is taken back: {} can use it", count(*jobs, "waiting job");
    Drained "drained" { #[serde(skip_serializing_if = "Option::is_none")] idle_seconds: Option<Seconds> } =>
        "drained, no claim left{}", after(", idle ", idle_seconds);
    FailedInCloud "failed_in_cloud" {
        fault: String, #[serde(skip_serializing_if = "Option::is_none")] console: Option<ConsoleExcerpt>,
    } => "failed: {fault}{}", after("; ", console);
    NeverJoined "never_joined" {
        seconds: Seconds, #[serde(skip_serializing_if = "Option::is_none")] console: Option<ConsoleExcerpt>,
    } => "failed: made {seconds} ago and never joined the pool{}", why_never_joined(console.as_ref());
    StoppedInCloud "stopped_in_cloud" => "switched off, no job on it";
    Lost "lost" { silent_seconds: Seconds } => "lost: not heard of for {silent_seconds}";
    UnreachableWithoutJob "unreachable_without_job" { silent_seconds: Seconds, unlisted_seconds: Seconds } =>
        "unreachable for {silent_seconds} since its token ended, and no schedd has listed a job on it for {unlisted_seconds}";
    DeleteAgain "delete_again" { seconds: Seconds } =>
        "its delete was accepted {seconds} ago and is not done: asked again";
    ServerGone "server_deleted" => "its server is gone: its ads are taken out of the collector";

    // Builders.
    BuilderWithinLifetime "builder_within_lifetime" { age_seconds: Seconds, lifetime_seconds: Seconds } =>
        "made {age_seconds} ago, its lifetime is {lifetime_seconds}";
    BuilderExpiredOnce "builder_expired_once" { age_seconds: Seconds, lifetime_seconds: Seconds } =>
        "made {age_seconds} ago, its lifetime of {lifetime_seconds} is over: it goes when the next tick sees that too";
    BuilderExpired "builder_expired" { age_seconds: Seconds, lifetime_seconds: Seconds } =>
        "made {age_seconds} ago, its lifetime of {lifetime_seconds} is over: forgotten by its build; its console is in the log";
    BuilderRunsJobs "builder_runs_jobs" { claims: u64 } =>
        "its lifetime is over, but it is in the pool, with {}: condor should not join from the image", count(*claims, "claim");

    // What was left behind.
    LeftoverSeenOnce "leftover_seen_once" => "its server is gone: it goes when the next tick sees it, too";
    LeftBehind "leftover" { seconds: Seconds } => "left behind, seen for {seconds}";
    LeftoverUnmarked "leftover_unmarked" { seconds: Seconds } =>
        "no server has had it for {seconds}, and nothing tells whether it was this pool's: delete it by hand if it was";
    FloatingIpUnused "floating_ip_unused" { seconds: Seconds, unused_after_seconds: Seconds } =>
        "leads nowhere for {seconds}, goes after {unused_after_seconds}";
    FloatingIpForMaster "floating_ip_for_master" => "leads nowhere, but a central manager of this pool is without one";
    FloatingIpOfNode "floating_ip_of_node" => "leads to a node, and daemon.purge_floating_ips takes it off";

    // Nodes that are made.
    CreateForDemand "create_for_demand" { jobs: u64, request: Resources, choice: Option<Choice> } =>
        "for {} of {request}{}", count(*jobs, "waiting job"), after(": ", choice);
    CreateForMinimum "create_for_minimum" { nodes_min: u64 } => "to have nodes_min {nodes_min}";
    CreateForSpare "create_for_spare" {
        nodes_spare: u64, #[serde(skip_serializing_if = "Option::is_none")] percent: Option<u64>,
    } => "to have nodes_spare {nodes_spare}{}", share(*percent);

    // Groups of jobs.
    FitsFree "fits_free" { jobs: u64 } => "{jobs} in free slots";
    FitsClaimed "fits_claimed" { jobs: u64 } => "{jobs} in claimed slots that run no job yet";
    FitsComing "fits_starting" { jobs: u64 } => "{jobs} on nodes that are coming";
    FitsTakenBack "fits_cancelled_drain" { jobs: u64 } => "{jobs} on drains taken back";
    NewNodes "new_nodes" { jobs: u64, nodes: u64, #[serde(rename = "node_types")] kinds: Vec<Made> } =>
        "{jobs} on {}{}", count(*nodes, "new node"), of_kinds(kinds);
    FitsNew "fits_new" { jobs: u64 } => "{jobs} beside others on new nodes";
    TooLarge "too_large" {
        #[serde(rename = "request")] asks: Resources, largest: Option<Resources>, #[serde(skip_serializing_if = "Option::is_none")] nearest: Option<Nearest>,
    } => "{}", too_large(asks, largest.as_ref(), nearest.as_ref());
    NoMatch "no_match" { #[serde(rename = "mismatches")] refused: Vec<Refuses> } => "no node would run them: {}", refusals(refused);
    NotAnswered "match_unknown" { #[serde(rename = "cause")] why: String } => "no node until it is known which would run them: {why}";
    FirstNodeDecides "first_node_decides" { jobs: u64, clause: Option<String> } =>
        "{jobs} wait for the first node of a kind to say {}",
        clause.as_ref().map_or("what it has".to_owned(), |clause| format!("whether {clause}"));
    ConcurrencyLimit "concurrency_limit" { jobs: u64, concurrency_limit: String, used: String, limit: String } =>
        "{jobs} wait for concurrency limit {concurrency_limit}: {used} of {limit} in use";
    GroupQuota "group_quota" { jobs: u64, accounting_group: String, used: String, quota: String } =>
        "{jobs} wait for the quota of accounting group {accounting_group}: {used} of {quota} in use";
    MaxJobsRunning "max_jobs_running" { jobs: u64, schedd: String, running: u64, limit: u64 } =>
        "{jobs} wait, limited by MAX_JOBS_RUNNING {limit} of schedd {schedd}: {} there", count(*running, "running job");
    Deferred "deferred" { jobs: u64, seconds: Seconds } =>
        "{jobs} deferred: HTCondor matches the first in {seconds}, nodes are made shortly before";
    DeferralMissed "deferral_missed" { jobs: u64 } =>
        "{jobs} match no slot: DeferralTime and DeferralWindow have passed; remove the jobs, or set DeferralTime with \
         condor_qedit";
    ParallelUniverse "parallel_universe" { jobs: u64 } =>
        "{jobs} of the parallel universe, no node is made for them; to count them, add 11 to condor.universes and set \
         DedicatedScheduler on the nodes";
    Restarting "restarting" { jobs: u64, starts: u64, seconds: Seconds } =>
        "{jobs} wait in backoff: each was started at least {starts} times and is idle again; a node is created in {seconds}";
    BadRequest "bad_request" { jobs: u64, attribute: String, value: String } =>
        "{jobs} match no slot: {attribute} is no amount: {value}; set {attribute} to a number with condor_qedit";
    Unread "unread" { jobs: u64, #[serde(skip_serializing_if = "Option::is_none")] attribute: Option<String>, problem: String } =>
        "{jobs} not read, no node is made for them: {}{problem}",
        attribute.as_ref().map_or(String::new(), |attribute| format!("{attribute}: "));
    OwnerBound "owner_bound" { jobs: u64, #[serde(skip_serializing_if = "Option::is_none")] owner: Option<String>, bound: OwnerBound } =>
        "{jobs} of {} not read, no node is created for them: {bound}", owner.as_deref().unwrap_or("an unknown owner");
    Limited "limited" { jobs: u64, nodes: u64, limit: Limit, other_limits: Vec<Limit> } =>
        "{jobs} wait for {}, limited by {}", count(*nodes, "more node"), by_limits(limit, other_limits);
    Refused "left_unclaimed" { jobs: u64 } =>
        "{jobs} wait beside a free slot that they fit: no nodes for them until one starts (condor_q -better-analyze says why)";
    NothingMade "nothing_created" { jobs: u64, brake: String } => "{jobs} wait, but {brake}";
}
}

sentences! {
/// Why nothing is known of a node.
#[serde(tag = "name")]
pub enum Unheard {
    CollectorUnknown "collector_unknown" => "the collector does not answer";
    CollectorYoung "collector_young" { up_seconds: Seconds, collector_grace_seconds: Seconds } =>
        "the collector started {up_seconds} ago, and every startd has reported after {collector_grace_seconds} (collector_grace)";
    CloudUnknown "cloud_unknown" { seconds: Seconds } =>
        "its cloud does not answer, and it has not joined the pool in {seconds}";
}
}

impl Reason {
    /// Takes in `other` as well, where both are of deferred jobs, or of jobs that start again and again; whether it did.
    pub(super) fn absorb(&mut self, other: &Reason) -> bool {
        match (self, other) {
            (
                Reason::Deferred { jobs, seconds },
                Reason::Deferred {
                    jobs: more,
                    seconds: then,
                },
            ) => {
                *jobs = jobs.saturating_add(*more);
                *seconds = (*seconds).min(*then);
            }
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
            ) => {
                *jobs = jobs.saturating_add(*more);
                *starts = (*starts).min(*fewest);
                *seconds = (*seconds).min(*then);
            }
            _ => return false,
        }
        true
    }

    /// Adds what the console of a node that failed said.
    pub fn learn_console(&mut self, said: &ConsoleExcerpt) {
        if let Reason::FailedInCloud { console, .. } | Reason::NeverJoined { console, .. } = self {
            *console = Some(said.clone());
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

/// A duration as people say it: `45 s`, `7 min`, `2 h 5 min`.
pub fn format_duration(seconds: u64) -> String {
    Seconds(seconds).to_string()
}

fn share(percent: Option<u64>) -> String {
    percent.map_or_else(String::new, |percent| {
        format!(" ({percent}% of the nodes that are needed)")
    })
}

fn who_may_have_a_job(schedd: &Option<String>) -> String {
    match schedd {
        Some(schedd) => format!("schedd {schedd}, which does not answer, may have a job on it"),
        None => "a schedd that is not asked may have a job on it: it had a claim".to_owned(),
    }
}

fn what_is_left(job: JobLeft, unlisted: Seconds, lost_job_timeout: Seconds) -> String {
    match job {
        JobLeft::Listed => "a schedd lists a running job on it: left alone until that ends".to_owned(),
        JobLeft::Unknown => "a schedd that may have a job on it does not answer: left alone".to_owned(),
        JobLeft::NotAsked => {
            "a schedd that is not asked may have a job on it: left alone; `ehos tick --trust-silence` when it has none"
                .to_owned()
        }
        JobLeft::None => {
            format!("no schedd has listed a job on it for {unlisted}: deleted after {lost_job_timeout}")
        }
    }
}

fn switched_off(silent: bool, job: JobListed) -> &'static str {
    match job {
        _ if !silent => "its startd was heard of a moment ago",
        JobListed::Yes => "and a schedd lists a job on it",
        JobListed::No => "its startd is not heard of any more",
        JobListed::Unknown => "and a schedd that may have a job on it does not answer",
    }
}

fn token_end(left: Seconds) -> String {
    match left {
        Seconds(0) => "has ended".to_owned(),
        left => format!("ends in {left}"),
    }
}

fn idle_or_closed(idle: Seconds, closed: Option<Seconds>) -> String {
    match closed {
        Some(closed) => format!("no claim, has taken no jobs for {closed}"),
        None => format!("idle {idle}"),
    }
}

fn why_never_joined(console: Option<&ConsoleExcerpt>) -> String {
    let said = console.map_or("; its console is in the log".to_owned(), |said| {
        format!(": {said}")
    });
    // Where the node itself says what is wrong, these are right.
    let names_cause = console.is_some_and(ConsoleExcerpt::is_cause);
    said + when(
        !names_cause,
        " (look at condor.host_ip, port 9618 and the token)",
    )
}

fn of_kinds(kinds: &[Made]) -> String {
    let named = |made: &Made| {
        format!(
            "{} {} in {}",
            made.nodes, made.choice.flavor, made.choice.cloud
        )
    };
    match kinds {
        [] => String::new(),
        [one] => format!(": {}", one.choice),
        several => format!(": {}", first_few(several.iter().map(named).collect(), ", ")),
    }
}

fn too_large(asks: &Resources, largest: Option<&Resources>, nearest: Option<&Nearest>) -> String {
    match (nearest, largest) {
        (Some(nearest), _) => nearest.to_string(),
        (None, Some(largest)) => {
            format!("no flavor is large enough: requested {asks}; largest node {largest}")
        }
        (None, None) => {
            format!("no flavor of the configuration exists in its cloud: requested {asks}")
        }
    }
}

fn by_limits(limit: &Limit, others: &[Limit]) -> String {
    let limits = std::iter::once(limit).chain(others);
    first_few(limits.map(ToString::to_string).collect(), ", and by ")
}

/// The kinds that refuse for one reason together: what a user has to change is said once.
fn refusals(refused: &[Refuses]) -> String {
    let mut kinds: Vec<(&Refuses, Vec<String>)> = Vec::new();
    for refuses in refused {
        let name = format!("{} in {}", refuses.flavor, refuses.cloud);
        let alike = |(one, _): &&mut (&Refuses, _)| {
            (one.node, &one.clause) == (refuses.node, &refuses.clause)
        };
        match kinds.iter_mut().find(alike) {
            Some((_, names)) => names.push(name),
            None => kinds.push((refuses, vec![name])),
        }
    }
    let sentence = |(refuses, names): (&Refuses, Vec<String>)| {
        let more = match names.len().saturating_sub(3) {
            0 => String::new(),
            more => format!(" and {more} others"),
        };
        let shown = names.iter().take(3).cloned().collect::<Vec<_>>().join(", ") + &more;
        match (refuses.node, &refuses.clause) {
            (true, _) => format!("START of {shown} refuses them"),
            (false, Some(clause)) => format!("{clause} is false on {shown}"),
            (false, None) => format!("their Requirements refuse {shown}"),
        }
    };
    let sentences: Vec<String> = kinds.into_iter().map(sentence).collect();
    sentences.join("; ")
}
