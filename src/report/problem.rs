//! The problems of a tick: the one list behind `ehos status`, notifications and the page.
//!
//! Owns: the meaning of "late", and which problems are sent as notifications.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::names::{BrakeName, BrokenLimit};
use super::tick_report::{ActionResult, BrakeReport, NodeReport, StandbyReport, TickReport};
use scaling::names::PhaseName;
use scaling::plan::NodeDecision;
use scaling::seconds::Seconds;
use scaling::sorting;
use scaling::source::SourceKind;
use system::exit::Exit;

/// The last tick is late if its age exceeds this plus its duration: the timer runs every minute.
pub const LATE_SECONDS: u64 = 180;

/// The most nodes that a problem names; the others are counted.
const NODES_NAMED: usize = 3;

/// The severity of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// An operator must act.
    Error,
    /// Ends by itself, or is configured.
    Warning,
    Note,
}

/// The problem of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    Protected,
    BudgetSpent,
    Brake,
    /// Jobs run on deleted machines.
    StrandedJobs,
    #[serde(alias = "unseen")]
    UnknownSource,
    /// Jobs wait for nodes, and every create fails.
    NothingAchieved,
}

impl NoticeKind {
    /// Whether the problem never ends by itself, so that its notification is sent at once.
    pub fn lasts(self) -> bool {
        matches!(self, NoticeKind::Protected | NoticeKind::BudgetSpent)
    }
}

/// The notification of a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Identifies the problem across ticks.
    pub key: String,
    pub kind: NoticeKind,
    pub text: String,
}

/// Something that an operator should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub level: Level,
    /// The label in `ehos status`.
    pub word: &'static str,
    /// The heading on the page.
    pub subject: String,
    pub text: String,
    /// The notification, if the problem is sent.
    #[serde(skip)]
    pub notice: Option<Notice>,
}

impl Problem {
    fn new(
        level: Level,
        word: &'static str,
        subject: impl Into<String>,
        text: impl Into<String>,
    ) -> Problem {
        Problem {
            level,
            word,
            subject: subject.into(),
            text: text.into(),
            notice: None,
        }
    }

    fn notified(mut self, kind: NoticeKind, key: String, text: String) -> Problem {
        self.notice = Some(Notice { key, kind, text });
        self
    }
}

/// The age of a tick in seconds, negative for the future. A simulated site has its own time, so its age is 0.
fn age(tick: &TickReport, now: Timestamp) -> i64 {
    if tick.simulated {
        return 0;
    }
    now.duration_since(tick.at).as_secs()
}

pub fn age_seconds(tick: &TickReport, now: Timestamp) -> u64 {
    u64::try_from(age(tick, now)).unwrap_or_default()
}

/// Whether the next tick is missing. A tick that takes as long as the last one still runs.
pub fn is_late(tick: &TickReport, now: Timestamp) -> bool {
    let took = tick.milliseconds / 1000;
    age_seconds(tick, now) > took.saturating_add(LATE_SECONDS)
}

/// The operations that a brake blocks.
pub fn blocked(brake: &BrakeReport) -> &'static str {
    match brake.stops_creates {
        true => "creates and deletes blocked",
        false => "deletes blocked",
    }
}

/// Returns every problem, the most severe first.
pub fn problems(tick: &TickReport, now: Timestamp) -> Vec<Problem> {
    let mut all: Vec<Problem> = clock(tick, now).into_iter().collect();
    all.extend(of_tick(tick));
    sorting::by_key(&mut all, |problem| problem.level);
    all
}

/// Returns the problem of the clock: the last tick is late or in the future.
pub fn clock(tick: &TickReport, now: Timestamp) -> Option<Problem> {
    let age = age(tick, now);
    if is_late(tick, now) {
        let text = format!(
            "the last tick was {} ago, and the data below are as old; check `systemctl status ehos.timer ehos.service`",
            Seconds(age.unsigned_abs())
        );
        return Some(Problem::new(Level::Error, "late", "No tick", text));
    }
    (age.unsigned_abs() > LATE_SECONDS).then(|| {
        let text = format!(
            "the last tick is {} ahead of this machine's clock; correct the clock of this machine or of the one that ticks",
            Seconds(age.unsigned_abs())
        );
        Problem::new(Level::Error, "clock", "Clock", text)
    })
}

/// Returns the notifications of a tick.
pub fn notices(tick: &TickReport) -> impl Iterator<Item = Notice> {
    of_tick(tick).into_iter().filter_map(|one| one.notice)
}

/// Returns the problems that a tick found, whatever its age.
pub fn of_tick(tick: &TickReport) -> Vec<Problem> {
    let mut all = Vec::new();
    unknown_sources(tick, &mut all);
    match &tick.standby {
        // The active ehos reports what concerns the pool. What this host cannot reach, it reports itself.
        Some(standby) => {
            on_standby(standby, &mut all);
            // This host has another proof.key or condor.host_ip than the active one.
            let foreign = [PhaseName::Unsigned, PhaseName::Untrusted];
            nodes(tick, &mut all, |phase| foreign.contains(&phase));
        }
        None => of_pool(tick, &mut all),
    }
    if tick.exit != 0 {
        let what = match tick.exit {
            code if code == Exit::Failed as u8 => "an action failed, or a source is unknown",
            code if code == Exit::Unavailable as u8 => "HTCondor or all clouds did not answer",
            _ => "see journalctl -u ehos.service",
        };
        let text = format!("the last tick ended with exit code {}: {what}", tick.exit);
        let subject = format!("Exit code {}", tick.exit);
        all.push(Problem::new(Level::Error, "failed", subject, text));
    }
    // The notices of a simulation report its progress.
    let notices = tick.notices.iter().filter(|_| !tick.simulated);
    all.extend(notices.map(|text| Problem::new(Level::Note, "note", "Notice", text)));
    all
}

fn on_standby(standby: &StandbyReport, all: &mut Vec<Problem>) {
    let text = &standby.text;
    let subject = "Standby";
    all.push(match standby.standby.known() {
        Some(name) if !name.is_problem() => Problem::new(Level::Note, "standby", subject, text),
        _ => {
            let key = format!("standby {}", standby.standby);
            let problem = Problem::new(Level::Error, "standby", subject, text);
            problem.notified(NoticeKind::Brake, key, format!("standby: {text}"))
        }
    });
}

/// The problems of the pool.
fn of_pool(tick: &TickReport, all: &mut Vec<Problem>) {
    for one in &tick.protected {
        let kind = &one.what;
        let key = format!("protected {} {} {}", kind.cloud, kind.flavor, kind.image);
        let problem = Problem::new(Level::Error, "protected", "Protected mode", &one.text);
        let text = format!("protected mode: {}", one.text);
        all.push(problem.notified(NoticeKind::Protected, key, text));
    }
    actions(tick, all);
    for brake in &tick.brakes {
        let what = blocked(brake);
        // This brake ends by itself.
        let level = match brake.brake.is(BrakeName::CollectorYoung) {
            true => Level::Warning,
            false => Level::Error,
        };
        let text = format!("{what}: {}", brake.text);
        let schedd = brake.numbers.get("schedd");
        let schedd = schedd
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default();
        let key = format!("brake {} {schedd}", brake.brake);
        let problem = Problem::new(level, "brake", "Brake", &text);
        all.push(problem.notified(NoticeKind::Brake, key, text));
    }
    if let Some(stranded) = &tick.stranded {
        // Ends with the job leases.
        let subject = "Jobs on deleted machines";
        let problem = Problem::new(Level::Warning, "stranded", subject, &stranded.text);
        let (key, text) = ("stranded_jobs".to_owned(), stranded.text.clone());
        all.push(problem.notified(NoticeKind::StrandedJobs, key, text));
    }
    for one in &tick.budgets_spent {
        let key = format!(
            "budget_spent {}",
            one.what.cloud.as_deref().unwrap_or_default()
        );
        let text = format!("spent: {}", one.text);
        let problem = Problem::new(Level::Warning, "budget", "Budget", &text);
        all.push(problem.notified(NoticeKind::BudgetSpent, key, format!("budget {text}")));
    }
    nodes(tick, all, is_unhealthy);
    for cloud in &tick.clouds {
        if let Some(pause) = &cloud.pause {
            let subject = format!("Cloud {} paused", cloud.cloud);
            let text = format!(
                "{}: ehos creates no node for another {}: {}",
                cloud.cloud,
                Seconds(pause.seconds),
                pause.why
            );
            all.push(Problem::new(Level::Warning, "paused", subject, text));
        }
    }
    // An operator knows: no notification, and exit code 0.
    for one in &tick.pauses {
        let subject = match &one.what.cloud {
            Some(cloud) => format!("Cloud {cloud} paused by an operator"),
            None => "Paused by an operator".to_owned(),
        };
        all.push(Problem::new(Level::Note, "paused", subject, &one.text));
    }
    if let Some(kept) = &tick.kept {
        all.push(Problem::new(Level::Note, "kept", "Kept nodes", &kept.text));
    }
    if tick.queue.unmatched > 0 {
        let text = format!("{} waiting jobs match no node type", tick.queue.unmatched);
        let text = text.replacen("1 waiting jobs match ", "1 waiting job matches ", 1);
        all.push(Problem::new(
            Level::Note,
            "unmatched",
            "Jobs without a node",
            text,
        ));
    }
}

fn unknown_sources(tick: &TickReport, all: &mut Vec<Problem>) {
    for unseen in &tick.unknown_sources {
        let source = &unseen.source;
        let text = format!("{source}: {}", unseen.why);
        let subject = format!("Unknown: {source}");
        let problem = Problem::new(Level::Error, "unknown", subject, &text);
        // The brake is sent instead.
        let is_braked = matches!(source.kind, SourceKind::Collector | SourceKind::Schedd);
        all.push(match is_braked {
            true => problem,
            false => problem.notified(
                NoticeKind::UnknownSource,
                format!("unseen {source}"),
                format!("unknown: {text}"),
            ),
        });
    }
}

/// Failed actions, and waiting jobs for which no create succeeds.
fn actions(tick: &TickReport, all: &mut Vec<Problem>) {
    let mut failed = tick.actions.iter().filter(|action| action.has_failed());
    let kind = NoticeKind::NothingAchieved;
    let key = "nothing_achieved";
    let nothing = is_nothing_achieved(tick);
    for (index, action) in failed.by_ref().enumerate() {
        let message = action.message.as_deref();
        let what = format!("{} {}", action.action, action.node);
        let text = format!("{what}: {}", message.unwrap_or("failed"));
        let problem = Problem::new(Level::Error, "not done", format!("Failed: {what}"), text);
        all.push(match nothing && index == 0 {
            true => {
                let message = message.unwrap_or("no cause reported");
                let text = format!("no action succeeds: {what} failed: {message}");
                problem.notified(kind, key.to_owned(), text)
            }
            false => problem,
        });
    }
    if !nothing || tick.actions.iter().any(|action| action.has_failed()) {
        return;
    }
    let reasons = tick.groups.iter().flat_map(|group| &group.why);
    let broken = reasons
        .into_iter()
        .find(|why| why.limit().is_some_and(is_broken));
    if let Some(broken) = broken {
        let text = format!("no create succeeds: {}", broken.text);
        let problem = Problem::new(Level::Warning, "no effect", "No node for the jobs", &text);
        all.push(problem.notified(kind, key.to_owned(), text));
    }
}

fn is_broken(limit: &str) -> bool {
    BrokenLimit::ALL.iter().any(|one| one.as_str() == limit)
}

/// Whether no action succeeded and no node starts. Protected mode is a problem of its own.
fn is_nothing_achieved(tick: &TickReport) -> bool {
    let starting = [
        PhaseName::Requested,
        PhaseName::Building,
        PhaseName::Booting,
    ];
    let mut nodes = tick.nodes.iter();
    let starts = nodes.any(|node| node.phase.is_one_of(&starting));
    let mut actions = tick.actions.iter();
    let done = actions.any(|action| action.result.is(ActionResult::Done) && !action.is_minor());
    tick.protected.is_empty() && !starts && !done
}

/// Whether a node of this phase runs no jobs for a reason other than an unknown source.
pub fn is_unhealthy(phase: PhaseName) -> bool {
    use PhaseName::*;
    matches!(
        phase,
        Silent | Inactive | Unreachable | Unclear | Untrusted | Unsigned | Stopped | Failed | Lost
    )
}

/// Unhealthy nodes that ehos keeps.
fn nodes(tick: &TickReport, all: &mut Vec<Problem>, which: impl Fn(PhaseName) -> bool) {
    let mut by_phase: BTreeMap<PhaseName, Vec<&NodeReport>> = BTreeMap::new();
    for node in tick
        .nodes
        .iter()
        .filter(|node| node.decision.is(NodeDecision::Keep))
    {
        let phase = node.phase.known().filter(|phase| which(*phase));
        if let Some(phase) = phase {
            by_phase.entry(phase).or_default().push(node);
        }
    }
    for (phase, nodes) in by_phase {
        let plural = if nodes.len() == 1 { "" } else { "s" };
        let what = format!("{} node{plural} {phase}", nodes.len());
        let names = nodes.iter().take(NODES_NAMED);
        let names: Vec<&str> = names.map(|node| node.name.as_str()).collect();
        let more = match nodes.len().saturating_sub(NODES_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let text = format!("{what}: {}{more}", names.join(", "));
        all.push(Problem::new(Level::Warning, "unhealthy", what, text));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::names::BrokenLimit;

    fn kinds(snapshot: Value) -> Vec<NoticeKind> {
        let snapshot: TickReport = serde_json::from_value(snapshot).unwrap();
        notices(&snapshot).map(|notice| notice.kind).collect()
    }

    fn limited_by(name: &str) -> Value {
        let why =
            json!({"reason": "limited", "text": "no node", "jobs": 3, "limit": {"name": name}});
        json!([{"request": {"cpus": 1, "memory_mb": 1, "disk_kb": 1, "gpus": 0}, "jobs": 3, "waiting_seconds": 9,
            "reasons": [why]}])
    }

    fn action(result: &str) -> Value {
        json!([{"action": "create", "node": "n", "result": result, "message": "m"}])
    }

    /// The constant, the alert, the documentation, and the age at which `is_late` changes.
    #[test]
    fn late_is_one_number_everywhere() {
        let read = |path: &str| {
            let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
            std::fs::read_to_string(root.join(path)).unwrap()
        };
        let rules = read("configs/prometheus/ehos.rules.yml");
        let alert = rules.split("- alert: EhosNoTick\n").nth(1).unwrap();
        let expression = format!(
            "expr: time() - ehos_last_tick_timestamp_seconds - ehos_tick_duration_seconds > {LATE_SECONDS}"
        );
        assert_eq!(alert.lines().next().unwrap().trim(), expression);
        let minutes = format!("older than {} minutes", LATE_SECONDS / 60);
        for page in ["docs/operations.md", "docs/json.md"] {
            assert!(read(page).contains(&minutes), "{page}");
        }
        // The page has no number of its own: it asks for `view.is_late`.
        let script = read("src/frontend/page/charts.js") + &read("src/frontend/page/index.html");
        assert!(
            !script.contains(&LATE_SECONDS.to_string()),
            "a number of its own"
        );
        let tick = TickReport {
            at: "2026-11-26T12:00:00Z".parse().unwrap(),
            milliseconds: 20_500,
            ..TickReport::default()
        };
        let after = |seconds: u64| {
            let age = jiff::SignedDuration::from_secs(i64::try_from(seconds).unwrap());
            is_late(&tick, tick.at.checked_add(age).unwrap())
        };
        assert!(!after(LATE_SECONDS + 20));
        assert!(after(LATE_SECONDS + 21));
    }

    #[test]
    fn a_full_cloud_or_a_limit_that_somebody_set_is_no_trouble() {
        for name in [
            "nodes_max",
            "cores",
            "budget_per_hour",
            "max_actions",
            "unproven",
        ] {
            assert_eq!(kinds(json!({"job_groups": limited_by(name)})), [], "{name}");
        }
        for name in BrokenLimit::ALL.iter().map(|one| one.as_str()) {
            let groups = limited_by(name);
            assert_eq!(
                kinds(json!({"job_groups": groups})),
                [NoticeKind::NothingAchieved],
                "{name}"
            );
        }
    }

    #[test]
    fn what_succeeds_or_is_on_its_way_is_an_achievement() {
        let groups = limited_by("backoff");
        assert_eq!(
            kinds(json!({"actions": action("failed")})),
            [NoticeKind::NothingAchieved]
        );
        assert_eq!(kinds(json!({"actions": action("changed")})), []);
        assert_eq!(
            kinds(json!({"actions": action("done"), "job_groups": groups})),
            []
        );
        let coming = json!([{"node": "n", "name": "n", "cloud": "c", "flavor": "f", "phase": "booting", "decision": "keep"}]);
        assert_eq!(kinds(json!({"nodes": coming, "job_groups": groups})), []);
    }

    #[test]
    fn jobs_on_machines_that_are_gone_are_trouble_that_may_pass() {
        let stranded = json!({"jobs": 4, "machines": [], "text": "4 jobs run on no machine"});
        let snapshot: TickReport = serde_json::from_value(json!({"stranded": stranded})).unwrap();
        let problems: Vec<Notice> = notices(&snapshot).collect();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].kind, NoticeKind::StrandedJobs);
        assert_eq!(problems[0].key, "stranded_jobs", "the same for other jobs");
        assert_eq!(problems[0].text, "4 jobs run on no machine");
        assert!(!problems[0].kind.lasts());
    }

    #[test]
    fn a_pause_and_kept_nodes_are_notes_and_send_nothing() {
        let tick: TickReport = serde_json::from_value(json!({
            "pauses": [{"since": "2026-11-26T11:00:00Z", "by": "a", "text": "no creates"}],
            "kept": {"nodes": 2, "text": "2 nodes"},
        }))
        .unwrap();
        let problems = of_tick(&tick);
        let levels: Vec<_> = problems.iter().map(|one| (one.level, one.word)).collect();
        assert_eq!(levels, [(Level::Note, "paused"), (Level::Note, "kept")]);
        assert_eq!(notices(&tick).count(), 0);
    }

    #[test]
    fn a_brake_says_for_its_source_too() {
        let brake = json!([{"brake": "collector_unknown", "text": "it does not answer", "stops_creates": true}]);
        let unseen = json!([{"source": "collector", "cause": "it does not answer"}, {"source": "cloud a", "cause": "x"}]);
        let kinds = kinds(json!({"brakes": brake, "unknown_sources": unseen}));
        assert_eq!(kinds, [NoticeKind::UnknownSource, NoticeKind::Brake]);
    }
}
