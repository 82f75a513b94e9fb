//! ehos, Elastic HTCondor OpenStack Scaling: makes an HTCondor pool exactly as large as its queue needs.

pub mod act;
pub mod cloud;
pub mod cloudinit;
pub mod condor;
pub mod config;
pub mod deadline;
pub mod observe;
pub mod openstack;
pub mod pool;
pub mod scaling;
pub mod simulation;
