//! One tick as programs see it: what `-o json` prints, what `ehos status` and the page read again.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Report;
use crate::scaling::action::FailureKind;
use crate::scaling::brakes::Brake;
use crate::scaling::budget::{BudgetSpent, Costs};
use crate::scaling::failing::ProtectedKind;
use crate::scaling::figures::{
    BackoffFigures, CloudFigures, CoreFigures, PolicyFigures, ServerFigures, StartdFigures,
};
use crate::scaling::observation::Resources;
use crate::scaling::plan::{Action, Fate, GroupLine, NodeLine, Plan, Unseen};
use crate::scaling::reason::Reason;
use crate::scaling::source::SourceKind;
use crate::scaling::stranded::StrandedJobs;
use crate::scaling::submitter::Submitters;
use crate::scaling::totals::Totals;

/// The version of this layout: raised when something in it changes its meaning or goes.
pub const VERSION: u32 = 1;

/// Why, as a program sees it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Why {
    /// In a word.
    pub reason: String,
    /// In a sentence.
    pub text: String,
    /// The numbers in it.
    #[serde(flatten)]
    pub numbers: Map<String, Value>,
}

impl From<&Reason> for Why {
    fn from(reason: &Reason) -> Why {
        let (name, numbers) = tagged(reason, "reason");
        Why {
            reason: name,
            text: reason.to_string(),
            numbers,
        }
    }
}

/// The name and the numbers of one value of a tagged enum.
fn tagged(value: &impl Serialize, tag: &str) -> (String, Map<String, Value>) {
    let mut numbers = match serde_json::to_value(value) {
        Ok(Value::Object(numbers)) => numbers,
        Ok(_) | Err(_) => Map::new(),
    };
    let name = numbers.remove(tag);
    let name = name.as_ref().and_then(Value::as_str).unwrap_or_default();
    (name.to_owned(), numbers)
}

/// Something with the sentence that says it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Told<T> {
    /// It.
    #[serde(flatten)]
    pub what: T,
    /// The sentence.
    #[serde(default)]
    pub text: String,
}

impl<T: Clone + ToString> Told<T> {
    fn of(what: &T) -> Told<T> {
        Told {
            what: what.clone(),
            text: what.to_string(),
        }
    }
}

fn value(what: &impl Serialize) -> Value {
    serde_json::to_value(what).unwrap_or_default()
}

/// What stops deletes, and perhaps creates.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BrakeShown {
    /// In a word.
    pub brake: String,
    /// In a sentence.
    pub text: String,
    /// No node is made either.
    pub stops_creates: bool,
    /// The numbers in it.
    #[serde(flatten)]
    pub numbers: Map<String, Value>,
}

impl From<&Brake> for BrakeShown {
    fn from(brake: &Brake) -> BrakeShown {
        let (name, numbers) = tagged(brake, "brake");
        BrakeShown {
            brake: name,
            text: brake.to_string(),
            stops_creates: brake.stops_creates(),
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
    /// Running.
    pub running: u64,
    /// Held.
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
    #[serde(skip_serializing_if = "is_zero")]
    pub to_come: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks so.
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// One node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeShown {
    /// Its id.
    pub node: String,
    /// Its server's name.
    pub name: String,
    /// Its cloud.
    pub cloud: String,
    /// Its flavor.
    pub flavor: String,
    /// Its availability zone, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Its server.
    #[serde(default)]
    pub server: ServerFigures,
    /// Its startd, when the collector has an ad of it.
    #[serde(default)]
    pub startd: Option<StartdFigures>,
    /// Where it is in its life, in a word.
    pub phase: String,
    /// What happened to it.
    pub fate: Fate,
    /// Why.
    #[serde(flatten)]
    pub why: Why,
}

/// Whether a node of this phase has a server, or may have.
pub fn exists(phase: &str) -> bool {
    !["gone", "lapsed"].contains(&phase)
}

impl NodeShown {
    /// Whether this is its id, its server's name or UUID, or its host name.
    pub fn is_called(&self, name: &str) -> bool {
        let machine = self.startd.as_ref().map(|startd| &startd.machine);
        self.node == name
            || self.name == name
            || self.server.id.as_deref() == Some(name)
            || machine.is_some_and(|machine| machine == name)
    }
}

impl From<&NodeLine> for NodeShown {
    fn from(line: &NodeLine) -> NodeShown {
        NodeShown {
            node: line.node.0.clone(),
            name: line.name.clone(),
            cloud: line.cloud.clone(),
            flavor: line.flavor.clone(),
            zone: line.zone.clone(),
            server: line.server.clone(),
            startd: line.startd.clone(),
            phase: line.phase.to_owned(),
            fate: line.fate,
            why: Why::from(&line.why),
        }
    }
}

/// One group of waiting jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupShown {
    /// What each job asks for.
    pub request: Resources,
    /// A digest of what they need besides.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub needs: String,
    /// What they ask for depends on the machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_machine: bool,
    /// The user and the accounting groups of its jobs that have a limit.
    #[serde(default, skip_serializing_if = "Submitters::is_empty")]
    pub submitters: Submitters,
    /// One of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<String>,
    /// How many wait.
    pub jobs: u64,
    /// For how long the longest waiting one has.
    pub waiting_seconds: u64,
    /// Where they go, or why they do not.
    pub why: Vec<Why>,
}

impl From<&GroupLine> for GroupShown {
    fn from(line: &GroupLine) -> GroupShown {
        GroupShown {
            request: line.request,
            needs: value(&line.needs).as_str().unwrap_or_default().to_owned(),
            by_machine: line.by_machine,
            submitters: line.submitters.clone(),
            example: line.example.clone(),
            jobs: line.jobs,
            waiting_seconds: line.waiting_seconds,
            why: line.why.iter().map(Why::from).collect(),
        }
    }
}

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionShown {
    /// What.
    pub action: String,
    /// With which node.
    pub node: String,
    /// By which cloud, where one does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud: Option<String>,
    /// What came of it.
    pub result: ActionResult,
    /// What failed or has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Snapshot {
    /// The second pass of a tick, with what failed in the first: for those who read the last record alone.
    #[must_use]
    pub fn after(&self, first: &Snapshot) -> Snapshot {
        let failed = first.actions.iter();
        let failed = failed.filter(|action| action.result == ActionResult::Failed);
        Snapshot {
            actions: failed.chain(&self.actions).cloned().collect(),
            exit: self.exit.max(first.exit),
            ..self.clone()
        }
    }
}

impl Snapshot {
    /// Whether no source of this kind is unknown.
    pub fn knows(&self, kind: SourceKind) -> bool {
        !self.unseen.iter().any(|unseen| unseen.source.kind == kind)
    }
}

impl ActionShown {
    /// Whether nothing depends on it: ads that stay are ignored, and a negotiation cycle comes by itself.
    pub fn is_minor(&self) -> bool {
        ["invalidate", "reschedule"].contains(&self.action.as_str())
    }
}

/// What came of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionResult {
    /// A dry run: nothing.
    Planned,
    /// It was done, or asked for.
    Done,
    /// A last look, or the startd itself, found it otherwise than planned, and nothing was done.
    Changed,
    /// It failed.
    Failed,
}

impl ActionShown {
    fn new(action: &Action, result: ActionResult, message: Option<&str>) -> ActionShown {
        let cloud = match action {
            Action::Cloud { cloud, .. } => Some(cloud.clone()),
            Action::Pool(_) => None,
        };
        ActionShown {
            action: action.verb().to_owned(),
            node: action.node().0.clone(),
            cloud,
            result,
            message: message.map(str::to_owned),
        }
    }
}

/// One tick.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Snapshot {
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
    pub unseen: Vec<Unseen>,
    /// What stops deletes.
    pub brakes: Vec<BrakeShown>,
    /// What nothing more is made of.
    pub protected: Vec<Told<ProtectedKind>>,
    /// Months' budgets that are spent.
    pub budgets_spent: Vec<Told<BudgetSpent>>,
    /// Jobs that run on no machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stranded: Option<Told<StrandedJobs>>,
    /// What nodes cost; none without any price.
    pub cost: Option<Costs>,
    /// The window of `schedules` that holds.
    pub window: Option<Told<Map<String, Value>>>,
    /// Every cloud of the configuration.
    pub clouds: Vec<CloudFigures>,
    /// Kinds of node of which no more is made for a while.
    pub backoffs: Vec<BackoffFigures>,
    /// Every node.
    pub nodes: Vec<NodeShown>,
    /// Every builder.
    pub builders: Vec<Told<Map<String, Value>>>,
    /// What servers have left behind.
    pub leftovers: Vec<Told<Map<String, Value>>>,
    /// Floating IPs that lead to nodes.
    pub floating_ips: Vec<Told<Map<String, Value>>>,
    /// Waiting jobs with equal requests.
    pub groups: Vec<GroupShown>,
    /// What was done.
    pub actions: Vec<ActionShown>,
    /// What was counted since the state file is there.
    pub totals: Totals,
}

fn told(what: &impl Serialize, text: String) -> Told<Map<String, Value>> {
    let what = match value(what) {
        Value::Object(what) => what,
        _ => Map::new(),
    };
    Told { what, text }
}

fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Snapshot {
    /// A tick that is over.
    pub fn of(report: &Report<'_>) -> Snapshot {
        let plan = report.plan;
        let notices = report.notices.iter().chain(&plan.notices);
        let shown = |why: &Reason| why.to_string();
        Snapshot {
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
                .collect(),
            policy: plan.policy.clone(),
            queue: queue(plan),
            demand: demand(plan),
            cores: plan.cores,
            notices: notices.cloned().collect(),
            unseen: plan.unseen.clone(),
            brakes: plan.brakes.iter().map(BrakeShown::from).collect(),
            protected: plan.protected.iter().map(Told::of).collect(),
            budgets_spent: plan.budgets_spent.iter().map(Told::of).collect(),
            stranded: plan.stranded.as_ref().map(Told::of),
            cost: plan.cost.clone(),
            window: plan
                .window
                .as_ref()
                .map(|window| told(window, window.to_string())),
            clouds: plan.clouds.clone(),
            backoffs: plan.backoffs.clone(),
            nodes: plan.nodes.iter().map(NodeShown::from).collect(),
            builders: plan
                .builders
                .iter()
                .map(|line| told(line, shown(&line.why)))
                .collect(),
            leftovers: plan
                .leftovers
                .iter()
                .map(|line| told(line, shown(&line.why)))
                .collect(),
            floating_ips: plan
                .floating_ips
                .iter()
                .map(|line| told(line, shown(&line.why)))
                .collect(),
            groups: plan.groups.iter().map(GroupShown::from).collect(),
            actions: actions(report),
            totals: report.totals.clone(),
        }
    }
}

fn queue(plan: &Plan) -> Queue {
    let jobs = |which: &dyn Fn(&Reason) -> Option<u64>| -> u64 {
        let of_group = |group: &GroupLine| {
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

fn actions(report: &Report<'_>) -> Vec<ActionShown> {
    let Some(outcomes) = report.outcomes else {
        let planned = report.plan.actions.iter();
        return planned
            .map(|action| ActionShown::new(action, ActionResult::Planned, None))
            .collect();
    };
    let done = outcomes.iter().map(|outcome| match &outcome.result {
        Ok(_) => ActionShown::new(&outcome.action, ActionResult::Done, None),
        Err(failure) => {
            let result = match failure.kind {
                FailureKind::Changed | FailureKind::NotIdle => ActionResult::Changed,
                _ => ActionResult::Failed,
            };
            ActionShown::new(&outcome.action, result, Some(&failure.message))
        }
    });
    done.collect()
}
