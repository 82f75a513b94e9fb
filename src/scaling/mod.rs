//! How ehos decides. Pure: no I/O, no clock, no random source.

pub mod action;
pub mod allocation;
pub mod brakes;
pub mod budget;
pub mod capacity;
pub mod failing;
pub mod figures;
pub mod floating_ip;
pub mod leftover;
pub mod limits;
pub(crate) mod matching;
pub mod memory;
pub mod money;
pub mod needs;
pub mod node;
pub mod observation;
pub mod packing;
mod parts;
pub mod plan;
pub mod policy;
pub mod reason;
pub mod schedule;
pub mod stranded;
pub mod survey;
pub mod totals;
pub mod zones;
