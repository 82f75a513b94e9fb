//! Tasks on all cores of this machine, until they are done, one fails, or an interrupt comes.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use scaling::reason::format_duration;
use system::interrupt::Interrupt;
use system::progress::Line;

/// The first estimate comes after this time: that of a few runs says little.
const FIRST_ESTIMATE: Duration = Duration::from_secs(5);
/// Shorter rests are not announced.
const SHORT_REST: Duration = Duration::from_secs(20);

/// The state of all tasks.
pub struct Tally<'a> {
    line: &'a Line,
    interrupt: &'a Interrupt,
    planned: usize,
    ended: AtomicUsize,
    began: Instant,
    is_estimated: AtomicBool,
}

impl<'a> Tally<'a> {
    /// That of `planned` tasks, of which none has begun.
    pub fn new(planned: usize, line: &'a Line, interrupt: &'a Interrupt) -> Tally<'a> {
        Tally {
            line,
            interrupt,
            planned,
            ended: AtomicUsize::new(0),
            began: Instant::now(),
            is_estimated: AtomicBool::new(false),
        }
    }

    /// Whether a task that runs is abandoned. One that all others are compared with is waited for, if another one has ended.
    pub fn abandons(&self, is_reference: bool) -> bool {
        self.interrupt.has_come() && !(is_reference && self.ended.load(Ordering::Relaxed) > 0)
    }

    /// Tells that of one task this share is done.
    pub fn tell(&self, share: f64) {
        let ended = self.ended.load(Ordering::Relaxed);
        let rest = match self.rest(ended) {
            Some(rest) => format!(", about {} left", format_duration(rest.as_secs())),
            None => String::new(),
        };
        let share = share * 100.0;
        let detail = format!("{ended} done, {share:.0} % of the next one{rest}");
        self.line.detail(&detail);
    }

    /// The time that the rest takes, if it takes as long for each task as those that ended.
    fn rest(&self, ended: usize) -> Option<Duration> {
        let each = self.began.elapsed().checked_div(ended.try_into().ok()?)?;
        let left = u32::try_from(self.planned.saturating_sub(ended)).ok()?;
        Some(each.saturating_mul(left))
    }

    /// One more has ended.
    fn end(&self) {
        let ended = self.ended.fetch_add(1, Ordering::Relaxed) + 1;
        if self.began.elapsed() >= FIRST_ESTIMATE
            && let Some(rest) = self.rest(ended).filter(|rest| *rest >= SHORT_REST)
            && !self.is_estimated.swap(true, Ordering::Relaxed)
        {
            let rest = format_duration(rest.as_secs());
            let planned = self.planned;
            self.line
                .note(&format!("{planned} runs, about {rest} left"));
        }
        self.tell(0.0);
    }
}

/// The results of the tasks that ended, by their number: all of them unless an interrupt came. `run` returns nothing for a task
/// that it abandoned.
///
/// # Errors
/// The first error of a task; those that have not begun by then are left out.
pub fn on_all_cores<T: Sync, R: Send>(
    tasks: &[T],
    tally: &Tally<'_>,
    run: impl Fn(&T) -> anyhow::Result<Option<R>> + Sync,
) -> anyhow::Result<BTreeMap<usize, R>> {
    let done = Mutex::new(BTreeMap::new());
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || {
        while !failed.load(Ordering::Relaxed) && !tally.interrupt.has_come() {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(task) = tasks.get(number) else {
                return;
            };
            let Some(result) = run(task).transpose() else {
                return;
            };
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            tally.end();
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done.insert(number, result);
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..threads.min(tasks.len()) {
            scope.spawn(work);
        }
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut runs = BTreeMap::new();
    for (number, result) in done {
        runs.insert(number, result?);
    }
    Ok(runs)
}
