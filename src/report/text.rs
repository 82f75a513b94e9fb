//! A tick on one screen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::Report;
use crate::plain::Lines;
use crate::scaling::budget::Costs;
use crate::scaling::plan::{
    BuilderLine, Fate, FloatingIpLine, GroupLine, LeftoverLine, NodeLine, Plan,
};
use crate::scaling::reason::{Reason, spoken};

/// More nodes than this that nothing happens to are only counted, unless it is a dry run.
const NODES_ON_A_SCREEN: usize = 12;

/// More groups than this are only counted, unless it is a dry run.
const GROUPS_ON_A_SCREEN: usize = 20;

/// Heads a line about what nothing more is made of.
const PROTECTED: &str = "PROTECTED MODE  ";

/// Heads a line about a budget that is spent.
const BUDGET: &str = "BUDGET SPENT  ";

/// Heads a line about jobs on machines that are gone.
const STRANDED: &str = "stranded ";

/// Heads the actions that failed.
const NOT_DONE: &str = "not done";

/// The report for people; with `levels`, each line begins with its level as journald reads it (sd-daemon(3)).
pub fn text(report: &Report<'_>, levels: bool) -> String {
    let mut out = Lines::new();
    // Writing to lines does not fail.
    let _ = write_all(&mut out, report);
    let out = out.into_string();
    if levels { with_levels(&out) } else { out }
}

/// What went wrong is an error, what was not seen a warning, everything else information.
fn with_levels(text: &str) -> String {
    let mut failing = false;
    let mut level = |line: &str| {
        if !line.starts_with(' ') {
            failing = line == NOT_DONE;
        }
        if failing || line.starts_with(PROTECTED) {
            3
        } else if ["unknown", "brake", STRANDED, BUDGET]
            .iter()
            .any(|head| line.starts_with(head))
        {
            4
        } else {
            6
        }
    };
    let lines = text.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| format!("<{}>{line}\n", level(line)))
        .collect()
}

fn write_all(out: &mut Lines, report: &Report<'_>) -> std::fmt::Result {
    let plan = report.plan;
    let dry_run = report.outcomes.is_none();
    for unseen in &plan.unseen {
        writeln!(out, "unknown  {}: {}", unseen.source, unseen.why)?;
    }
    for protected in &plan.protected {
        writeln!(out, "{PROTECTED}{protected}")?;
    }
    for spent in &plan.budgets_spent {
        writeln!(out, "{BUDGET}{spent}")?;
    }
    for brake in &plan.brakes {
        // An unknown source has just been named.
        let what = if brake.stops_creates() {
            "no node is made or deleted"
        } else {
            "no node is deleted"
        };
        writeln!(out, "brake    {what}: {brake}")?;
    }
    if let Some(stranded) = &plan.stranded {
        writeln!(out, "{STRANDED}{stranded}")?;
    }
    for notice in report.notices.iter().chain(&plan.notices) {
        writeln!(out, "note     {notice}")?;
    }
    if let Some(window) = &plan.window {
        writeln!(out, "window   {window}")?;
    }
    writeln!(out, "queue    {}", queue(plan))?;
    writeln!(out, "nodes    {}", phases(&plan.nodes))?;
    if let Some(cost) = &plan.cost {
        writeln!(out, "cost     {}", costs(cost))?;
    }
    writeln!(
        out,
        "{}  {}",
        if dry_run { "would  " } else { "plan   " },
        fates(report)
    )?;

    if !plan.groups.is_empty() {
        writeln!(out, "\nwaiting jobs")?;
        let shown = if dry_run {
            plan.groups.len()
        } else {
            GROUPS_ON_A_SCREEN
        };
        for group in plan.groups.iter().take(shown) {
            let why: Vec<String> = group.why.iter().map(ToString::to_string).collect();
            let waiting = spoken(group.waiting_seconds);
            let why = if why.is_empty() {
                "nothing can be said yet".to_owned()
            } else {
                why.join("; ")
            };
            writeln!(
                out,
                "  {} of {}{}{}, longest {waiting}: {why}",
                group.jobs,
                group.request,
                if group.by_machine {
                    " (by the machine)"
                } else {
                    ""
                },
                example(group)
            )?;
        }
        let jobs: u64 = plan.groups.iter().skip(shown).map(|group| group.jobs).sum();
        if jobs > 0 {
            let groups = plan.groups.len() - shown;
            writeln!(
                out,
                "  {jobs} in {groups} more groups: see ehos tick --dry-run"
            )?;
        }
    }
    write_nodes(out, report, dry_run)?;
    write_builders(out, plan)?;
    write_leftovers(out, plan)?;
    write_floating_ips(out, plan)?;
    let mut heading = Some(NOT_DONE);
    for (action, message) in report.failures() {
        if let Some(heading) = heading.take() {
            out.gap();
            writeln!(out, "{heading}")?;
        }
        writeln!(out, "  {} {}: {message}", action.verb(), action.node())?;
    }
    let mut heading = Some("otherwise than planned");
    for (action, message) in report.asides() {
        if let Some(heading) = heading.take() {
            out.gap();
            writeln!(out, "{heading}")?;
        }
        writeln!(out, "  {} {}: {message}", action.verb(), action.node())?;
    }
    Ok(())
}

fn queue(plan: &Plan) -> String {
    if plan.sources_seen.schedds == 0 {
        return "unknown".to_owned();
    }
    let counts = plan.queue;
    let mut text = format!(
        "{} idle, {} running, {} held",
        counts.idle, counts.running, counts.held
    );
    if let Some(stranded) = &plan.stranded {
        text += &format!("; {} running on no machine", stranded.jobs);
    }
    if plan.to_come > 0 {
        text += &format!("; {} to come (late materialization)", plan.to_come);
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

fn write_nodes(out: &mut Lines, report: &Report<'_>, dry_run: bool) -> std::fmt::Result {
    let kept = |node: &&NodeLine| node.fate == Fate::Keeps;
    let nodes = &report.plan.nodes;
    let all = dry_run || nodes.iter().filter(kept).count() <= NODES_ON_A_SCREEN;
    let shown: Vec<&NodeLine> = nodes
        .iter()
        .filter(|node| all || node.fate != Fate::Keeps)
        .collect();
    if shown.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nnodes")?;
    let name_width = shown.iter().map(|node| node.name.len()).max().unwrap_or(0);
    // The only zone of a cloud says nothing.
    let mut zones: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for node in nodes {
        let zones = zones.entry(&node.cloud).or_default();
        zones.extend(node.zone.as_deref());
    }
    let several = |cloud: &str| zones.get(cloud).is_some_and(|zones| zones.len() > 1);
    let place = |node: &NodeLine| match &node.zone {
        Some(zone) if several(&node.cloud) => format!("{} {zone} {}", node.cloud, node.flavor),
        _ => format!("{} {}", node.cloud, node.flavor),
    };
    let place_width = shown
        .iter()
        .map(|node| place(node).len())
        .max()
        .unwrap_or(0);
    for node in shown {
        let fate = fate_name(node.fate);
        let (name, place, phase) = (&node.name, place(node), node.phase);
        writeln!(
            out,
            "  {fate:8} {name:name_width$}  {place:place_width$}  {phase:9} {}",
            node.why
        )?;
    }
    Ok(())
}

fn write_builders(out: &mut Lines, plan: &Plan) -> std::fmt::Result {
    if !plan.builders.is_empty() {
        writeln!(out, "\nbuilders of images")?;
    }
    for builder in &plan.builders {
        let fate = fate_name(builder.fate);
        let (name, cloud, why) = (&builder.name, &builder.cloud, &builder.why);
        writeln!(out, "  {fate:8} {name}  {cloud}  {why}")?;
    }
    Ok(())
}

fn write_leftovers(out: &mut Lines, plan: &Plan) -> std::fmt::Result {
    if !plan.leftovers.is_empty() {
        writeln!(out, "\nleft behind")?;
    }
    for leftover in &plan.leftovers {
        let fate = fate_name(leftover.fate);
        let (cloud, why, kind) = (&leftover.cloud, &leftover.why, leftover.kind.name());
        let (id, name) = (&leftover.id, &leftover.name);
        let space = if name.is_empty() { "" } else { " " };
        let server = leftover.server.as_ref();
        let server = server.map_or_else(String::new, |server| format!("of server {server}: "));
        writeln!(
            out,
            "  {fate:8} {kind} {name}{space}({id})  {cloud}  {server}{why}"
        )?;
    }
    Ok(())
}

fn write_floating_ips(out: &mut Lines, plan: &Plan) -> std::fmt::Result {
    if !plan.floating_ips.is_empty() {
        writeln!(out, "\nfloating IPs of nodes")?;
    }
    for ip in &plan.floating_ips {
        let fate = fate_name(ip.fate);
        let FloatingIpLine {
            id,
            address,
            cloud,
            server,
            why,
            ..
        } = ip;
        writeln!(
            out,
            "  {fate:8} {address} ({id})  {cloud}  of server {server}: {why}"
        )?;
    }
    Ok(())
}

fn fate_name(fate: Fate) -> &'static str {
    match fate {
        Fate::Keeps => "keeps",
        Fate::Creates => "creates",
        Fate::Drains => "drains",
        Fate::Returns => "returns",
        Fate::Deletes => "deletes",
        Fate::Forgets => "forgets",
        Fate::Frees => "frees",
    }
}

fn phases(nodes: &[NodeLine]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for node in nodes.iter().filter(|node| node.fate != Fate::Creates) {
        *counts.entry(node.phase).or_default() += 1;
    }
    let total: usize = counts.values().sum();
    if total == 0 {
        return "none".to_owned();
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(phase, count)| (std::cmp::Reverse(*count), *phase));
    let parts: Vec<String> = counts
        .iter()
        .map(|(phase, count)| format!("{count} {phase}"))
        .collect();
    format!("{total}: {}", parts.join(", "))
}

/// One of the group's jobs, unless there is room for all of them.
fn example(group: &GroupLine) -> String {
    let room = |why: &Reason| {
        matches!(
            why,
            Reason::FitsFree { .. }
                | Reason::FitsClaimed { .. }
                | Reason::FitsComing { .. }
                | Reason::FitsTakenBack { .. }
                | Reason::FitsNew { .. }
                | Reason::NewNodes { .. }
        )
    };
    match &group.example {
        Some(job) if !group.why.iter().all(room) => format!(" (as job {job})"),
        _ => String::new(),
    }
}

fn fates(report: &Report<'_>) -> String {
    let all = [
        Fate::Creates,
        Fate::Returns,
        Fate::Drains,
        Fate::Deletes,
        Fate::Forgets,
    ];
    let named = all.into_iter().map(|fate| {
        (
            report.plan.count(fate),
            fate_name(fate).trim_end_matches('s'),
        )
    });
    let mut parts: Vec<String> = named
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{name} {count}"))
        .collect();
    let deleted = |builder: &&BuilderLine| builder.fate == Fate::Deletes;
    match report.plan.builders.iter().filter(deleted).count() {
        0 => {}
        1 => parts.push("delete 1 builder".to_owned()),
        count => parts.push(format!("delete {count} builders")),
    }
    let removed = |leftover: &&LeftoverLine| leftover.fate == Fate::Deletes;
    match report.plan.leftovers.iter().filter(removed).count() {
        0 => {}
        1 => parts.push("remove 1 leftover".to_owned()),
        count => parts.push(format!("remove {count} leftovers")),
    }
    let freed = |ip: &&FloatingIpLine| ip.fate == Fate::Frees;
    match report.plan.floating_ips.iter().filter(freed).count() {
        0 => {}
        1 => parts.push("free 1 floating IP".to_owned()),
        count => parts.push(format!("free {count} floating IPs")),
    }
    if parts.is_empty() {
        "nothing to do".to_owned()
    } else {
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journald_gets_a_level_for_each_line() {
        let text = "unknown  collector: x\nqueue    1\n\nnot done\n  create a: b\n";
        assert_eq!(
            with_levels(text),
            "<4>unknown  collector: x\n<6>queue    1\n<3>not done\n<3>  create a: b\n"
        );
    }
}
