//! A tick on one screen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use super::names::{Named, ReasonName};
use super::problem::blocked;
use super::tick_report::{ActionResult, JobGroupReport, NodeReport, TickReport};
use scaling::budget::Costs;
use scaling::plan::NodeDecision;
use scaling::seconds::Seconds;
use system::plain::Lines;

/// More nodes than this that nothing happens to are only counted, unless it is a dry run.
const NODES_ON_A_SCREEN: usize = 12;

/// More groups than this are only counted, unless it is a dry run.
const GROUPS_ON_A_SCREEN: usize = 20;

/// A level of journald. Source: sd-daemon(3).
#[derive(Debug, Clone, Copy)]
enum Level {
    Error = 3,
    Warning = 4,
    Information = 6,
}

struct Page<'a> {
    tick: &'a TickReport,
    levels: bool,
    lines: Lines,
}

/// The report for people; with `levels`, each line begins with its level as journald reads it.
pub fn text(tick: &TickReport, levels: bool) -> String {
    let mut page = Page {
        tick,
        levels,
        lines: Lines::new(),
    };
    page.problems();
    page.summary();
    page.groups();
    page.nodes();
    page.builders();
    page.leftovers();
    page.floating_ips();
    page.actions("not done", Level::Error, |action| action.has_failed());
    page.actions("otherwise than planned", Level::Information, |action| {
        let is_off = [ActionResult::Changed, ActionResult::Failed];
        action.result.is_one_of(&is_off) && !action.has_failed()
    });
    page.lines.into_string()
}

impl Page<'_> {
    fn line(&mut self, level: Level, text: impl Display) {
        match self.levels {
            true => self.lines.line(format_args!("<{}>{text}", level as u8)),
            false => self.lines.line(format_args!("{text}")),
        }
    }

    fn say(&mut self, text: impl Display) {
        self.line(Level::Information, text);
    }

    fn heading(&mut self, level: Level, text: &str) {
        if !self.levels {
            self.lines.gap();
        }
        self.line(level, text);
    }

    fn problems(&mut self) {
        let tick = self.tick;
        for one in &tick.unseen {
            self.line(
                Level::Warning,
                format_args!("unknown  {}: {}", one.source, one.why),
            );
        }
        for one in &tick.protected {
            self.line(Level::Error, format_args!("PROTECTED MODE  {}", one.text));
        }
        for one in &tick.budgets_spent {
            self.line(Level::Warning, format_args!("BUDGET SPENT  {}", one.text));
        }
        for one in &tick.brakes {
            let what = blocked(one);
            self.line(
                Level::Warning,
                format_args!("brake    {what}: {}", one.text),
            );
        }
        if let Some(one) = &tick.stranded {
            self.line(Level::Warning, format_args!("stranded {}", one.text));
        }
        for notice in &tick.notices {
            self.say(format_args!("note     {notice}"));
        }
    }

    fn summary(&mut self) {
        let tick = self.tick;
        if let Some(window) = &tick.window {
            self.say(format_args!("window   {}", window.text));
        }
        self.say(format_args!("queue    {}", queue(tick)));
        self.say(format_args!("nodes    {}", phases(&tick.nodes)));
        if let Some(cost) = &tick.cost {
            self.say(format_args!("cost     {}", costs(cost)));
        }
        let head = if tick.dry_run { "would" } else { "plan" };
        self.say(format_args!("{head:7}  {}", decisions(tick)));
    }

    fn groups(&mut self) {
        let groups = &self.tick.groups;
        if groups.is_empty() {
            return;
        }
        self.heading(Level::Information, "waiting jobs");
        let shown = match self.tick.dry_run {
            true => groups.len(),
            false => GROUPS_ON_A_SCREEN,
        };
        for group in groups.iter().take(shown) {
            let why: Vec<&str> = group.why.iter().map(|why| why.text.as_str()).collect();
            let why = match why.is_empty() {
                true => "nothing can be said yet".to_owned(),
                false => why.join("; "),
            };
            let by_machine = match group.by_machine {
                true => " (by the machine)",
                false => "",
            };
            self.say(format_args!(
                "  {} of {}{by_machine}{}, longest {}: {why}",
                group.jobs,
                group.request,
                example(group),
                Seconds(group.waiting_seconds)
            ));
        }
        let rest = groups.get(shown..).unwrap_or_default();
        let jobs: u64 = rest.iter().map(|group| group.jobs).sum();
        if jobs > 0 {
            let groups = rest.len();
            self.say(format_args!(
                "  {jobs} in {groups} more groups: see ehos tick --dry-run"
            ));
        }
    }

    fn nodes(&mut self) {
        let nodes = &self.tick.nodes;
        let is_kept = |node: &&NodeReport| node.fate.is(NodeDecision::Keep);
        let all = self.tick.dry_run || nodes.iter().filter(is_kept).count() <= NODES_ON_A_SCREEN;
        let shown: Vec<&NodeReport> = nodes.iter().filter(|node| all || !is_kept(node)).collect();
        if shown.is_empty() {
            return;
        }
        self.heading(Level::Information, "nodes");
        // The only zone of a cloud says nothing.
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
        for node in shown {
            let NodeReport {
                fate, name, phase, ..
            } = node;
            let (place, why) = (place(node), &node.why.text);
            self.say(format_args!(
                "  {fate:8} {name:name_width$}  {place:place_width$}  {phase:9} {why}"
            ));
        }
    }

    fn builders(&mut self) {
        let builders = &self.tick.builders;
        if !builders.is_empty() {
            self.heading(Level::Information, "builders of images");
        }
        for one in builders {
            let why = &one.why.text;
            self.say(format_args!(
                "  {:8} {}  {}  {why}",
                one.fate, one.name, one.cloud
            ));
        }
    }

    fn leftovers(&mut self) {
        let leftovers = &self.tick.leftovers;
        if !leftovers.is_empty() {
            self.heading(Level::Information, "left behind");
        }
        for one in leftovers {
            let kind = match &one.kind {
                Named::Known(kind) => kind.name(),
                Named::Other(kind) => kind,
            };
            let space = if one.name.is_empty() { "" } else { " " };
            let server = one.server.as_ref();
            let server = server.map_or_else(String::new, |server| format!("of server {server}: "));
            self.say(format_args!(
                "  {:8} {kind} {}{space}({})  {}  {server}{}",
                one.fate, one.name, one.id, one.cloud, one.why.text
            ));
        }
    }

    fn floating_ips(&mut self) {
        let ips = &self.tick.floating_ips;
        if !ips.is_empty() {
            self.heading(Level::Information, "floating IPs of nodes");
        }
        for one in ips {
            self.say(format_args!(
                "  {:8} {} ({})  {}  of server {}: {}",
                one.fate, one.address, one.id, one.cloud, one.server, one.why.text
            ));
        }
    }

    fn actions(
        &mut self,
        heading: &str,
        level: Level,
        which: impl Fn(&super::tick_report::ActionReport) -> bool,
    ) {
        let mut heading = Some(heading);
        for one in self.tick.actions.iter().filter(|one| which(one)) {
            if let Some(heading) = heading.take() {
                self.heading(level, heading);
            }
            let message = one.message.as_deref().unwrap_or_default();
            self.line(
                level,
                format_args!("  {} {}: {message}", one.action, one.node),
            );
        }
    }
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
        text += &format!("; {} running on no machine", queue.stranded);
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
    let mut text = format!("{per_hour} an hour, {spent_this_month} spent in {month}");
    if let Some(since) = counted_since {
        // What there was before is not known.
        text += &format!(" (counted since {since:.0})");
    }
    if clouds.len() > 1 {
        let each = clouds.iter().map(|cloud| {
            let (name, now, spent) = (&cloud.cloud, cloud.per_hour, cloud.spent_this_month);
            format!("{name} {now} and {spent}")
        });
        text += &format!(": {}", each.collect::<Vec<_>>().join(", "));
    }
    let without: u64 = clouds.iter().map(|cloud| cloud.nodes_without_price).sum();
    if without > 0 {
        text += &format!("; {without} nodes have no price and are not counted");
    }
    text
}

fn phases(nodes: &[NodeReport]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for node in nodes
        .iter()
        .filter(|node| !node.fate.is(NodeDecision::Create))
    {
        *counts.entry(node.phase.to_string()).or_default() += 1;
    }
    let total: usize = counts.values().sum();
    if total == 0 {
        return "none".to_owned();
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let parts = counts
        .iter()
        .map(|(phase, count)| format!("{count} {phase}"));
    format!("{total}: {}", parts.collect::<Vec<_>>().join(", "))
}

/// One of the group's jobs, unless there is room for all of them.
fn example(group: &JobGroupReport) -> String {
    let mut reasons = group.why.iter().map(|why| why.reason.known());
    let placed = reasons.all(|reason| reason.is_some_and(ReasonName::is_placed));
    match &group.example {
        Some(job) if !placed => format!(" (as job {job})"),
        _ => String::new(),
    }
}

/// What is decided, with how often.
fn decisions(tick: &TickReport) -> String {
    let of_nodes = |fate: NodeDecision| tick.nodes.iter().filter(|node| node.fate.is(fate)).count();
    let nodes = [
        (NodeDecision::Create, "create"),
        (NodeDecision::CancelDrain, "return"),
        (NodeDecision::Drain, "drain"),
        (NodeDecision::Delete, "delete"),
        (NodeDecision::Forget, "forget"),
    ];
    let nodes = nodes.map(|(fate, verb)| (of_nodes(fate), verb, ""));
    let deletes = |fate: &Named<NodeDecision>| fate.is(NodeDecision::Delete);
    let builders = tick.builders.iter().filter(|one| deletes(&one.fate));
    let leftovers = tick.leftovers.iter().filter(|one| deletes(&one.fate));
    let ips = tick.floating_ips.iter();
    let ips = ips.filter(|one| one.fate.is(NodeDecision::Disassociate));
    let others = [
        (builders.count(), "delete", " builder"),
        (leftovers.count(), "remove", " leftover"),
        (ips.count(), "free", " floating IP"),
    ];
    let all = nodes.into_iter().chain(others);
    let parts: Vec<String> = all
        .filter(|(count, ..)| *count > 0)
        .map(|(count, verb, what)| {
            let plural = if what.is_empty() || count == 1 {
                ""
            } else {
                "s"
            };
            format!("{verb} {count}{what}{plural}")
        })
        .collect();
    match parts.is_empty() {
        true => "nothing to do".to_owned(),
        false => parts.join(", "),
    }
}
