//! What the tools of HTCondor print: lines and their values, ads of slots, of machines and of jobs, and expressions in them.
//!
//! Text comes in, values come out: no process, no file and no clock. The part `condor` runs the tools.

pub mod answer;
pub mod column;
pub mod concurrency_limits;
pub mod expression;
pub mod folded;
pub mod job_ad;
pub mod lines;
pub mod machine_ad;
pub mod odd_job;
pub mod running_job;
pub mod startds;
