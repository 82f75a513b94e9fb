//! The tick report: the JSON document of one tick. Every other report is built from it.

mod job_names;
mod knowledge;
mod node;
mod resources;

use std::collections::BTreeMap;

use jiff::Timestamp;
use scaling::sorting::IntoMap;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use self::resources::{BuilderReport, FloatingIpReport, LeftoverReport};
use super::TickResult;
use super::names::{BrakeName, Named, ReasonName, StandbyName};
use scaling::action::FailureKind;
use scaling::brakes::Brake;
use scaling::budget::{BudgetSpent, Costs};
use scaling::failure_tracking::ProtectedKind;
use scaling::figures::{BackoffFigures, CloudFigures, CoreFigures, PolicyFigures};
use scaling::high_availability::Standby;
use scaling::job_names::JobQuery;
use scaling::maintenance::{KeptNodes, PauseEntry};
use scaling::names::ActionName;
use scaling::observation::Resources;
use scaling::plan::{Action, JobGroupEntry, Plan, UnknownSource};
use scaling::reason::Reason;
use scaling::stranded::StrandedJobs;
use scaling::submitter::Submitters;
use scaling::totals::Totals;

pub use node::{NodeReport, exists};

pub use job_names::{JobSource, OwnerJobs, possible_submitters};

/// The version of the JSON layout: raised when a field changes its meaning or is removed.
pub const VERSION: u32 = 2;

/// Why, as a program sees it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReasonReport {
    pub reason: Named<ReasonName>,
    /// In a sentence.
    pub text: String,
    #[serde(flatten)]
    pub numbers: Map<String, Value>,
}

impl From<&Reason> for ReasonReport {
    fn from(reason: &Reason) -> ReasonReport {
        let (name, numbers) = tagged(reason, "reason");
        ReasonReport {
            reason: name,
            text: reason.to_string(),
            numbers,
        }
    }
}

impl ReasonReport {
    /// The name of the limit in it.
    pub fn limit(&self) -> Option<&str> {
        self.numbers.get("limit")?.get("name")?.as_str()
    }

    /// How many jobs it is about.
    pub fn jobs(&self) -> u64 {
        let jobs = self.numbers.get("jobs").and_then(Value::as_u64);
        jobs.unwrap_or_default()
    }
}

fn object(value: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(object)) => object,
        Ok(_) | Err(_) => Map::new(),
    }
}

/// The name and the numbers of one value of a tagged enum.
fn tagged<T: DeserializeOwned>(
    value: &impl Serialize,
    tag: &str,
) -> (Named<T>, Map<String, Value>) {
    let mut numbers = object(value);
    let name = numbers.remove(tag).map(serde_json::from_value);
    let name = name.and_then(Result::ok).unwrap_or_default();
    (name, numbers)
}

/// Something with the sentence that says it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WithText<T> {
    #[serde(flatten)]
    pub what: T,
    /// The sentence.
    #[serde(default)]
    pub text: String,
}

impl<T: Clone + ToString> WithText<T> {
    fn of(what: &T) -> WithText<T> {
        WithText {
            what: what.clone(),
            text: what.to_string(),
        }
    }
}

/// Each with sorted keys and the sentence last.
fn sorted<T: Serialize, S: Serializer>(list: &[T], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(list.iter().map(|one| {
        let mut what = object(one);
        let text = what.remove("text");
        let text = text.as_ref().and_then(Value::as_str).unwrap_or_default();
        let text = text.to_owned();
        WithText { what, text }
    }))
}

/// What stops deletes, and perhaps creates.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BrakeReport {
    pub brake: Named<BrakeName>,
    /// In a sentence.
    pub text: String,
    /// No node is made either.
    pub stops_creates: bool,
    #[serde(flatten)]
    pub numbers: Map<String, Value>,
}

impl From<&Brake> for BrakeReport {
    fn from(brake: &Brake) -> BrakeReport {
        let (name, numbers) = tagged(brake, "brake");
        BrakeReport {
            brake: name,
            text: brake.to_string(),
            stops_creates: brake.stops_creates(),
            numbers,
        }
    }
}

/// Why this ehos changed nothing: another central manager is active, or may be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StandbyReport {
    pub standby: Named<StandbyName>,
    /// In a sentence.
    pub text: String,
    #[serde(flatten)]
    pub numbers: Map<String, Value>,
}

impl From<&Standby> for StandbyReport {
    fn from(standby: &Standby) -> StandbyReport {
        let (name, numbers) = tagged(standby, "standby");
        StandbyReport {
            standby: name,
            text: standby.to_string(),
            numbers,
        }
    }
}

/// The jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Queue {
    /// Schedds that answered: of the others nothing is counted.
    pub schedds: u64,
    /// Waiting to run.
    pub idle: u64,
    pub running: u64,
    pub held: u64,
    /// Of those that run, the ones whose machine is gone.
    pub stranded: u64,
    /// Of those that are idle, the ones that count as demand.
    pub waiting: u64,
    /// For how long the longest of these has.
    pub longest_seconds: u64,
    /// Of these, the ones that no node would run, or that are larger than any.
    pub unmatched: u64,
    /// Of these, the ones for which a limit keeps nodes from being made.
    pub limited: u64,
    /// Jobs of factories that are not in the queue yet (late materialization).
    #[serde(
        rename = "unmaterialized",
        alias = "to_come",
        skip_serializing_if = "is_zero"
    )]
    pub to_come: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks so.
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// One group of waiting jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobGroupReport {
    /// Equal for jobs with equal request, Requirements and limited submitters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// What each job asks for.
    pub request: Resources,
    /// A digest of what they need besides.
    #[serde(
        default,
        rename = "requirements",
        alias = "needs",
        skip_serializing_if = "String::is_empty"
    )]
    pub needs: String,
    /// What they ask for depends on the machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_machine: bool,
    /// The user and the accounting groups of its jobs that have a limit.
    #[serde(default, skip_serializing_if = "Submitters::is_empty")]
    pub submitters: Submitters,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<String>,
    /// How many wait.
    pub jobs: u64,
    /// For how long the longest waiting one has.
    pub waiting_seconds: u64,
    /// Owners of its jobs, those with the most jobs first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<OwnerJobs>,
    /// Owners that are not listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub other_owners: u64,
    /// The lowest ids of its jobs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub job_ids: Vec<String>,
    /// The first tick with these reasons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Where they go, or why they do not.
    #[serde(rename = "reasons", alias = "why")]
    pub why: Vec<ReasonReport>,
}

impl From<&JobGroupEntry> for JobGroupReport {
    fn from(line: &JobGroupEntry) -> JobGroupReport {
        JobGroupReport {
            id: job_names::id_of(line),
            request: line.request,
            needs: serde_json::to_value(&line.needs)
                .ok()
                .and_then(|needs| Some(needs.as_str()?.to_owned()))
                .unwrap_or_default(),
            by_machine: line.by_machine,
            submitters: line.submitters.clone(),
            example: line.example.clone(),
            jobs: line.jobs,
            waiting_seconds: line.waiting_seconds,
            owners: Vec::new(),
            other_owners: 0,
            job_ids: Vec::new(),
            since: None,
            why: line.why.iter().map(ReasonReport::from).collect(),
        }
    }
}

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionReport {
    pub action: Named<ActionName>,
    pub node: String,
    /// By which cloud, where one does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud: Option<String>,
    /// What came of it.
    pub result: Named<ActionResult>,
    /// What failed or has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl TickReport {
    /// Reads one of this layout or an older one, whose names serde knows as aliases.
    ///
    /// # Errors
    /// It is no JSON, or not a report.
    pub fn read(text: &[u8]) -> serde_json::Result<TickReport> {
        let mut report: TickReport = serde_json::from_slice(text)?;
        report.version = report.version.max(VERSION);
        Ok(report)
    }

    /// The second pass of a tick, with what failed in the first: for those who read the last record alone.
    #[must_use]
    pub fn after(&self, first: &TickReport) -> TickReport {
        let failed = first.actions.iter();
        let failed = failed.filter(|action| action.result.is(ActionResult::Failed));
        TickReport {
            actions: failed.chain(&self.actions).cloned().collect(),
            exit: self.exit.max(first.exit),
            ..self.clone()
        }
    }
}

impl ActionReport {
    /// Whether it failed, and something depends on it.
    pub fn has_failed(&self) -> bool {
        self.result.is(ActionResult::Failed) && !self.is_minor()
    }

    /// Whether nothing depends on it.
    pub fn is_minor(&self) -> bool {
        self.action.known().is_some_and(ActionName::is_minor)
    }
}

scaling::names! {
    /// What came of an action.
    pub enum ActionResult {
        /// A dry run: nothing.
        Planned = "planned",
        /// It was done, or asked for.
        Done = "done",
        /// A recheck, or the startd itself, found it otherwise than planned, and nothing was done.
        Changed = "changed",
        Failed = "failed",
    }
}

impl ActionReport {
    fn new(action: &Action, result: ActionResult, message: Option<&str>) -> ActionReport {
        let cloud = match action {
            Action::Cloud { cloud, .. } => Some(cloud.clone()),
            Action::Pool(_) => None,
        };
        ActionReport {
            action: action.name().into(),
            node: action.node().to_string(),
            cloud,
            result: result.into(),
            message: message.map(str::to_owned),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TickReport {
    /// Of this layout.
    pub version: u32,
    /// The version of the program.
    pub program: String,
    /// The site is a simulated one, and so is its time.
    pub simulated: bool,
    /// Nothing was done.
    pub dry_run: bool,
    /// When it looked.
    pub at: Timestamp,
    /// The exit code.
    pub exit: u8,
    /// How long it took.
    pub milliseconds: u64,
    /// How long each source took.
    pub source_milliseconds: BTreeMap<String, u64>,
    /// What the configuration said.
    pub policy: PolicyFigures,
    /// The jobs.
    pub queue: Queue,
    /// What the waiting ones ask for, all together.
    pub demand: Resources,
    /// Cores that are paid for, and used.
    pub cores: CoreFigures,
    /// What an operator should know.
    pub notices: Vec<String>,
    /// What did not answer or is not there.
    #[serde(alias = "unseen")]
    pub unknown_sources: Vec<UnknownSource>,
    /// What stops deletes.
    pub brakes: Vec<BrakeReport>,
    /// Pauses that operators have requested.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pauses: Vec<WithText<PauseEntry>>,
    /// Nodes that operators keep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<WithText<KeptNodes>>,
    /// Another central manager is active, or may be: nothing was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standby: Option<StandbyReport>,
    /// What nothing more is made of.
    pub protected: Vec<WithText<ProtectedKind>>,
    /// Months' budgets that are spent.
    pub budgets_spent: Vec<WithText<BudgetSpent>>,
    /// Jobs that run on no machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stranded: Option<WithText<StrandedJobs>>,
    /// What nodes cost; none without any price.
    pub cost: Option<Costs>,
    /// The window of `schedules` that holds.
    pub window: Option<WithText<Map<String, Value>>>,
    /// Every cloud of the configuration.
    pub clouds: Vec<CloudFigures>,
    /// Kinds of node of which no more is made for a while.
    pub backoffs: Vec<BackoffFigures>,
    /// Every node.
    pub nodes: Vec<NodeReport>,
    /// Every builder.
    #[serde(serialize_with = "sorted")]
    pub builders: Vec<BuilderReport>,
    #[serde(serialize_with = "sorted")]
    pub leftovers: Vec<LeftoverReport>,
    /// Floating IPs that lead to nodes.
    #[serde(serialize_with = "sorted")]
    pub floating_ips: Vec<FloatingIpReport>,
    /// Waiting jobs with equal requests.
    #[serde(rename = "job_groups", alias = "groups")]
    pub groups: Vec<JobGroupReport>,
    /// What was done.
    pub actions: Vec<ActionReport>,
    /// What was counted since the state file is there.
    pub totals: Totals,
    /// Owners and job ids are left out (`daemon.show_owners: false`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub owners_hidden: bool,
    /// How the idle jobs were queried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_query: Option<JobQuery>,
}

fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl TickReport {
    /// A tick that is over.
    pub fn of(report: &TickResult<'_>) -> TickReport {
        let hidden = report.jobs.filter(|jobs| !jobs.shows_owners);
        let hidden = hidden.map(|_| job_names::without_owners(report.plan));
        let plan = hidden.as_ref().unwrap_or(report.plan);
        let notices = report.notices.iter().chain(&plan.notices);
        let mut whole = TickReport {
            version: VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            simulated: report.simulated,
            dry_run: report.outcomes.is_none(),
            at: plan.at,
            exit: report.exit() as u8,
            milliseconds: milliseconds(report.took),
            source_milliseconds: report
                .durations
                .iter()
                .map(|(name, took)| (name.clone(), milliseconds(*took)))
                .into_map(),
            policy: plan.policy.clone(),
            queue: queue(plan),
            demand: demand(plan),
            cores: plan.cores,
            notices: notices.cloned().collect(),
            unknown_sources: plan.unknown_sources.clone(),
            brakes: plan.brakes.iter().map(BrakeReport::from).collect(),
            pauses: plan.pauses.iter().map(WithText::of).collect(),
            kept: plan.kept.as_ref().map(WithText::of),
            standby: plan.standby.as_ref().map(StandbyReport::from),
            protected: plan.protected.iter().map(WithText::of).collect(),
            budgets_spent: plan.budgets_spent.iter().map(WithText::of).collect(),
            stranded: plan.stranded.as_ref().map(WithText::of),
            cost: plan.cost.clone(),
            window: plan.window.as_ref().map(|window| WithText {
                what: object(window),
                text: window.to_string(),
            }),
            clouds: plan.clouds.clone(),
            backoffs: plan.backoffs.clone(),
            nodes: node::reports(&plan.nodes),
            builders: plan.builders.iter().map(BuilderReport::from).collect(),
            leftovers: plan.leftovers.iter().map(LeftoverReport::from).collect(),
            floating_ips: plan
                .floating_ips
                .iter()
                .map(FloatingIpReport::from)
                .collect(),
            groups: plan.groups.iter().map(JobGroupReport::from).collect(),
            actions: actions(report),
            totals: report.totals.clone(),
            owners_hidden: false,
            job_query: None,
        };
        if hidden.is_some() {
            // Hidden users are part of the ids, too.
            for (group, planned) in whole.groups.iter_mut().zip(&report.plan.groups) {
                group.id = job_names::id_of(planned);
            }
        }
        if let Some(jobs) = report.jobs {
            jobs.name(&mut whole);
        }
        whole
    }
}

fn queue(plan: &Plan) -> Queue {
    let jobs = |which: &dyn Fn(&Reason) -> Option<u64>| -> u64 {
        let of_group = |group: &JobGroupEntry| {
            let reasons = group.why.iter().filter_map(which);
            let jobs = reasons.fold(0, u64::saturating_add);
            jobs.min(group.jobs)
        };
        plan.groups.iter().map(of_group).sum()
    };
    let waiting = plan.groups.iter().map(|group| group.waiting_seconds);
    Queue {
        schedds: plan.sources_seen.schedds as u64,
        idle: plan.queue.idle,
        running: plan.queue.running,
        held: plan.queue.held,
        stranded: plan.stranded.as_ref().map_or(0, |stranded| stranded.jobs),
        waiting: plan.groups.iter().map(|group| group.jobs).sum(),
        longest_seconds: waiting.max().unwrap_or_default(),
        unmatched: jobs(&|why| {
            // All of the group.
            match why {
                Reason::TooLarge { .. } | Reason::NoMatch { .. } => Some(u64::MAX),
                Reason::BadRequest { jobs, .. } | Reason::DeferralMissed { jobs } => Some(*jobs),
                _ => None,
            }
        }),
        to_come: plan.to_come,
        limited: jobs(&|why| match why {
            Reason::Limited { jobs, .. } => Some(*jobs),
            _ => None,
        }),
    }
}

fn demand(plan: &Plan) -> Resources {
    let groups = plan.groups.iter();
    groups.fold(Resources::default(), |sum, group| Resources {
        cpus: sum
            .cpus
            .saturating_add(group.request.cpus.saturating_mul(group.jobs)),
        memory_mb: sum
            .memory_mb
            .saturating_add(group.request.memory_mb.saturating_mul(group.jobs)),
        disk_kb: sum
            .disk_kb
            .saturating_add(group.request.disk_kb.saturating_mul(group.jobs)),
        gpus: sum
            .gpus
            .saturating_add(group.request.gpus.saturating_mul(group.jobs)),
    })
}

fn actions(report: &TickResult<'_>) -> Vec<ActionReport> {
    let Some(outcomes) = report.outcomes else {
        let planned = report.plan.actions.iter();
        return planned
            .map(|action| ActionReport::new(action, ActionResult::Planned, None))
            .collect();
    };
    let done = outcomes.iter().map(|outcome| match &outcome.result {
        Ok(_) => ActionReport::new(&outcome.action, ActionResult::Done, None),
        Err(failure) => {
            let result = match failure.kind {
                FailureKind::Changed | FailureKind::NotIdle => ActionResult::Changed,
                _ => ActionResult::Failed,
            };
            ActionReport::new(&outcome.action, result, Some(&failure.message))
        }
    });
    done.collect()
}
