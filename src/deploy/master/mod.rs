//! The central manager: its server is made, watched until it has booted, and gets ehos over SSH.
//!
//! `step.rs` decides, without I/O; `deploy.rs` looks, asks it, and does what it says, until all is done.
//!
//! User data of a central manager holds no secret: each login user can ask the metadata service for
//! it. Secrets follow by SSH, with the host key that the console prints. `ehos_ready` in the
//! metadata marks the end; a ready central manager is never deleted.

pub mod conffile;
pub mod deploy;
pub mod install;
pub mod order;
pub mod step;
