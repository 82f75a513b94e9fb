//! The number of requests in flight to one service: more while its answers stay quick, fewer when it is busy.
//!
//! Additive increase, multiplicative decrease, as TCP controls congestion (RFC 5681, section 3.1): how many creates a cloud
//! processes in parallel differs by two orders of magnitude between clouds, and no API says.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use scaling::action::FailureKind;

/// Requests in flight until the first answer.
const INITIAL: usize = 8;
/// An answer is quick within twice the time of the quickest one and this.
const TOLERANCE: Duration = Duration::from_millis(200);
/// The service is overloaded if an answer takes this multiple of the time of the quickest one.
const OVERLOADED: u32 = 4;

/// What an answer shows of the service's load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// Refused for a reason that is not the load.
    Nothing,
    Quick,
    Slow,
    /// Far slower than the quickest answer.
    Overloaded,
    /// Rate limited, an error of the service, or no answer.
    Refused,
}

/// The answer of a service to one request.
#[derive(Debug, Clone, Copy)]
pub struct ServiceAnswer {
    pub took: Duration,
    pub failure: Option<FailureKind>,
}

/// The control of one service.
#[derive(Debug)]
struct Window {
    /// Requests in flight at most. The fraction is progress towards the next one.
    limit: f64,
    max: usize,
    quickest: Option<Duration>,
    /// The time of the last request.
    last: Option<Duration>,
    /// No answer has asked for fewer requests: each quick one adds one.
    is_starting: bool,
    /// Answers until another decrease may follow: those in flight at the last one say the same again.
    ignored: usize,
}

impl Window {
    fn new(max: usize) -> Window {
        Window {
            limit: INITIAL.min(max) as f64,
            max,
            quickest: None,
            last: None,
            is_starting: true,
            ignored: 0,
        }
    }

    fn size(&self) -> usize {
        self.limit as usize
    }

    fn sign(&self, took: Duration, failure: Option<FailureKind>) -> Sign {
        match (failure, self.quickest) {
            (Some(FailureKind::Later(_) | FailureKind::Unknown | FailureKind::NotDone), _) => {
                Sign::Refused
            }
            (Some(_), _) => Sign::Nothing,
            (None, Some(quickest)) if took > quickest * OVERLOADED + TOLERANCE => Sign::Overloaded,
            (None, Some(quickest)) if took > quickest * 2 + TOLERANCE => Sign::Slow,
            (None, _) => Sign::Quick,
        }
    }

    fn answered(&mut self, took: Duration, failure: Option<FailureKind>) {
        let sign = self.sign(took, failure);
        self.last = Some(took);
        if failure.is_none() {
            self.quickest = Some(self.quickest.map_or(took, |quickest| quickest.min(took)));
        }
        let may_shrink = self.ignored == 0;
        self.ignored = self.ignored.saturating_sub(1);
        let step = if self.is_starting {
            1.0
        } else {
            1.0 / self.limit
        };
        match sign {
            Sign::Nothing => {}
            Sign::Quick => self.limit = (self.limit + step).min(self.max as f64),
            Sign::Slow => self.is_starting = false,
            Sign::Overloaded | Sign::Refused if !may_shrink => {}
            // A slow service still gets what every service gets at first; only a refusal goes below.
            Sign::Overloaded => self.shrink(INITIAL),
            Sign::Refused => self.shrink(1),
        }
    }

    fn shrink(&mut self, least: usize) {
        self.ignored = self.size();
        self.is_starting = false;
        let least = (least as f64).min(self.limit);
        self.limit = (self.limit / 2.0).max(least);
    }
}

/// The actions of one service, in their order, and how many of them are in flight.
#[derive(Debug)]
pub struct InFlight {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug)]
struct Queue {
    /// Indices of actions, the next one last.
    waiting: Vec<usize>,
    in_flight: usize,
    window: Window,
}

impl InFlight {
    /// The actions of these indices, with at most `max` in flight.
    pub fn new(mut indices: Vec<usize>, max: usize) -> InFlight {
        indices.reverse();
        InFlight {
            queue: Mutex::new(Queue {
                waiting: indices,
                in_flight: 0,
                window: Window::new(max.max(1)),
            }),
            changed: Condvar::new(),
        }
    }

    /// The threads that the actions may need.
    pub fn workers(&self) -> usize {
        let queue = self.lock();
        queue.waiting.len().min(queue.window.max)
    }

    /// Performs actions until none waits. Each thread of [`Self::workers`] calls this once. `perform` gets the time of the last
    /// request, and returns the answer of the service if it sent a request. Blocks while as many are in flight as the service
    /// takes.
    pub fn work(&self, perform: impl Fn(usize, Option<Duration>) -> Option<ServiceAnswer>) {
        while let Some((index, last, _in_flight)) = self.next() {
            if let Some(ServiceAnswer { took, failure }) = perform(index, last) {
                self.lock().window.answered(took, failure);
            }
        }
    }

    fn next(&self) -> Option<(usize, Option<Duration>, Permit<'_>)> {
        let full =
            |queue: &mut Queue| !queue.waiting.is_empty() && queue.in_flight >= queue.window.size();
        let mut queue = self
            .changed
            .wait_while(self.lock(), full)
            .unwrap_or_else(PoisonError::into_inner);
        let index = queue.waiting.pop()?;
        queue.in_flight += 1;
        Some((index, queue.window.last, Permit(self)))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One action in flight. A panic ends it too, so that no other thread waits for it for ever.
struct Permit<'a>(&'a InFlight);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.lock().in_flight -= 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const QUICK: Duration = Duration::from_millis(300);

    fn after(answers: &[(u32, Option<FailureKind>)]) -> Window {
        let mut window = Window::new(32);
        for (times, failure) in answers {
            window.answered(QUICK * *times, *failure);
        }
        window
    }

    #[test]
    fn quick_answers_add_one_each_up_to_the_limit() {
        assert_eq!(after(&[]).size(), 8);
        assert_eq!(after(&[(1, None); 5]).size(), 13);
        assert_eq!(after(&[(1, None); 100]).size(), 32);
        assert_eq!(Window::new(3).size(), 3);
    }

    #[test]
    fn a_refusal_halves_once_for_all_that_were_in_flight() {
        let later = Some(FailureKind::Later(None));
        let mut window = after(&[(1, None); 8]);
        assert_eq!(window.size(), 16);
        for _ in 0..16 {
            window.answered(QUICK, later);
        }
        assert_eq!(window.size(), 8);
        window.answered(QUICK, later);
        assert_eq!(
            window.size(),
            8,
            "the last of the sixteen that were in flight"
        );
        window.answered(QUICK, later);
        assert_eq!(window.size(), 4);
        for _ in 0..100 {
            window.answered(QUICK, Some(FailureKind::Unknown));
        }
        assert_eq!(window.size(), 1);
        for _ in 0..6 {
            window.answered(QUICK, None);
        }
        assert_eq!(window.size(), 3, "1, 2, 2.5, 2.9, 3.2, 3.5, 3.8");
    }

    #[test]
    fn slow_answers_stop_the_growth_and_overload_returns_to_the_beginning() {
        let mut window = after(&[(1, None); 13]);
        assert_eq!(window.size(), 21);
        window.answered(QUICK * 3, None);
        assert_eq!(window.size(), 21);
        window.answered(QUICK * 9, None);
        assert_eq!(window.size(), 10);
        for _ in 0..100 {
            window.answered(QUICK * 9, None);
        }
        assert_eq!(window.size(), 8);
    }

    #[test]
    fn a_refusal_for_another_reason_changes_nothing() {
        assert_eq!(after(&[(1, Some(FailureKind::Quota)); 9]).size(), 8);
    }

    #[test]
    fn each_action_gets_the_time_of_the_last_request() {
        let service = InFlight::new((0..3).collect(), 8);
        let last = Mutex::new(Vec::new());
        service.work(|index, time| {
            last.lock().unwrap().push(time);
            let took = QUICK * u32::try_from(index).unwrap();
            (index != 1).then_some(ServiceAnswer {
                took,
                failure: None,
            })
        });
        let nothing = Some(Duration::ZERO);
        assert_eq!(last.into_inner().unwrap(), [None, nothing, nothing]);
        let service = InFlight::new(vec![2, 0], 8);
        service.work(|index, time| {
            assert_eq!(time, (index == 0).then_some(QUICK));
            Some(ServiceAnswer {
                took: QUICK,
                failure: Some(FailureKind::Quota),
            })
        });
    }

    #[test]
    fn a_panic_of_one_action_keeps_no_thread_waiting() {
        let service = InFlight::new((0..3).collect(), 1);
        let ended = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..2)
                .map(|_| scope.spawn(|| service.work(|index, _| panic!("action {index}"))))
                .collect();
            let ended = threads.into_iter().map(|thread| thread.join().is_err());
            ended.collect::<Vec<_>>()
        });
        assert_eq!(ended, [true, true]);
    }

    #[test]
    fn each_action_is_performed_once_and_never_more_than_the_limit_in_flight() {
        let (now, most, sum) = (
            AtomicUsize::new(0),
            AtomicUsize::new(0),
            AtomicUsize::new(0),
        );
        let service = InFlight::new((0..200).collect(), 12);
        std::thread::scope(|scope| {
            for _ in 0..service.workers() {
                scope.spawn(|| {
                    service.work(|index, _| {
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        sum.fetch_add(index, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(1));
                        now.fetch_sub(1, Ordering::SeqCst);
                        Some(ServiceAnswer {
                            took: Duration::from_millis(1),
                            failure: None,
                        })
                    });
                });
            }
        });
        assert_eq!(sum.into_inner(), 199 * 100);
        assert_eq!(most.into_inner(), 12);
    }
}
