//! Names in a tick report. Names of other versions are kept, so that their records stay readable.

use std::fmt;

use serde::{Deserialize, Serialize};

use scaling::plan::NodeDecision;

/// A name, or the text of a name of another version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Named<T> {
    Known(T),
    Other(String),
}

impl<T: Copy + PartialEq> Named<T> {
    pub fn is(&self, name: T) -> bool {
        self.known() == Some(name)
    }

    /// The name, if this version knows it.
    pub fn known(&self) -> Option<T> {
        match self {
            Named::Known(name) => Some(*name),
            Named::Other(_) => None,
        }
    }

    pub fn is_one_of(&self, names: &[T]) -> bool {
        self.known().is_some_and(|name| names.contains(&name))
    }
}

impl<T> From<T> for Named<T> {
    fn from(name: T) -> Named<T> {
        Named::Known(name)
    }
}

impl<T> Default for Named<T> {
    fn default() -> Named<T> {
        Named::Other(String::new())
    }
}

impl<T: fmt::Display> fmt::Display for Named<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Named::Known(name) => name.fmt(f),
            Named::Other(text) => f.pad(text),
        }
    }
}

/// The past participle of a decision for the history of a node; empty for a kept node.
pub fn in_words(decision: &Named<NodeDecision>) -> String {
    let words = match decision {
        Named::Known(NodeDecision::Keep) => "",
        Named::Known(NodeDecision::Create) => "create requested",
        Named::Known(NodeDecision::Drain) => "drain requested",
        Named::Known(NodeDecision::CancelDrain) => "drain cancelled",
        Named::Known(NodeDecision::Delete) => "delete requested",
        Named::Known(NodeDecision::Forget) => "forgotten",
        Named::Known(NodeDecision::Disassociate) => "floating IP disassociated",
        Named::Other(text) => text,
    };
    words.to_owned()
}

scaling::names! {
    /// The reasons that reports look at, by name; [`Reason`](scaling::reason::Reason) has them all.
    pub enum ReasonName {
        /// A node is busy.
        Busy = "busy",
        /// A limit keeps nodes from being created.
        Limited = "limited",
        /// The request is larger than every node.
        TooLarge = "too_large",
        /// No node matches.
        NoMatch = "no_match",
        /// Nodes that were created for the jobs stayed unclaimed.
        Refused = "left_unclaimed" | "refused",
        /// No node could be created.
        NothingMade = "nothing_created" | "nothing_made",
        /// The schedd runs as many jobs as it may.
        MaxJobsRunning = "max_jobs_running",
        /// A request cannot be understood.
        BadRequest = "bad_request",
        /// A request cannot be read.
        Unread = "unread",
        /// The deferral time of a job has passed.
        DeferralMissed = "deferral_missed",
        /// The schedd restarts.
        Restarting = "restarting",
        /// Jobs of the parallel universe.
        ParallelUniverse = "parallel_universe",
        /// Free slots are large enough.
        FitsFree = "fits_free",
        /// Claimed slots are.
        FitsClaimed = "fits_claimed",
        /// Nodes that start are.
        FitsComing = "fits_starting" | "fits_coming",
        /// Nodes whose drain is cancelled are.
        FitsTakenBack = "fits_cancelled_drain" | "fits_taken_back",
        /// A node that this tick creates is.
        FitsNew = "fits_new",
        /// This tick creates nodes.
        NewNodes = "new_nodes",
        /// An operator keeps the node.
        Kept = "kept",
        /// An operator has requested to drain the node.
        DrainRequested = "drain_requested",
        /// The same, while others are replaced.
        DrainRequestWaiting = "drain_request_waiting",
        /// An operator has requested to delete the node.
        DeleteRequested = "delete_requested",
        /// HTCondor did not say whether the jobs match.
        NotAnswered = "match_unknown",
        /// The first node of its type decides.
        FirstNodeDecides = "first_node_decides",
        /// No node of such a type has joined yet.
        MatchUndetermined = "match_undetermined",
        /// A concurrency limit is used up.
        ConcurrencyLimit = "concurrency_limit",
        /// The quota of an accounting group is used up.
        GroupQuota = "group_quota",
        /// The jobs are not to start yet.
        Deferred = "deferred",
        /// The share of an owner in what a tick reads is used up.
        OwnerBound = "owner_bound",
    }
}

impl ReasonName {
    /// Those that name the request of an operator.
    pub const OF_REQUESTS: [ReasonName; 4] = [
        ReasonName::Kept,
        ReasonName::DrainRequested,
        ReasonName::DrainRequestWaiting,
        ReasonName::DeleteRequested,
    ];

    /// Whether jobs with this reason wait until an operator or user acts, or a limit permits more.
    pub fn is_stuck(self) -> bool {
        use ReasonName::*;
        matches!(
            self,
            Limited
                | TooLarge
                | NoMatch
                | Refused
                | NothingMade
                | MaxJobsRunning
                | BadRequest
                | Unread
                | DeferralMissed
                | Restarting
                | ParallelUniverse
        )
    }

    /// Whether jobs with this reason have a node, or get one.
    pub fn is_placed(self) -> bool {
        use ReasonName::*;
        matches!(
            self,
            FitsFree | FitsClaimed | FitsComing | FitsTakenBack | FitsNew | NewNodes
        )
    }
}

scaling::names! {
    /// The limits on creates; [`Limit`](scaling::limits::Limit) has them all.
    pub enum LimitName {
        NodesMax = "nodes_max",
        CloudNodesMax = "cloud_nodes_max",
        CoresMax = "cores_max",
        CloudCoresMax = "cloud_cores_max",
        Instances = "instances",
        Cores = "cores",
        Ram = "ram",
        SubmitterNodesMax = "submitter_nodes_max",
        SubmitterCoresMax = "submitter_cores_max",
        BudgetPerHour = "budget_per_hour",
        BudgetPerMonth = "budget_per_month",
        Backoff = "backoff",
        Protected = "protected",
        Pause = "pause",
        Unproven = "unproven",
        MaxActions = "max_actions",
        CloudUnknown = "cloud_unknown",
        OperatorPause = "operator_pause",
        Retire = "retire",
        NeverSeen = "nodes_unknown" | "never_seen",
        FlavorUnknown = "flavor_unknown",
        Ports = "ports",
        Volumes = "volumes",
        VolumeGigabytes = "volume_gigabytes",
        ServerGroupMembers = "server_group_members",
        SecondaryQuotaUnknown = "quota_unknown" | "parts_unknown",
    }
}

scaling::names! {
    /// The limits that are a fault, and neither a decision of an operator nor a full cloud.
    pub enum BrokenLimit {
        /// Failures, with a pause that grows.
        Backoff = "backoff",
        /// Protected mode.
        Protected = "protected",
        /// The cloud asked for a pause.
        Pause = "pause",
        /// The cloud does not answer.
        CloudUnknown = "cloud_unknown",
        /// The cloud has never answered.
        NeverSeen = "nodes_unknown" | "never_seen",
        /// The cloud does not have the flavor.
        FlavorUnknown = "flavor_unknown",
        /// Ports, volumes or server groups are not known.
        SecondaryQuotaUnknown = "quota_unknown" | "parts_unknown",
    }
}

scaling::names! {
    /// The brakes.
    pub enum BrakeName {
        /// The collector does not answer.
        CollectorUnknown = "collector_unknown",
        /// The collector has not run for long enough.
        CollectorYoung = "collector_young",
        /// A schedd does not answer.
        ScheddUnknown = "schedd_unknown",
        /// Many nodes are silent.
        NodesVanished = "nodes_silent" | "nodes_vanished",
    }
}

scaling::names! {
    /// Why an ehos beside a central manager changes nothing.
    pub enum StandbyName {
        /// The negotiator runs on another host.
        ActiveElsewhere = "active_elsewhere",
        /// The negotiator here has not run for long enough.
        TakingOver = "taking_over",
        /// Two negotiators run.
        TwoNegotiators = "two_negotiators",
        /// No negotiator runs.
        NoNegotiator = "no_negotiator",
        /// The negotiators are unknown.
        Unknown = "unknown",
    }
}

impl StandbyName {
    /// Whether no ehos may be active, until an operator acts.
    pub fn is_problem(self) -> bool {
        !matches!(self, StandbyName::ActiveElsewhere | StandbyName::TakingOver)
    }
}

impl BrakeName {
    /// Whether ads of nodes may be missing, so that claims are unknown.
    pub fn hides_claims(self) -> bool {
        matches!(self, BrakeName::CollectorYoung | BrakeName::NodesVanished)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scaling::names::PhaseName;

    #[test]
    fn a_name_of_another_version_is_kept() {
        let read = |text: &str| -> Named<PhaseName> { serde_json::from_str(text).unwrap() };
        assert!(read("\"busy\"").is(PhaseName::Busy));
        let other = read("\"resting\"");
        assert_eq!(other.known(), None);
        assert_eq!(serde_json::to_string(&other).unwrap(), "\"resting\"");
        assert_eq!(format!("{other:9}|"), "resting  |");
        assert_eq!(format!("{:9}|", read("\"busy\"")), "busy     |");
    }
}
