//! What the tools of HTCondor print: lines and their values, ads of slots, of machines and of jobs, and expressions in them.
//!
//! Pure: text comes in, values come out. The tools are called by the part `condor`.

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
