//! The cost of nodes, shared out over the jobs that ran on them. Pure arithmetic: no file, no clock, no HTCondor.
//!
//! Owns: the split of what a node costs, in whole core-milliseconds and millionths of money.
//! Must not: round a sum. Every breakdown is a sum of the same parts, so that all of them have the same total.
//!
//! The unit of work is a cell: one node on one day. A job takes the dominant share of the node, the larger of its shares of
//! cores and memory, for as long as it ran. The cell's price is split by these shares (`split`). Boot, idle and drain time is
//! overhead: split in the same proportion, or shown apart. A cell without any job is split as the other cells of its day.

mod node_time;
mod period;
#[cfg(test)]
mod period_tests;
mod share;
mod split;
mod summary;
#[cfg(test)]
mod tests;

pub use node_time::{NodeTime, NodeTimes, TickOfNodes, paid};
pub use period::Period;
pub use share::{Amount, By, Job, Shares, Total};
pub use summary::{Line, Options, Summary, Unattributed};
