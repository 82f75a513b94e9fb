//! How ehos decides. Pure: no I/O, no clock, no random source.

pub mod action;
pub mod allocation;
mod amounts;
pub mod brakes;
pub mod budget;
pub mod capacity;
pub mod console;
pub mod failing;
pub mod figures;
pub mod first_seen;
pub mod floating_ip;
pub mod idle_time;
pub mod leftover;
pub mod limits;
pub mod matching;
pub mod memory;
pub mod money;
pub mod names;
pub mod nearest;
pub mod needs;
pub mod node;
mod obscure;
pub mod observation;
pub mod pace;
pub mod packing;
mod parts;
pub mod plan;
pub mod policy;
pub mod reason;
pub mod refusal;
pub mod schedule;
pub mod seconds;
pub mod sender;
mod sentence;
pub mod signing;
pub mod source;
pub mod stranded;
pub mod submitter;
pub mod survey;
pub mod totals;
pub mod zones;

// Paths of before.
pub(crate) mod scaling {
    pub(crate) use crate::*;
}
