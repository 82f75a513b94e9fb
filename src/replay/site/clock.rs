//! Events that are sure to come, by their time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::NodeNumber;
use crate::random::Random;
use crate::workload::Seconds;

/// What happens at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// A job ends on a node. Stale if the node is gone.
    End {
        /// The node.
        node: NodeNumber,
        /// The job.
        job: u32,
    },
    /// A startd joins the pool.
    Join(NodeNumber),
    /// A server is gone.
    Gone(NodeNumber),
}

/// The events to come. Those of one second happen in an order that has nothing to do with nodes or jobs, as in a real pool, and
/// is the same in each run.
#[derive(Debug, Default)]
pub struct Clock(BinaryHeap<Reverse<(Seconds, u64, Event)>>);

impl Clock {
    /// Adds an event.
    pub fn at(&mut self, time: Seconds, event: Event) {
        let number = match event {
            Event::End { job, .. } => job,
            Event::Join(node) | Event::Gone(node) => node,
        };
        self.0
            .push(Reverse((time, Random::new(number.into()).draw(), event)));
    }

    /// The time of the next event.
    pub fn next(&self) -> Option<Seconds> {
        self.0.peek().map(|Reverse((time, ..))| *time)
    }

    /// The next event, if it is due at `now`.
    pub fn due(&mut self, now: Seconds) -> Option<Event> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse((.., event))| event)
    }
}
