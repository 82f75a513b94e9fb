//! How ehos decides. Pure: no I/O, no clock, no random source.

pub mod action;
pub mod observation;
pub mod policy;
