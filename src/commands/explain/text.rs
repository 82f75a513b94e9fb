//! Explanations as text.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::answer::{JobAnswer, JobCondition, Kind};
use crate::cli::Explain;
use crate::commands::status::{time_zone, width};
use report::explain::{JobGroupAnswer, JobNode, StartingNode, Unlisted};
use report::status::layout::{Style, labelled, paint};
use report::text::count;
use scaling::reason::format_duration;
use system::environment::Environment;
use system::plain::clean;

/// The least width of a terminal.
const MIN_WIDTH: usize = 50;

/// Starting nodes that have a line.
const STARTING_MAX: usize = 5;

/// Where and how it is printed.
pub(super) struct Page {
    room: usize,
    colour: bool,
    time_zone: TimeZone,
}

impl Page {
    pub fn new(args: &Explain, environment: &Environment) -> Page {
        Page {
            room: width(environment).max(MIN_WIDTH),
            colour: environment.has_color(&std::io::stdout()),
            time_zone: time_zone(args.utc),
        }
    }

    pub fn say(&self, text: &mut String, label: &str, what: &str, style: Style) {
        for line in labelled(label, &clean(what), self.room) {
            *text += &paint(style, &line, self.colour);
            text.push('\n');
        }
    }

    pub fn time(&self, at: &Timestamp) -> String {
        let at = at.to_zoned(self.time_zone.clone());
        at.strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
    }

    /// The answer about jobs.
    pub fn job(&self, answer: &JobAnswer) -> String {
        let mut text = String::new();
        self.say(
            &mut text,
            answer.kind.label(),
            &self.heading(answer),
            Style::Bold,
        );
        if let Some(reason) = &answer.condor_reason {
            self.say(&mut text, "reason   ", reason, Style::Warn);
        }
        if let Some(seconds) = answer.waited_seconds {
            let times = [
                Some(format!("waited {}", format_duration(seconds))),
                answer
                    .ran_seconds
                    .map(|ran| format!("ran {}", format_duration(ran))),
                answer
                    .cost
                    .map(|cost| format!("its share of the node's cost is about {cost}")),
            ];
            let times: Vec<String> = times.into_iter().flatten().collect();
            self.say(&mut text, "times    ", &times.join(", "), Style::Plain);
        }
        for node in &answer.nodes {
            self.say(
                &mut text,
                "node     ",
                &node_line(node, answer.kind),
                Style::Plain,
            );
        }
        if answer.other_nodes > 0 {
            let others = format!("and {} more", count(answer.other_nodes as u64, "host"));
            self.say(&mut text, "         ", &others, Style::Plain);
        }
        for group in &answer.groups {
            self.group(&mut text, answer.kind, group);
        }
        if answer.other_groups > 0 {
            let others = format!(
                "{} more of these jobs",
                count(answer.other_groups as u64, "job group")
            );
            self.say(&mut text, "group    ", &others, Style::Plain);
        }
        self.starting(&mut text, &answer.starting);
        for advice in &answer.advice {
            self.say(&mut text, "help     ", advice, Style::Good);
        }
        if let Some(tick) = &answer.tick {
            let age = format_duration(tick.age_seconds);
            let next = match (tick.is_late, tick.next_seconds) {
                (true, _) => "the next tick is late; tell the administrator".to_owned(),
                (false, 0) => "the next is due now".to_owned(),
                (false, seconds) => format!("the next within {}", format_duration(seconds)),
            };
            let style = if tick.is_late {
                Style::Warn
            } else {
                Style::Dim
            };
            self.say(
                &mut text,
                "tick     ",
                &format!("the last {age} ago, {next}"),
                style,
            );
        }
        text
    }

    fn heading(&self, answer: &JobAnswer) -> String {
        let of = |owner: &Option<String>| {
            owner
                .as_ref()
                .map_or_else(String::new, |owner| format!(" of {owner}"))
        };
        let who = match answer.kind {
            Kind::User => answer.asked.clone(),
            _ => format!("{}{}", answer.asked, of(&answer.owner)),
        };
        let since = |at: &Option<Timestamp>| {
            at.as_ref()
                .map_or_else(String::new, |at| format!(" since {}", self.time(at)))
        };
        let at = |at: &Option<Timestamp>| {
            at.as_ref()
                .map_or_else(String::new, |at| format!(" at {}", self.time(at)))
        };
        match answer.condition {
            Some(JobCondition::Idle) => format!("{who}: waiting{}", since(&answer.since)),
            Some(JobCondition::Running) => format!("{who}: running{}", since(&answer.since)),
            Some(JobCondition::Held) => format!("{who}: held{}", since(&answer.since)),
            Some(JobCondition::Removed) => format!("{who}: removed{}", at(&answer.since)),
            Some(JobCondition::Completed) => format!("{who}: completed{}", at(&answer.since)),
            Some(JobCondition::Unknown) => format!("{who}: in a state that ehos does not know"),
            None => {
                let jobs = answer.jobs;
                format!(
                    "{who}: {} waiting, {} running, {} held",
                    jobs.idle, jobs.running, jobs.held
                )
            }
        }
    }

    fn group(&self, text: &mut String, kind: Kind, group: &JobGroupAnswer) {
        let mut request = group.request.to_string();
        if kind != Kind::Job {
            request = format!("{} × {request}", group.jobs);
            if let Some(example) = &group.example {
                request += &format!(", such as {example}");
            }
        }
        request += &match kind {
            Kind::Job => format!(", waiting for {}", format_duration(group.waiting_seconds)),
            _ => format!(
                ", the longest waiting for {}",
                format_duration(group.waiting_seconds)
            ),
        };
        self.say(text, "request  ", &request, Style::Plain);
        let tells = match (group.unlisted, group.group_jobs) {
            (Some(Unlisted::Younger), _) => {
                "younger than the last tick: the next tick decides".to_owned()
            }
            (Some(Unlisted::ScheddUnknown), _) => {
                "unknown: a schedd did not answer the last tick".to_owned()
            }
            (Some(Unlisted::NoTick), _) => "unknown: the last tick cannot be read".to_owned(),
            (Some(Unlisted::NotFound), _) | (None, None) => {
                "not in the last tick: the job may have changed since, or ehos does not count jobs of this schedd".to_owned()
            }
            (None, Some(jobs)) => {
                let since = group.since.as_ref();
                let since = since.map_or_else(String::new, |at| format!(", with these reasons since {}", self.time(at)));
                format!("{} with equal request and Requirements{since}", count(jobs, "waiting job"))
            }
        };
        self.say(text, "group    ", &tells, Style::Plain);
        let mut label = "why      ";
        for why in &group.reasons {
            let stuck = why
                .reason
                .known()
                .is_some_and(report::names::ReasonName::is_stuck);
            let style = if stuck { Style::Warn } else { Style::Plain };
            self.say(text, label, &why.text, style);
            label = "         ";
        }
        for advice in &group.advice {
            self.say(text, "help     ", advice, Style::Good);
        }
    }

    fn starting(&self, text: &mut String, nodes: &[StartingNode]) {
        for node in nodes.iter().take(STARTING_MAX) {
            let since = node
                .since
                .map(|at| format!(" since {}", self.time(&at)))
                .unwrap_or_default();
            let boot = node
                .boot_seconds
                .map(|boot| {
                    let boot = format_duration(boot);
                    format!("; such nodes join after {boot} on average")
                })
                .unwrap_or_default();
            let StartingNode {
                node,
                flavor,
                cloud,
                phase,
                ..
            } = node;
            let line = format!("{node}, {flavor} in {cloud}, {phase}{since}{boot}");
            self.say(text, "starting ", &line, Style::Plain);
        }
        if nodes.len() > STARTING_MAX {
            let others = (nodes.len() - STARTING_MAX) as u64;
            let others = format!("and {} more", count(others, "starting node"));
            self.say(text, "         ", &others, Style::Plain);
        }
    }
}

fn node_line(node: &JobNode, kind: Kind) -> String {
    let jobs = match kind {
        Kind::Job => String::new(),
        _ => format!("{} on ", count(node.jobs, "job")),
    };
    let place = match (&node.node, &node.flavor, &node.cloud) {
        (Some(id), Some(flavor), Some(cloud)) => {
            format!("{} ({id}), {flavor} in {cloud}", node.host)
        }
        _ => format!("{}, not a node of the last tick", node.host),
    };
    let cost = node
        .per_hour
        .map_or_else(String::new, |cost| format!(", {cost} per hour"));
    format!("{jobs}{place}{cost}")
}
