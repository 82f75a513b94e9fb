//! Runs by cost and mean wait, drawn with characters.

use replay::comparison::{Run, WorkloadFigures};
use report::status::layout::{cut, width};
use system::plain::clean;

use super::names;
use super::table::{amount, seconds};
use scaling::sorting;

/// Rows of the plot.
const ROWS: usize = 16;

/// A wider plot is no clearer.
const MAX_WIDTH: usize = 110;

/// Other rules that are more than so many times as dear or slow as any run of ehos stand at the edge.
const BEYOND: f64 = 2.0;

/// Steps between the labels of waits, in seconds.
const STEPS: &[f64] = &[
    0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0,
    3600.0, 7200.0, 14_400.0, 21_600.0, 43_200.0, 86_400.0, 172_800.0, 604_800.0,
];

/// What a run is in the plot; later kinds are drawn over earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A run of a sweep that another one beats.
    Sweep,
    /// A run of the frontier.
    Frontier,
    /// Another rule, by its number.
    Rule(usize),
    /// The knee of the frontier.
    Knee,
    /// The configuration as it is.
    Current,
}

/// A run with its kind and its short name.
pub(super) struct Entry<'a> {
    pub(super) kind: Kind,
    pub(super) run: &'a Run,
    pub(super) name: String,
}

/// The runs in their order.
pub(super) fn entries(runs: &[Run]) -> Vec<Entry<'_>> {
    let mut rules = 0;
    let named = runs.iter().zip(names::short(runs));
    let entry = |(run, name)| Entry {
        kind: Kind::of(run, &mut rules),
        run,
        name,
    };
    named.map(entry).collect()
}

impl Kind {
    /// The kind of a run that comes after so many other rules.
    fn of(run: &Run, rules: &mut usize) -> Kind {
        if run.is_current {
            Kind::Current
        } else if !run.is_of_ehos() {
            *rules += 1;
            Kind::Rule(*rules - 1)
        } else if run.is_knee {
            Kind::Knee
        } else if run.is_on_frontier {
            Kind::Frontier
        } else {
            Kind::Sweep
        }
    }
}

/// The characters of the plot.
pub(super) struct Marks {
    sweep: char,
    frontier: char,
    knee: char,
    current: char,
    bound: char,
    side: char,
    corner: char,
    base: char,
    tick: char,
}

impl Marks {
    /// Those of a terminal.
    pub(super) fn new(ascii: bool) -> Marks {
        let [
            sweep,
            frontier,
            knee,
            current,
            bound,
            side,
            corner,
            base,
            tick,
        ] = match ascii {
            true => ['.', 'o', '#', '@', ':', '|', '+', '-', '+'],
            false => ['·', '○', '◆', '●', '┊', '│', '└', '─', '┴'],
        };
        Marks {
            sweep,
            frontier,
            knee,
            current,
            bound,
            side,
            corner,
            base,
            tick,
        }
    }

    /// The character of a kind; letters for other rules.
    pub(super) fn of(&self, kind: Kind) -> char {
        match kind {
            Kind::Sweep => self.sweep,
            Kind::Frontier => self.frontier,
            Kind::Knee => self.knee,
            Kind::Current => self.current,
            Kind::Rule(number) => ('a'..='z').nth(number).unwrap_or('*'),
        }
    }
}

/// A span of values along one side.
struct Axis {
    least: f64,
    most: f64,
    cells: usize,
}

impl Axis {
    fn cell(&self, value: f64) -> usize {
        let share = (value - self.least) / (self.most - self.least);
        let last = self.cells.saturating_sub(1) as f64;
        (share.clamp(0.0, 1.0) * last).round() as usize
    }

    fn is_beyond(&self, value: f64) -> bool {
        value > self.most
    }

    /// Multiples of a step.
    fn labels(&self, step: f64) -> Vec<f64> {
        let first = (self.least / step - 1e-9).ceil() as i64;
        let last = (self.most / step + 1e-9).floor() as i64;
        (first..=last).map(|number| number as f64 * step).collect()
    }
}

/// The axis that holds the runs of ehos, and other rules unless they are far beyond.
fn axis(
    runs: &[&Entry<'_>],
    value: fn(&Run) -> f64,
    from: Option<f64>,
    cells: usize,
) -> Option<Axis> {
    let own = runs.iter().filter(|one| one.run.is_of_ehos());
    let beyond = own.map(|one| value(one.run)).fold(0.0, f64::max) * BEYOND;
    let values = runs
        .iter()
        .map(|one| value(one.run))
        .filter(|value| *value <= beyond);
    let least = values.clone().chain(from).min_by(f64::total_cmp)?;
    let most = values.max_by(f64::total_cmp)?;
    let room = if most > least {
        (most - least) * 0.04
    } else {
        most.max(1.0) * 0.1
    };
    let least = if least > 0.0 {
        (least - room).max(0.0)
    } else {
        0.0
    };
    Some(Axis {
        least,
        most: most + room,
        cells,
    })
}

/// The lines of the plot, a heading first, with a key below; none where no run can be drawn.
pub(super) fn plot(
    workload: &WorkloadFigures,
    all: &[Entry<'_>],
    marks: &Marks,
    room: usize,
) -> Vec<String> {
    // A mean wait of infinity: jobs that could run never started.
    let mut runs: Vec<_> = all
        .iter()
        .filter(|one| one.run.wait().is_finite())
        .collect();
    sorting::by_key(&mut runs, |one| one.kind);
    let has_prices = runs.iter().any(|one| one.run.figures.cost.is_some());
    let bound = match has_prices {
        true => workload.bound_cost,
        false => Some(workload.bound_core_hours),
    };
    let bound = bound.filter(|bound| *bound > 0.0);
    let Some(waits) = axis(&runs, Run::wait, Some(0.0), ROWS) else {
        return Vec::new();
    };
    let step = STEPS.iter().copied().find(|step| waits.most / step <= 6.0);
    let wait_labels = waits.labels(step.unwrap_or_else(|| nice(waits.most / 6.0)));
    let label_width = wait_labels
        .iter()
        .map(|value| seconds(*value).len())
        .max()
        .unwrap_or_default();
    let cells = room.min(MAX_WIDTH).saturating_sub(label_width + 3).max(20);
    let Some(costs) = axis(&runs, Run::cost, bound, cells) else {
        return Vec::new();
    };
    let mut grid = vec![vec![' '; cells]; ROWS];
    let mut put = |x: usize, y: usize, mark: char| {
        let row = grid.get_mut((ROWS - 1).saturating_sub(y));
        if let Some(cell) = row.and_then(|row| row.get_mut(x)) {
            *cell = mark;
        }
    };
    if let Some(bound) = bound {
        (0..ROWS).for_each(|y| put(costs.cell(bound), y, marks.bound));
    }
    for Entry { kind, run, .. } in &runs {
        put(
            costs.cell(run.cost()),
            waits.cell(run.wait()),
            marks.of(*kind),
        );
    }
    let unit = if has_prices {
        "cost"
    } else {
        "paid core-hours"
    };
    let mut lines = vec![format!("mean wait (upwards) by {unit} (to the right)")];
    for (index, row) in grid.iter().enumerate() {
        let at = ROWS - 1 - index;
        let label = wait_labels.iter().find(|value| waits.cell(**value) == at);
        let label = label.map_or_else(String::new, |value| seconds(*value));
        let cells: String = row.iter().collect();
        lines.push(format!("{label:>label_width$} {}{cells}", marks.side));
    }
    lines.extend(base(&costs, marks, label_width, unit));
    lines.extend(key(&runs, marks, [&costs, &waits], bound, room));
    let missing = all.len() - runs.len();
    if missing > 0 {
        lines.push(format!(
            "  {missing} not drawn: jobs that could run never started"
        ));
    }
    lines
}

/// The base line, its labels and its unit.
fn base(costs: &Axis, marks: &Marks, indent: usize, unit: &str) -> Vec<String> {
    let labels = costs.labels(nice(
        (costs.most - costs.least) / (costs.cells as f64 / 14.0).max(2.0),
    ));
    let mut line: Vec<char> = vec![marks.base; costs.cells];
    let mut below = String::new();
    for value in labels {
        let at = costs.cell(value);
        if let Some(cell) = line.get_mut(at) {
            *cell = marks.tick;
        }
        let text = amount(value);
        let begin = (at + 1).saturating_sub(text.len() / 2);
        if begin >= below.len() && begin + text.len() <= costs.cells {
            below += &" ".repeat(begin - below.len());
            below += &text;
            below.push(' ');
        }
    }
    let line: String = line.into_iter().collect();
    let space = " ".repeat(indent + 1);
    vec![
        format!("{space}{}{line}", marks.corner),
        format!("{space}{below}"),
        format!("{space}{unit:>width$}", width = costs.cells + 1),
    ]
}

/// What each mark is, with the values of those that have names.
fn key(
    runs: &[&Entry<'_>],
    marks: &Marks,
    [costs, waits]: [&Axis; 2],
    bound: Option<f64>,
    room: usize,
) -> Vec<String> {
    let mut lines = Vec::new();
    let is_rule = |kind: Kind| matches!(kind, Kind::Rule(_));
    let own = [Kind::Current, Kind::Knee];
    let own = own
        .iter()
        .flat_map(|of| runs.iter().filter(move |one| one.kind == *of));
    let rules = runs.iter().filter(|one| is_rule(one.kind));
    for Entry { kind, run, name } in own.chain(rules).copied() {
        let word = if run.is_knee { "knee: " } else { "" };
        let is_beyond = costs.is_beyond(run.cost()) || waits.is_beyond(run.wait());
        let beyond = if is_beyond { ", beyond the edge" } else { "" };
        let unit = if run.figures.cost.is_some() {
            ""
        } else {
            " core-hours"
        };
        let values = format!(
            "{}{unit}, {}{beyond}",
            amount(run.cost()),
            seconds(run.wait())
        );
        let name = cut(
            &clean(name),
            room.saturating_sub(width(&values) + width(word) + 8),
        );
        lines.push(format!("  {} {word}{name}: {values}", marks.of(*kind)));
    }
    let mut others = vec![
        format!(
            "{} frontier: no run is cheaper and waits less",
            marks.frontier
        ),
        format!("{} other runs", marks.sweep),
    ];
    others.extend(bound.map(|bound| format!("{} lower bound {}", marks.bound, amount(bound))));
    let joined = format!("  {}", others.join("   "));
    if width(&joined) <= room {
        lines.push(joined);
    } else {
        lines.extend(others.into_iter().map(|one| format!("  {one}")));
    }
    lines
}

/// A round number of at least this size.
fn nice(rough: f64) -> f64 {
    if rough <= 0.0 || !rough.is_finite() {
        return 1.0;
    }
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0];
    let step = steps
        .into_iter()
        .find(|step| step * power >= rough * (1.0 - 1e-9));
    step.unwrap_or(10.0) * power
}
