//! The report of a tick as text, and as lines of a journal.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use super::names::{Named, ReasonName};
use super::problem::blocked;
use super::status::layout::{Style, paint};
use super::tick_report::{ActionResult, JobGroupReport, NodeReport, TickReport};
use scaling::budget::Costs;
use scaling::plan::NodeDecision;
use scaling::seconds::Seconds;
use scaling::sorting;
use system::plain::line;

/// More kept nodes than this are only counted, unless it is a dry run.
const NODES_ON_A_SCREEN: usize = 12;

/// More job groups than this are only counted, unless it is a dry run.
const GROUPS_ON_A_SCREEN: usize = 20;

/// A level of journald. Source: sd-daemon(3).
#[derive(Debug, Clone, Copy)]
enum Level {
    Error = 3,
    Warning = 4,
    Information = 6,
}

/// How a report for people is printed.
#[derive(Debug, Clone, Copy, Default)]
pub struct TextOptions {
    /// Each line begins with its level for journald.
    pub levels: bool,
    /// Labels have colors.
    pub color: bool,
    /// Only lines of problems.
    pub problems_only: bool,
}

struct Page<'a> {
    tick: &'a TickReport,
    options: TextOptions,
    text: String,
}

/// Returns the report for people.
pub fn text(tick: &TickReport, options: TextOptions) -> String {
    let mut page = Page {
        tick,
        options,
        text: String::new(),
    };
    page.problems();
    page.summary();
    page.groups();
    page.nodes();
    page.builders();
    page.leftovers();
    page.floating_ips();
    page.actions("failed", Level::Error, |action| action.has_failed());
    // A recheck found something else than the plan expected.
    page.actions("skipped", Level::Information, |action| {
        let is_off = [ActionResult::Changed, ActionResult::Failed];
        action.result.is_one_of(&is_off) && !action.has_failed()
    });
    page.text
}

impl Page<'_> {
    fn line(&mut self, level: Level, label: &str, text: impl Display) {
        let style = match level {
            Level::Error => Style::Bad,
            Level::Warning => Style::Warn,
            Level::Information if self.options.problems_only => return,
            Level::Information => Style::Bold,
        };
        if self.options.levels {
            self.text.push_str(&format!("<{}>", level as u8));
        }
        let line = line!("{label:8} {text}");
        let (head, rest) = line.split_at_checked(label.len()).unwrap_or(("", &line));
        self.text.push_str(&paint(style, head, self.options.color));
        self.text.push_str(rest);
    }

    fn say(&mut self, label: &str, text: impl Display) {
        self.line(Level::Information, label, text);
    }

    /// The label stands before the first row of a list only; in a journal before each, for each row is an entry there.
    fn rows(&mut self, level: Level, label: &str, rows: impl IntoIterator<Item = String>) {
        for (index, row) in rows.into_iter().enumerate() {
            let label = if index == 0 || self.options.levels {
                label
            } else {
                ""
            };
            self.line(level, label, row);
        }
    }

    fn problems(&mut self) {
        let tick = self.tick;
        for one in &tick.unknown_sources {
            let text = format_args!("{}: {}", one.source, one.why);
            self.line(Level::Warning, "unknown", text);
        }
        if let Some(standby) = &tick.standby {
            let level = match standby
                .standby
                .known()
                .is_some_and(|name| !name.is_problem())
            {
                true => Level::Information,
                false => Level::Error,
            };
            self.line(level, "standby", &standby.text);
        }
        for one in &tick.protected {
            self.line(Level::Error, "PROTECTED MODE ", &one.text);
        }
        for one in &tick.budgets_spent {
            self.line(Level::Warning, "BUDGET SPENT ", &one.text);
        }
        for one in &tick.brakes {
            let text = format_args!("{}: {}", blocked(one), one.text);
            self.line(Level::Warning, "brake", text);
        }
        if let Some(one) = &tick.stranded {
            self.line(Level::Warning, "stranded", &one.text);
        }
        for one in &tick.pauses {
            self.say("paused", &one.text);
        }
        for notice in &tick.notices {
            self.say("note", notice);
        }
    }

    fn summary(&mut self) {
        let tick = self.tick;
        if let Some(window) = &tick.window {
            self.say("window", &window.text);
        }
        self.say("queue", queue(tick));
        self.say("nodes", nodes(tick));
        if let Some(kept) = &tick.kept {
            self.say("kept", &kept.text);
        }
        if let Some(cost) = &tick.cost {
            self.say("cost", costs(cost));
        }
        let dry_run = if tick.dry_run { " (dry run)" } else { "" };
        self.say("plan", format_args!("{}{dry_run}", decisions(tick)));
    }

    fn groups(&mut self) {
        let groups = &self.tick.groups;
        let shown = match self.tick.dry_run {
            true => groups.len(),
            false => GROUPS_ON_A_SCREEN,
        };
        let requests: Vec<String> = groups.iter().take(shown).map(request).collect();
        let widths = requests.iter().map(|request| request.chars().count());
        let width = widths.max().unwrap_or(0);
        let rows = requests.iter().zip(groups);
        let rows = rows.map(|(request, group)| format!("{request:width$}  {}", waiting(group)));
        let rest = groups.get(shown..).unwrap_or_default();
        let jobs: u64 = rest.iter().map(|group| group.jobs).sum();
        let rest = (jobs > 0).then(|| {
            let groups = rest.len();
            format!("{jobs} jobs in {groups} more groups: see `ehos tick --dry-run`")
        });
        self.rows(Level::Information, "jobs", rows.chain(rest));
    }

    fn nodes(&mut self) {
        let nodes = &self.tick.nodes;
        let is_kept = |node: &&NodeReport| node.decision.is(NodeDecision::Keep);
        let all = self.tick.dry_run || nodes.iter().filter(is_kept).count() <= NODES_ON_A_SCREEN;
        let shown: Vec<&NodeReport> = nodes.iter().filter(|node| all || !is_kept(node)).collect();
        // The only zone of a cloud is not named.
        let mut zones: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for node in nodes {
            let zones = zones.entry(&node.cloud).or_default();
            zones.extend(node.zone.as_deref());
        }
        let several = |cloud: &str| zones.get(cloud).is_some_and(|zones| zones.len() > 1);
        let place = |node: &NodeReport| match &node.zone {
            Some(zone) if several(&node.cloud) => format!("{} {zone} {}", node.cloud, node.flavor),
            _ => format!("{} {}", node.cloud, node.flavor),
        };
        let names = shown.iter().map(|node| node.name.len()).max();
        let places = shown.iter().map(|node| place(node).len()).max();
        let (name_width, place_width) = (names.unwrap_or(0), places.unwrap_or(0));
        let rows = shown.into_iter().map(|node| {
            let NodeReport {
                decision,
                name,
                phase,
                ..
            } = node;
            let (place, why) = (place(node), node.words());
            format!("{decision:8} {name:name_width$}  {place:place_width$}  {phase:9} {why}")
        });
        self.rows(Level::Information, "node", rows);
    }

    fn builders(&mut self) {
        let rows = self.tick.builders.iter().map(|one| {
            let why = &one.why.text;
            format!("{:8} {}  {}  {why}", one.decision, one.name, one.cloud)
        });
        self.rows(Level::Information, "builder", rows);
    }

    fn leftovers(&mut self) {
        let rows = self.tick.leftovers.iter().map(|one| {
            let kind = match &one.kind {
                Named::Known(kind) => kind.name(),
                Named::Other(kind) => kind,
            };
            let space = if one.name.is_empty() { "" } else { " " };
            let server = one.server.as_ref();
            let server = server.map_or_else(String::new, |server| format!("of server {server}: "));
            format!(
                "{:8} {kind} {}{space}({})  {}  {server}{}",
                one.decision, one.name, one.id, one.cloud, one.why.text
            )
        });
        self.rows(Level::Information, "leftover", rows);
    }

    /// Floating IPs of nodes.
    fn floating_ips(&mut self) {
        let rows = self.tick.floating_ips.iter().map(|one| {
            format!(
                "{:8} {} ({})  {}  of server {}: {}",
                one.decision, one.address, one.id, one.cloud, one.server, one.why.text
            )
        });
        self.rows(Level::Information, "address", rows);
    }

    fn actions(
        &mut self,
        label: &str,
        level: Level,
        which: impl Fn(&super::tick_report::ActionReport) -> bool,
    ) {
        let rows = self
            .tick
            .actions
            .iter()
            .filter(|one| which(one))
            .map(|one| {
                let message = one.message.as_deref().unwrap_or_default();
                format!("{} {}: {message}", one.action, one.node)
            });
        self.rows(level, label, rows);
    }
}

/// `3 × 2 CPUs, 2048 MB`.
pub(crate) fn request(group: &JobGroupReport) -> String {
    let by_machine = match group.by_machine {
        true => " (set by the machine)",
        false => "",
    };
    format!("{} × {}{by_machine}", group.jobs, group.request)
}

/// Why the jobs of a group wait, for how long, and one of them unless all have a place.
pub(crate) fn waiting(group: &JobGroupReport) -> String {
    let reasons = group.why.iter().map(|why| why.text.as_str());
    let reasons = match group.why.is_empty() {
        true => "no reason yet".to_owned(),
        false => reasons.collect::<Vec<_>>().join("; "),
    };
    let mut known = group.why.iter().map(|why| why.reason.known());
    let is_placed = known.all(|reason| reason.is_some_and(ReasonName::is_placed));
    let example = match &group.example {
        Some(job) if !is_placed => format!("job {job}, "),
        _ => String::new(),
    };
    let longest = Seconds(group.waiting_seconds);
    format!("{reasons} ({example}waiting for {longest})")
}

fn queue(tick: &TickReport) -> String {
    let queue = tick.queue;
    if queue.schedds == 0 {
        return "unknown".to_owned();
    }
    let mut text = format!(
        "{} idle, {} running, {} held",
        queue.idle, queue.running, queue.held
    );
    if queue.stranded > 0 {
        text += &format!("; {} running on deleted machines", queue.stranded);
    }
    if queue.to_come > 0 {
        text += &format!("; {} to come (late materialization)", queue.to_come);
    }
    text
}

fn costs(cost: &Costs) -> String {
    let Costs {
        month,
        counted_since,
        per_hour,
        spent_this_month,
        clouds,
        ..
    } = cost;
    let mut text = format!("{per_hour} per hour, {spent_this_month} spent in {month}");
    if let Some(since) = counted_since {
        // Earlier costs are unknown.
        text += &format!(" (counted since {since:.0})");
    }
    if clouds.len() > 1 {
        let each = clouds.iter().map(|cloud| {
            let (name, now, spent) = (&cloud.cloud, cloud.per_hour, cloud.spent_this_month);
            format!("{name} {now} per hour, {spent} spent")
        });
        text += &format!("; {}", each.collect::<Vec<_>>().join("; "));
    }
    let without: u64 = clouds.iter().map(|cloud| cloud.nodes_without_price).sum();
    if without > 0 {
        text += &format!("; not counted: {} without a price", count(without, "node"));
    }
    text
}

fn nodes(tick: &TickReport) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let nodes = tick.nodes.iter();
    for node in nodes.filter(|node| !node.decision.is(NodeDecision::Create)) {
        *counts.entry(node.phase.to_string()).or_default() += 1;
    }
    let total: usize = counts.values().sum();
    let mut counts: Vec<_> = counts.into_iter().collect();
    sorting::by_key(&mut counts, |(_, count)| std::cmp::Reverse(*count));
    let phases = counts
        .iter()
        .map(|(phase, count)| format!("{count} {phase}"));
    let separator = if total == 0 { "" } else { ": " };
    let phases = phases.collect::<Vec<_>>().join(", ");
    let most = tick.policy.cores_max;
    let cores = most.map(|most| format!(", {} of at most {most} cores", tick.cores.paid));
    let cores = cores.unwrap_or_default();
    format!(
        "{total} of at most {}{cores}{separator}{phases}",
        tick.policy.nodes_max
    )
}

/// The number of each decision.
fn decisions(tick: &TickReport) -> String {
    let of_nodes = |decision: NodeDecision| {
        tick.nodes
            .iter()
            .filter(|node| node.decision.is(decision))
            .count()
    };
    let nodes = [
        (NodeDecision::Create, "create", "node"),
        (NodeDecision::CancelDrain, "cancel", "drain"),
        (NodeDecision::Drain, "drain", "node"),
        (NodeDecision::Delete, "delete", "node"),
        (NodeDecision::Forget, "forget", "node"),
    ];
    let nodes = nodes.map(|(decision, verb, noun)| (of_nodes(decision), verb, noun));
    let deletes = |decision: &Named<NodeDecision>| decision.is(NodeDecision::Delete);
    let builders = tick.builders.iter().filter(|one| deletes(&one.decision));
    let leftovers = tick.leftovers.iter().filter(|one| deletes(&one.decision));
    let ips = tick.floating_ips.iter();
    let ips = ips.filter(|one| one.decision.is(NodeDecision::Disassociate));
    let others = [
        (builders.count(), "delete", "builder"),
        (leftovers.count(), "delete", "leftover"),
        (ips.count(), "disassociate", "floating IP"),
    ];
    let all = nodes.into_iter().chain(others);
    let parts: Vec<String> = all
        .filter(|(count, ..)| *count > 0)
        .map(|(number, verb, noun)| format!("{verb} {}", count(number as u64, noun)))
        .collect();
    match parts.is_empty() {
        true => "nothing to do".to_owned(),
        false => parts.join(", "),
    }
}

/// `1 node`, `2 nodes`.
pub fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
