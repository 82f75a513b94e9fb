//! The result for people, in the columns of a terminal.
//!
//! Owns: what a reader sees first, and what is left out of a long sweep. Every name here may be text of others, so each line
//! passes through the cells and lines of `report::status::layout`.

use report::status::layout::{Cell, Style, columns, width, wrap};
use report::status::sheet::{ITEM, Sheet};
use report::text::count;
use system::environment::Environment;
use system::plain::clean;

use super::plot::{Entry, Kind, Marks, entries, plot};
use replay::comparison::{Comparison, WorkloadFigures};
use replay::figures::{Figures, GroupWait, Wait};
use replay::workload::Notes;
use scaling::sorting;

/// More runs than these are shown by their frontier only.
const MAX_RUNS: usize = 20;

/// Points of a frontier that have a row.
const MAX_FRONTIER: usize = 30;

/// Owners and requests with the most jobs.
const MAX_GROUPS: usize = 6;

/// Odd kinds of records.
const MAX_NOTES: usize = 20;

/// No terminal is taken to be narrower.
const MIN_WIDTH: usize = 60;

/// The labels of the lines at the top are this wide.
const LABEL: usize = 10;

/// How it is shown.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// Columns of the terminal.
    pub width: usize,
    /// In colours.
    pub colour: bool,
    /// With characters of ASCII only in the plot.
    pub ascii: bool,
}

impl View {
    /// As the terminal and the locale say.
    pub fn new(environment: &Environment) -> View {
        let mut locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter();
        let locale = locale.find_map(|name| environment.variable(name));
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        View {
            width: crate::commands::status::width(environment),
            colour: environment.has_color(&std::io::stdout()),
            ascii: !(locale.contains("utf-8") || locale.contains("utf8")),
        }
    }
}

struct Page {
    sheet: Sheet,
}

/// The comparison as text.
pub fn render(comparison: &Comparison, view: View) -> String {
    let mut page = Page {
        sheet: Sheet::new(view.width.max(MIN_WIDTH), view.colour, LABEL),
    };
    page.workload(&comparison.workload);
    page.notes(&comparison.workload.notes);
    if let Some(interrupted) = &comparison.interrupted {
        let text = format!("{interrupted}; this result has these runs only");
        page.sheet.entry("runs", &text, Style::Warn);
    }
    let own = comparison.runs.iter().filter(|run| run.is_of_ehos());
    let is_sweep = own.count() > 1;
    let marks = Marks::new(view.ascii);
    let all = entries(&comparison.runs);
    page.runs(&comparison.workload, &all, is_sweep.then_some(&marks));
    if let Some(current) = comparison.runs.iter().find(|run| run.is_current) {
        page.limits(&current.figures);
        page.groups("owner", &current.figures.wait_by_owner);
        page.groups("request", &current.figures.wait_by_request);
    }
    if is_sweep {
        let drawn = plot(&comparison.workload, &all, &marks, page.sheet.room);
        for (index, line) in drawn.iter().enumerate() {
            match index {
                0 => page.sheet.heading(line),
                _ => page.sheet.line(line),
            }
        }
    }
    if let Some(advice) = &comparison.advice {
        page.sheet.line("");
        page.sheet.entry("advice", advice, Style::Good);
    }
    page.sheet.text
}

impl Page {
    fn workload(&mut self, workload: &WorkloadFigures) {
        let time = match workload.hours {
            hours if hours < 48.0 => format!("{hours:.1} h"),
            hours => format!("{:.1} days", hours / 24.0),
        };
        let text = format!(
            "{} of {}, {} core-hours in {time}, from {}",
            count(workload.jobs, "job"),
            count(workload.owners, "owner"),
            amount(workload.core_hours),
            workload.source
        );
        self.sheet.entry("workload", &text, Style::Plain);
    }

    /// The records that became no job, or not the whole job.
    fn notes(&mut self, notes: &Notes) {
        let mut text = format!("{} read", count(notes.records, "record"));
        if notes.left_out > 0 {
            text += &format!(", {} of them became no job", notes.left_out);
        }
        if notes.added > 0 {
            text += &format!(
                "; {} added by the split of parallel jobs",
                count(notes.added, "job")
            );
        }
        self.sheet.entry("input", &text, Style::Plain);
        for (what, count) in notes.counts.iter().take(MAX_NOTES) {
            let text = format!("{} {what} (first: {})", count.records, count.example);
            self.sheet.item(&text, Style::Warn);
        }
        if let Some(rest) = notes.counts.len().checked_sub(MAX_NOTES + 1) {
            let text = format!("and {} more kinds: -o json", rest + 1);
            self.sheet.item(&text, Style::Dim);
        }
    }

    /// A row for each run, and one for the lower bound; in two tables where one is too wide.
    fn runs(&mut self, workload: &WorkloadFigures, all: &[Entry<'_>], marks: Option<&Marks>) {
        let shown = shown(all);
        let (costs, waits) = run_columns(all);
        let wide: Vec<&Column> = costs.iter().chain(&waits).collect();
        let rows = rows(workload, &shown, marks, &wide);
        if natural(&wide, &rows) + ITEM <= self.sheet.room {
            self.sheet.heading(
                "runs: core-hours paid and used, nodes, most actions in a pass, job-hours of waiting at limits, and waits of jobs",
            );
            self.rows("RUN", &heads(&wide), &rows);
        } else {
            let parts = [
                (
                    "runs: core-hours paid and used, nodes, most actions in a pass, job-hours of waiting at limits",
                    costs,
                ),
                ("runs: waits of jobs until their first start", waits),
            ];
            for (heading, columns) in parts {
                let columns: Vec<&Column> = columns.iter().collect();
                let rows = self::rows(workload, &shown, marks, &columns);
                self.sheet.heading(heading);
                self.rows("RUN", &heads(&columns), &rows);
            }
        }
        let rest = all.len() - shown.len();
        if rest > 0 {
            let text = format!(
                "{} not shown: the table has the frontier only, -o json has all",
                count(rest as u64, "run")
            );
            self.sheet.item(&text, Style::Dim);
        }
    }

    fn rows(&mut self, first: &str, heads: &[&str], rows: &[Row]) {
        let fields = |index: usize| rows.iter().filter_map(move |row| row.fields.get(index));
        let widths: Vec<usize> = heads
            .iter()
            .enumerate()
            .map(|(index, head)| {
                fields(index)
                    .map(|text| width(text))
                    .chain([width(head)])
                    .max()
                    .unwrap_or_default()
            })
            .collect();
        let right = |text: &str, room: usize| " ".repeat(room.saturating_sub(width(text))) + text;
        let taken: usize = widths.iter().map(|width| width + 2).sum();
        let has_marks = rows.iter().any(|row| row.mark != ' ');
        let room = self
            .sheet
            .room
            .saturating_sub(taken + ITEM + if has_marks { 3 } else { 0 });
        let mut cells = Vec::new();
        let line = |mark: char, name: &str, style: Style, fields: &[String]| {
            let mut line = Vec::new();
            if has_marks {
                line.push(Cell::from(mark.to_string()));
            }
            line.push(Cell::styled(name, style));
            let fields = fields.iter().zip(&widths);
            line.extend(fields.map(|(text, room)| Cell::styled(right(text, *room), style)));
            line
        };
        let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
        cells.push(line(' ', first, Style::Dim, &heads));
        for row in rows {
            let mut names = wrap(&clean(&row.name), room).into_iter();
            let name = names.next().unwrap_or_default();
            cells.push(line(row.mark, &name, Style::Plain, &row.fields));
            cells.extend(names.map(|name| line(' ', &name, Style::Plain, &[])));
        }
        let (lines, _) = columns(&cells, self.sheet.room - ITEM, self.sheet.colour);
        for line in lines {
            self.sheet.line(&format!("{}{line}", " ".repeat(ITEM)));
        }
    }

    /// Waiting at each limit of the current configuration.
    fn limits(&mut self, figures: &Figures) {
        self.sheet
            .heading("limits of the current configuration that kept nodes from being created");
        for one in &figures.limits {
            let (hours, jobs) = (amount(one.hours), amount(one.job_hours));
            let text = format!("{}: {hours} h, {jobs} job-hours of waiting", one.limit);
            self.sheet.item(&text, Style::Warn);
        }
        if figures.limits.is_empty() {
            self.sheet.item("none", Style::Plain);
        }
    }

    fn groups(&mut self, what: &str, groups: &[GroupWait]) {
        if groups.len() < 2 {
            return;
        }
        self.sheet
            .heading(&format!("waits by {what}, current configuration"));
        let rows: Vec<Row> = groups
            .iter()
            .take(MAX_GROUPS)
            .map(|group| {
                let mut fields = vec![group.jobs.to_string()];
                fields.extend(wait_texts(&group.wait));
                Row {
                    mark: ' ',
                    name: group.name.clone(),
                    fields,
                }
            })
            .collect();
        self.rows(
            &what.to_uppercase(),
            &["JOBS", "MEAN", "MEDIAN", "P95", "MAX"],
            &rows,
        );
        let rest = groups.get(MAX_GROUPS..).unwrap_or_default();
        if !rest.is_empty() {
            let jobs: u64 = rest.iter().map(|group| group.jobs).sum();
            let text = format!(
                "and {} of {} more: -o json",
                count(jobs, "job"),
                count(rest.iter().map(|group| group.groups).sum(), what)
            );
            self.sheet.item(&text, Style::Dim);
        }
    }
}

/// One row of a table.
struct Row {
    mark: char,
    name: String,
    fields: Vec<String>,
}

/// The runs that have a row: of a long sweep the frontier only, the cheapest first.
fn shown<'a>(all: &'a [Entry<'a>]) -> Vec<&'a Entry<'a>> {
    if all.len() <= MAX_RUNS {
        return all.iter().collect();
    }
    let of = |is: fn(Kind) -> bool| all.iter().filter(move |one| is(one.kind));
    let mut frontier: Vec<_> = of(|kind| matches!(kind, Kind::Frontier | Kind::Knee)).collect();
    sorting::by(&mut frontier, |one, two| {
        one.run.cost().total_cmp(&two.run.cost())
    });
    // Of a long one the knee and points at equal distances.
    let step = frontier.len().div_ceil(MAX_FRONTIER).max(1);
    let last = frontier.len().saturating_sub(1);
    let frontier = frontier.into_iter().enumerate();
    let frontier = frontier
        .filter(|(place, one)| place % step == 0 || *place == last || one.kind == Kind::Knee);
    let rules = of(|kind| matches!(kind, Kind::Rule(_)));
    of(|kind| kind == Kind::Current)
        .chain(frontier.map(|(_, one)| one))
        .chain(rules)
        .collect()
}

/// The rows of runs, and that of the lower bound.
fn rows(
    workload: &WorkloadFigures,
    shown: &[&Entry<'_>],
    marks: Option<&Marks>,
    columns: &[&Column],
) -> Vec<Row> {
    let runs = shown.iter().map(|one| Row {
        // Without a plot nothing explains them.
        mark: marks.map_or(' ', |marks| marks.of(one.kind)),
        name: one.name.clone(),
        fields: columns
            .iter()
            .map(|column| (column.text)(&one.run.figures))
            .collect(),
    });
    runs.chain(bound_row(workload, columns)).collect()
}

fn heads(columns: &[&Column]) -> Vec<&'static str> {
    columns.iter().map(|column| column.head).collect()
}

/// The columns that a table of these rows takes.
fn natural(columns: &[&Column], rows: &[Row]) -> usize {
    let heads = heads(columns);
    let names = rows
        .iter()
        .map(|row| width(&row.name))
        .max()
        .unwrap_or_default();
    let field = |index: usize, head: &str| {
        let fields = rows.iter().filter_map(|row| row.fields.get(index));
        fields
            .map(|text| width(text))
            .max()
            .unwrap_or_default()
            .max(width(head))
            + 2
    };
    let fields: usize = heads
        .iter()
        .enumerate()
        .map(|(index, head)| field(index, head))
        .sum();
    3 + names + fields
}

/// One figure of each run.
struct Column {
    head: &'static str,
    text: fn(&Figures) -> String,
    /// The same of the lower bound.
    bound: Option<fn(&WorkloadFigures) -> String>,
}

const fn column(head: &'static str, text: fn(&Figures) -> String) -> Column {
    Column {
        head,
        text,
        bound: None,
    }
}

/// The columns of cost, and those of waits. Columns of jobs that no run has are left out, as is cost without a price.
fn run_columns(all: &[Entry<'_>]) -> (Vec<Column>, Vec<Column>) {
    let any = |of: fn(&Figures) -> bool| all.iter().any(|one| of(&one.run.figures));
    let mut costs = vec![
        Column {
            bound: Some(|workload| amount(workload.bound_core_hours)),
            ..column("PAID", |figures| amount(figures.paid_core_hours))
        },
        Column {
            bound: Some(|workload| amount(workload.core_hours)),
            ..column("USED", |figures| amount(figures.used_core_hours))
        },
        Column {
            bound: Some(|workload| {
                decimals(
                    (workload.core_hours > 0.0)
                        .then(|| workload.bound_core_hours / workload.core_hours),
                )
            }),
            ..column("PAID/USED", |figures| decimals(figures.paid_per_used))
        },
    ];
    if any(|figures| figures.cost.is_some()) {
        costs.push(Column {
            bound: Some(|workload| decimals(workload.bound_cost)),
            ..column("COST", |figures| decimals(figures.cost))
        });
    }
    costs.extend([
        column("CREATED", |figures| figures.nodes.created.to_string()),
        column("PEAK", |figures| figures.nodes.peak.to_string()),
        column("ACTIONS", |figures| figures.passes.max_actions.to_string()),
    ]);
    if any(|figures| !figures.limits.is_empty()) {
        costs.push(column("AT LIMITS", |figures| {
            let job_hours = figures.limits.iter().map(|one| one.job_hours);
            format!("{} h", amount(job_hours.sum()))
        }));
    }
    let mut waits = vec![
        Column {
            bound: Some(|_| seconds(0.0)),
            ..column("MEAN", |figures| seconds(figures.wait.mean_seconds))
        },
        column("MEDIAN", |figures| {
            seconds(figures.wait.median_seconds.into())
        }),
        column("P95", |figures| seconds(figures.wait.p95_seconds.into())),
        column("MAX", |figures| seconds(figures.wait.max_seconds.into())),
    ];
    if any(|figures| figures.jobs.too_large > 0) {
        waits.push(column("TOO LARGE", |figures| {
            figures.jobs.too_large.to_string()
        }));
    }
    if any(|figures| figures.jobs.never_started > 0) {
        waits.push(column("UNSTARTED", |figures| {
            figures.jobs.never_started.to_string()
        }));
    }
    if any(|figures| figures.jobs.lost > 0) {
        waits.push(column("LOST", |figures| figures.jobs.lost.to_string()));
    }
    (costs, waits)
}

/// The lower bound, in a table of columns that it has.
fn bound_row(workload: &WorkloadFigures, columns: &[&Column]) -> Option<Row> {
    let has = columns.iter().any(|column| column.bound.is_some());
    (has && workload.bound_core_hours > 0.0).then(|| Row {
        mark: ' ',
        name: "lower bound".to_owned(),
        fields: columns
            .iter()
            .map(|column| column.bound.map_or_else(String::new, |text| text(workload)))
            .collect(),
    })
}

fn wait_texts(wait: &Wait) -> [String; 4] {
    [
        seconds(wait.mean_seconds),
        seconds(wait.median_seconds.into()),
        seconds(wait.p95_seconds.into()),
        seconds(wait.max_seconds.into()),
    ]
}

fn decimals(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}

/// A time in one unit, so that a column of them is narrow.
pub(super) fn seconds(value: f64) -> String {
    let (number, unit) = match value {
        value if value < 120.0 => (value, "s"),
        value if value < 7200.0 => (value / 60.0, "min"),
        value if value < 172_800.0 => (value / 3600.0, "h"),
        value => (value / 86_400.0, "days"),
    };
    let is_short = number < 9.95 && number > 0.0;
    match is_short {
        true => format!("{} {unit}", amount(number)),
        false => format!("{number:.0} {unit}"),
    }
}

/// Hours of any kind, with a decimal where there are few.
pub(super) fn amount(value: f64) -> String {
    match value {
        value if value < 100.0 => format!("{value:.1}").trim_end_matches(".0").to_owned(),
        value => format!("{value:.0}"),
    }
}
