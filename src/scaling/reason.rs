//! The reason for each decision, with its numbers: for a node, a job group, a builder or a leftover.
//!
//! `Display` writes the sentence, serde the JSON. Programs and tests read the value, never the sentence.

use jiff::Timestamp;
use serde::Serialize;

use super::allocation::Choice;
use super::console::ConsoleExcerpt;
use super::job_requirements::OwnerBound;
use super::limits::Limit;
use super::maintenance::{Keep, PauseEntry, end};
use super::nearest::Nearest;
use super::node::{JobLeft, JobListed};
use super::observation::Resources;
use super::seconds::Seconds;
use super::sentence::{after, count, first_few, sentences, when};

sentences! {
/// The reason why ehos does something, or does nothing.
#[serde(tag = "reason")]
pub enum Reason {
    // Nodes that stay as they are.
    Requested "requested" { seconds: Seconds } => "requested {seconds} ago, not yet listed by Nova";
    Building "building" { seconds: Seconds } => "building for {seconds}";
    Booting "booting" { seconds: Seconds, boot_timeout_seconds: Seconds } =>
        "booting for {seconds} (boot_timeout {boot_timeout_seconds})";
    Busy "busy" { claimed_cpus: u64, total_cpus: u64 } => "{claimed_cpus} of {} claimed", count(*total_cpus, "CPU");
    NeededByDemand "needed_by_demand" { jobs: u64 } => "needed for {}", count(*jobs, "waiting job");
    IdleNotLongEnough "idle_not_long_enough" { idle_seconds: Seconds, idle_timeout_seconds: Seconds } =>
        "idle for {idle_seconds} (idle_timeout {idle_timeout_seconds})";
    SelfShutdown "self_shutdown" { idle_seconds: Seconds, idle_timeout_seconds: Seconds } =>
        "idle for {idle_seconds}, shuts itself down after {idle_timeout_seconds} without a claim (idle_timeout)";
    Spare "spare" { nodes_spare: u64, #[serde(skip_serializing_if = "Option::is_none")] percent: Option<u64> } =>
        "{}{}", one_of(*nodes_spare, "spare node"), share(*percent);
    Paid "paid" { idle_seconds: Seconds, paid_seconds_left: Seconds } =>
        "idle for {idle_seconds}, billing period paid for another {paid_seconds_left}";
    ExpiredWaiting "expired_waiting" { age_seconds: Seconds, max_lifetime_seconds: Seconds } =>
        "expired: {age_seconds} old (max_lifetime {max_lifetime_seconds}); waits until other nodes are replaced";
    Minimum "minimum" { nodes_min: u64 } => "kept for nodes_min {nodes_min}";
    Silent "silent" { silent_seconds: Seconds, lost_timeout_seconds: Seconds, job_listed: bool } =>
        "silent for {silent_seconds}{}; lost after {lost_timeout_seconds} ({})",
        when(*job_listed, ", and a schedd lists a running job on it"),
        if *job_listed { "lost_job_timeout" } else { "lost_timeout" };
    SilentOnUnknownSchedd "silent_on_unknown_schedd" {
        silent_seconds: Seconds, lost_job_timeout_seconds: Seconds,
        #[serde(skip_serializing_if = "Option::is_none")] schedd: Option<String>,
    } => "silent for {silent_seconds}, and {}; lost after {lost_job_timeout_seconds} (lost_job_timeout)",
        who_may_have_a_job(schedd);
    SilentAdopted "silent_adopted" { silent_seconds: Seconds, lost_job_timeout_seconds: Seconds } =>
        "adopted {silent_seconds} ago and silent since, earlier jobs may still run; \
         lost after {lost_job_timeout_seconds} (lost_job_timeout)";
    Unheard "unknown" { cause: Unheard } => "unknown: {cause}";
    NoSlot "no_slot" => "not drained: its startd has no slot that condor_drain could name";
    NotActive "not_active" { status: String } => "not drained: Nova reports {status}";
    Inactive "inactive" { status: String, job: JobListed } =>
        "Nova reports {status}: the node accepts no jobs and is kept until Nova reports ACTIVE{}",
        when(*job == JobListed::Yes, "; a schedd lists a running job on it");
    Unreachable "unreachable" {
        silent_seconds: Seconds, unlisted_seconds: Seconds, lost_job_timeout_seconds: Seconds, job_left: JobLeft,
    } => "unreachable for {silent_seconds}: its token expired, and the collector rejects its updates; {}",
        what_is_left(*job_left, *unlisted_seconds, *lost_job_timeout_seconds);
    TakesNoJobs "start_false" { closed_seconds: Seconds } => "unclaimed, START is False for {closed_seconds}";
    DrainedByOther "drained_by_other" { drain_reason: String } =>
        "drained outside ehos ({drain_reason:?}); ehos neither cancels the drain nor deletes the node";
    DrainNotComplete "drain_not_complete" => "draining";
    Stopped "stopped" { silent: bool, job: JobListed } => "server is SHUTOFF, {}", switched_off(*silent, *job);
    Contradiction "contradiction" { says_instance_id: String, says_node: String } =>
        "identity mismatch: its startd advertises server {says_instance_id} and node {says_node}, another node; \
         not touched until EhosNode and CloudInstanceID of the startd are corrected";
    Contested "contested" { first: String, second: String } =>
        "identity mismatch: two startds advertise this node, {first} and {second}; neither drained nor deleted until \
         the startd on the wrong machine is stopped";
    DrainedWithJob "drained_with_job" { machine: String } =>
        "its startd reports drained, but a schedd lists a running job on {machine}; kept until no schedd lists one";
    DrainContradicted "drain_contradicted" { unlisted_seconds: Seconds, lost_job_timeout_seconds: Seconds } =>
        "its startd reports drained, but a schedd listed a running job on it {unlisted_seconds} ago; kept until no \
         schedd has listed one for {lost_job_timeout_seconds} (lost_job_timeout)";
    AdoptedUntrusted "adopted_untrusted" { seconds: Seconds } =>
        "untrusted: adopted {seconds} ago, and this pool's collector has never had its ad; if no other pool uses this \
         ehos.cluster, run `ehos tick --trust-adopted`";
    Unsigned "unsigned" { /** It counts towards nodes_max. */ counts: bool } =>
        "ehos_proof is invalid (forged, or signed with a lost key): not touched{}; delete the server, or run \
         `ehos tick --trust-server UUID` if it belongs to this pool", when(*counts, ", counts towards nodes_max");
    AnotherCondorHost "another_condor_host" { condor_host: String, configured_condor_host: String } =>
        "created for central manager {condor_host}, not {configured_condor_host}: not touched; if no other pool \
         uses this ehos.cluster, delete the server";
    CloudUnknown "cloud_unknown" => "its cloud does not answer; kept as last observed";
    ServerUnread "server_unread" => "Nova's answer about its server is unreadable; kept as last observed";
    DeleteUnderWay "delete_under_way" { seconds: Seconds } => "deleting for {seconds}";
    DeletedByOther "deleting_externally" => "deleting, not requested by ehos";
    GoneFromCloud "deleted_externally" => "server deleted, but not by ehos";
    IntentLapsed "intent_lapsed" { seconds: Seconds } =>
        "requested {seconds} ago, but Nova never listed the server; intent expired";
    Kept "kept" { by: String, #[serde(skip_serializing_if = "Option::is_none")] until: Option<Timestamp> } =>
        "kept by {by}{}", end(*until);
    Paused "paused" { pause: Box<PauseEntry> } => "scale-down paused: {}", pause.words();
    DrainRequestWaiting "drain_request_waiting" { by: String } =>
        "drain requested by {by}; waits until other nodes are replaced";
    StandbyKeeps "standby_keeps" => "standby: the active ehos decides";
    Braked "braked" { brake: String } => "scale-down blocked by a brake: {brake}";
    MaxActions "max_actions" { max_actions: u64 } =>
        "scale-down delayed: max_actions {max_actions} per minute reached";

    // Nodes that ehos drains, deletes or forgets.
    DrainSurplus "drain_surplus" { idle_seconds: Seconds, surplus: u64, nodes_spare: u64 } =>
        "idle for {idle_seconds}, {} (nodes_spare {nodes_spare})", one_of(*surplus, "surplus node");
    DrainTakesNoJobs "drain_start_false" { idle_seconds: Seconds, closed_seconds: Seconds } =>
        "unclaimed for {idle_seconds}, START is False for {closed_seconds}";
    DrainTokenEnds "drain_token_expires" { idle_seconds: Seconds, token_left_seconds: Seconds } =>
        "idle for {idle_seconds}, and its token {}", token_end(*token_left_seconds);
    DrainExpired "drain_expired" {
        idle_seconds: Seconds, #[serde(skip_serializing_if = "Option::is_none")] closed_seconds: Option<Seconds>,
        age_seconds: Seconds, max_lifetime_seconds: Seconds,
    } => "{}, {age_seconds} old (max_lifetime {max_lifetime_seconds})", idle_or_closed(*idle_seconds, *closed_seconds);
    DrainCloudRetires "drain_cloud_retires" { idle_seconds: Seconds } =>
        "idle for {idle_seconds}, and its cloud has retire: true";
    DrainRequested "drain_requested" { idle_seconds: Seconds, by: String } =>
        "idle for {idle_seconds}, drain requested by {by}";
    DrainAboveMaximum "drain_above_maximum" { idle_seconds: Seconds, nodes_max: u64 } =>
        "idle for {idle_seconds}, above nodes_max {nodes_max}";
    DeleteRequested "delete_requested" { by: String, claims: u64 } => "delete requested by {by}{}",
        match claims { 0 => String::new(), _ => format!(", JOBS END: {}", count(*claims, "claimed slot")) };
    ForcefulExpiration "forceful_expiration" { age_seconds: Seconds, max_lifetime_seconds: Seconds, claims: u64 } =>
        "forcefully expired, JOBS END: {age_seconds} old, beyond max_lifetime {max_lifetime_seconds} plus \
         max_lifetime_kill; deleted with {}", count(*claims, "claimed slot");
    DrainOlderImage "drain_outdated_image" { idle_seconds: Seconds, image: String, configured_image: String } =>
        "idle for {idle_seconds}, outdated image {image} (configured: {configured_image})";
    DrainToTryImage "drain_to_try_image" { idle_seconds: Seconds, image: String, configured_image: String } =>
        "idle for {idle_seconds}, outdated image {image} (configured: {configured_image}); replaced first, to test \
         whether nodes from the configured image join";
    DrainTakenBack "drain_cancelled" { jobs: u64 } => "drain cancelled: {} can run here", count(*jobs, "waiting job");
    DrainWithdrawn "drain_withdrawn" => "drain cancelled: its request was withdrawn";
    Drained "drained" { #[serde(skip_serializing_if = "Option::is_none")] idle_seconds: Option<Seconds> } =>
        "drained, no claim left{}", after(", idle for ", idle_seconds);
    FailedInCloud "failed_in_cloud" {
        fault: String, #[serde(skip_serializing_if = "Option::is_none")] console: Option<ConsoleExcerpt>,
    } => "failed: {fault}{}", after("; ", console);
    NeverJoined "never_joined" {
        seconds: Seconds, #[serde(skip_serializing_if = "Option::is_none")] console: Option<ConsoleExcerpt>,
    } => "failed: created {seconds} ago and never joined the pool{}", why_never_joined(console.as_ref());
    StoppedInCloud "stopped_in_cloud" => "server is SHUTOFF, no job on it";
    Lost "lost" { silent_seconds: Seconds } => "lost: silent for {silent_seconds}";
    UnreachableWithoutJob "unreachable_without_job" { silent_seconds: Seconds, unlisted_seconds: Seconds } =>
        "unreachable for {silent_seconds} since its token expired, and no schedd has listed a job \
         on it for {unlisted_seconds}";
    DeleteAgain "delete_again" { seconds: Seconds } =>
        "delete accepted {seconds} ago, but the server still exists; repeated";
    ServerGone "server_deleted" => "server deleted; invalidating its ads in the collector";

    // Builders.
    BuilderWithinLifetime "builder_within_lifetime" { age_seconds: Seconds, lifetime_seconds: Seconds } =>
        "created {age_seconds} ago, lifetime {lifetime_seconds}";
    BuilderExpiredOnce "builder_expired_once" { age_seconds: Seconds, lifetime_seconds: Seconds } =>
        "created {age_seconds} ago, lifetime {lifetime_seconds} exceeded; deleted when the next tick confirms this";
    BuilderExpired "builder_expired" { age_seconds: Seconds, lifetime_seconds: Seconds } =>
        "created {age_seconds} ago, lifetime {lifetime_seconds} exceeded: no build uses it; its console is in the log";
    BuilderRetired "builder_retired" { by: String } => "`ehos retire` by {by}: its build ends";
    BuilderRunsJobs "builder_runs_jobs" { claims: u64 } =>
        "lifetime exceeded, but its startd is in the pool with {}: kept; keep condor from starting during the build",
        count(*claims, "claim");

    // Leftovers.
    LeftoverSeenOnce "leftover_seen_once" => "its server no longer exists; deleted when the next tick confirms this";
    LeftBehind "leftover" { seconds: Seconds } => "leftover, observed for {seconds}";
    LeftoverUnmarked "leftover_unmarked" { seconds: Seconds } =>
        "attached to no server for {seconds}, and without a mark of this pool; delete it if this pool created it";
    FloatingIpUnused "floating_ip_unused" { seconds: Seconds, unused_after_seconds: Seconds } =>
        "unassociated for {seconds}, deleted after {unused_after_seconds}";
    FloatingIpForMaster "floating_ip_for_master" =>
        "unassociated, but kept: a central manager of this pool has no floating IP";
    FloatingIpOfNode "floating_ip_of_node" => "associated with a node; daemon.purge_floating_ips disassociates it";

    // Creates.
    CreateForDemand "create_for_demand" { jobs: u64, request: Resources, choice: Option<Choice> } =>
        "for {} of {request}{}", count(*jobs, "waiting job"), after(": ", choice);
    CreateForMinimum "create_for_minimum" { nodes_min: u64 } => "below nodes_min {nodes_min}";
    CreateForSpare "create_for_spare" {
        nodes_spare: u64, #[serde(skip_serializing_if = "Option::is_none")] percent: Option<u64>,
    } => "below nodes_spare {nodes_spare}{}", share(*percent);

    // Job groups.
    FitsFree "fits_free" { jobs: u64 } => "{jobs} can run in free slots";
    FitsClaimed "fits_claimed" { jobs: u64 } => "{jobs} can run in claimed slots that run no job yet";
    FitsComing "fits_starting" { jobs: u64 } => "{jobs} can run on starting nodes";
    FitsTakenBack "fits_cancelled_drain" { jobs: u64 } => "{jobs} can run on nodes whose drain is cancelled";
    NewNodes "new_nodes" { jobs: u64, nodes: u64, #[serde(rename = "node_types")] kinds: Vec<Made> } =>
        "create {}", creates(*nodes, *jobs, kinds);
    FitsNew "fits_new" { jobs: u64 } => "{jobs} can run on new nodes of other job groups";
    TooLarge "too_large" {
        #[serde(rename = "request")] asks: Resources, largest: Option<Resources>, #[serde(skip_serializing_if = "Option::is_none")] nearest: Option<Nearest>,
    } => "{}", too_large(asks, largest.as_ref(), nearest.as_ref());
    NoMatch "no_match" { #[serde(rename = "mismatches")] refused: Vec<Refuses> } => "no match: {}", refusals(refused);
    NotAnswered "match_unknown" { #[serde(rename = "cause")] why: String } => "match unknown, so no node is created: {why}";
    FirstNodeDecides "first_node_decides" { jobs: u64, clause: Option<String> } =>
        "{jobs} waiting until the first node of its type has joined and shows {}",
        clause.as_ref().map_or("its resources".to_owned(), |clause| format!("whether {clause}"));
    MatchUndetermined "match_undetermined" { jobs: u64, clause: Option<String> } =>
        "a match of {jobs} is undetermined: no node of a large enough type has joined and shows {}",
        clause.as_ref().map_or("its resources".to_owned(), |clause| format!("whether {clause}"));
    ConcurrencyLimit "concurrency_limit" { jobs: u64, concurrency_limit: String, used: String, limit: String } =>
        "{jobs} waiting for concurrency limit {concurrency_limit}: {used} of {limit} in use";
    GroupQuota "group_quota" { jobs: u64, accounting_group: String, used: String, quota: String } =>
        "{jobs} waiting for the quota of accounting group {accounting_group}: {used} of {quota} in use";
    MaxJobsRunning "max_jobs_running" { jobs: u64, schedd: String, running: u64, limit: u64 } =>
        "{jobs} waiting, limited by MAX_JOBS_RUNNING {limit} of schedd {schedd}: {} there", count(*running, "running job");
    Deferred "deferred" { jobs: u64, seconds: Seconds } =>
        "{jobs} deferred: HTCondor matches the first in {seconds}; ehos creates nodes shortly before then";
    DeferralMissed "deferral_missed" { jobs: u64 } =>
        "{jobs} without a matching slot: DeferralTime and DeferralWindow have passed; remove the jobs, or set DeferralTime with \
         condor_qedit";
    ParallelUniverse "parallel_universe" { jobs: u64 } =>
        "{jobs} of the parallel universe, for which ehos creates no node; to count them, add 11 to condor.universes and \
         set DedicatedScheduler on the nodes";
    Restarting "restarting" { jobs: u64, starts: u64, seconds: Seconds } =>
        "{jobs} waiting in backoff: each started at least {starts} times and is idle again; ehos creates a node in {seconds}";
    BadRequest "bad_request" { jobs: u64, attribute: String, value: String } =>
        "{jobs} without a matching slot: {attribute} is not an amount: {value}; set {attribute} to a number with condor_qedit";
    Unread "unread" { jobs: u64, #[serde(skip_serializing_if = "Option::is_none")] attribute: Option<String>, problem: String } =>
        "{jobs} unreadable, so no node is created for them: {}{problem}",
        attribute.as_ref().map_or(String::new(), |attribute| format!("{attribute}: "));
    OwnerBound "owner_bound" { jobs: u64, #[serde(skip_serializing_if = "Option::is_none")] owner: Option<String>, bound: OwnerBound } =>
        "{jobs} of {} not read, so no node is created for them: {bound}",
        owner.as_deref().unwrap_or("an unknown owner");
    Limited "limited" { jobs: u64, nodes: u64, limit: Limit, other_limits: Vec<Limit> } =>
        "{jobs} waiting for {}, limited by {}", count(*nodes, "more node"), by_limits(limit, other_limits);
    Refused "left_unclaimed" { jobs: u64 } =>
        "{jobs} still idle although a free slot is large enough; no node is created for them until one starts \
         (condor_q -better-analyze shows the cause)";
    Standby "standby" { jobs: u64 } => "{jobs} waiting; the active ehos creates their nodes, this one is on standby";
    NothingMade "nothing_created" { jobs: u64, brake: String } => "{jobs} waiting, creates blocked by a brake: {brake}";
}
}

sentences! {
/// The cause for which the phase of a node is unknown.
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
    /// Merges `other` into this reason if both concern deferred jobs, or jobs that restart; returns whether it did.
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

    /// Adds the excerpt of the console of a failed node.
    pub fn learn_console(&mut self, said: &ConsoleExcerpt) {
        if let Reason::FailedInCloud { console, .. } | Reason::NeverJoined { console, .. } = self {
            *console = Some(said.clone());
        }
    }
}

impl From<PauseEntry> for Reason {
    fn from(pause: PauseEntry) -> Reason {
        let pause = Box::new(pause);
        Reason::Paused { pause }
    }
}

impl From<&Keep> for Reason {
    fn from(keep: &Keep) -> Reason {
        let by = keep.by.clone();
        let until = keep.until;
        Reason::Kept { by, until }
    }
}

/// New nodes of one node type for one job group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Made {
    pub nodes: u64,
    /// The choice that the allocation policy made for the first of them.
    pub choice: Choice,
}

/// A node type that matches no job of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refuses {
    pub cloud: String,
    pub flavor: String,
    /// The node's own Requirements (`START`) are false; otherwise the jobs' Requirements are.
    pub node: bool,
    /// The clause of the jobs' Requirements that is false there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clause: Option<String>,
}

/// Formats a duration: `45 s`, `7 min`, `2 h 5 min`.
pub fn format_duration(seconds: u64) -> String {
    Seconds(seconds).to_string()
}

fn one_of(number: u64, noun: &str) -> String {
    match number {
        0 | 1 => format!("the only {noun}"),
        number => format!("one of {}", count(number, noun)),
    }
}

fn share(percent: Option<u64>) -> String {
    percent.map_or_else(String::new, |percent| {
        format!(" ({percent}% of the needed nodes)")
    })
}

fn who_may_have_a_job(schedd: &Option<String>) -> String {
    match schedd {
        Some(schedd) => format!("schedd {schedd} does not answer and may have a job on it"),
        None => {
            "a schedd that ehos does not query may have a job on it (it had a claim)".to_owned()
        }
    }
}

fn what_is_left(job: JobLeft, unlisted: Seconds, lost_job_timeout: Seconds) -> String {
    match job {
        JobLeft::Listed => "kept while a schedd lists a running job on it".to_owned(),
        JobLeft::Unknown => "kept while a schedd that may have a job on it does not answer".to_owned(),
        JobLeft::NotAsked => {
            "kept, for a schedd that ehos does not query may have a job on it; if none has, run `ehos tick --trust-silence`"
                .to_owned()
        }
        JobLeft::None => {
            format!(
                "no schedd has listed a job on it for {unlisted}; deleted after {lost_job_timeout} (lost_job_timeout)"
            )
        }
    }
}

fn switched_off(silent: bool, job: JobListed) -> &'static str {
    match job {
        _ if !silent => "but its startd is not silent yet",
        JobListed::Yes => "and a schedd lists a job on it",
        JobListed::No => "and its startd is silent",
        JobListed::Unknown => "and a schedd that may have a job on it does not answer",
    }
}

fn token_end(left: Seconds) -> String {
    match left {
        Seconds(0) => "has expired".to_owned(),
        left => format!("expires in {left}"),
    }
}

fn idle_or_closed(idle: Seconds, closed: Option<Seconds>) -> String {
    match closed {
        Some(closed) => format!("unclaimed, START is False for {closed}"),
        None => format!("idle for {idle}"),
    }
}

fn why_never_joined(console: Option<&ConsoleExcerpt>) -> String {
    let said = console.map_or("; its console is in the log".to_owned(), |said| {
        format!(": {said}")
    });
    // If the console names the cause, these settings are right.
    let names_cause = console.is_some_and(ConsoleExcerpt::is_cause);
    said + when(
        !names_cause,
        "; check condor.host_ip, port 9618 and the token",
    )
}

fn creates(nodes: u64, jobs: u64, types: &[Made]) -> String {
    let named = |made: &Made| {
        let Choice { flavor, cloud, .. } = &made.choice;
        match made.nodes {
            1 => format!("{flavor} in {cloud}"),
            nodes => format!("{nodes} × {flavor} in {cloud}"),
        }
    };
    let jobs = count(jobs, "job");
    match types {
        [] => format!("{} for {jobs}", count(nodes, "node")),
        [one] => format!("{} for {jobs}: {}", named(one), one.choice),
        several => format!(
            "{} for {jobs}: {}",
            count(nodes, "node"),
            first_few(several.iter().map(named).collect(), ", ")
        ),
    }
}

fn too_large(asks: &Resources, largest: Option<&Resources>, nearest: Option<&Nearest>) -> String {
    match (nearest, largest) {
        (Some(nearest), _) => nearest.to_string(),
        (None, Some(largest)) => {
            format!("no flavor is large enough: requested {asks}; largest node {largest}")
        }
        (None, None) => {
            format!("no configured flavor exists in its cloud: requested {asks}; correct `flavor`")
        }
    }
}

fn by_limits(limit: &Limit, others: &[Limit]) -> String {
    let limits = std::iter::once(limit).chain(others);
    first_few(limits.map(ToString::to_string).collect(), ", and by ")
}

/// Names the node types that do not match for the same reason together.
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
            (true, _) => format!("START is False for them on {shown}"),
            (false, Some(clause)) => format!("{clause} is false on {shown}"),
            (false, None) => format!("their Requirements are false on {shown}"),
        }
    };
    let sentences: Vec<String> = kinds.into_iter().map(sentence).collect();
    sentences.join("; ")
}
