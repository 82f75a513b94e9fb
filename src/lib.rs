//! ehos, Elastic HTCondor OpenStack Scaling: makes an HTCondor pool exactly as large as its queue needs.

pub mod cloud;
pub mod cloudinit;
pub mod config;
pub mod deadline;
pub mod pool;
pub mod scaling;
pub mod simulation;
