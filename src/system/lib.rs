//! What ehos needs of the machine that it runs on: processes, files, locks, clocks, HTTP, terminals.
//!
//! Must not: know anything of HTCondor, OpenStack or nodes. All other parts but `scaling` may use it.

pub mod advice;
pub mod afterword;
pub mod ask;
pub mod child;
pub mod deadline;
pub mod environment;
pub mod exit;
pub mod http_client;
pub mod interrupt;
pub mod json;
pub mod lock;
pub mod logging;
pub mod own_file;
pub mod plain;
pub mod progress;
pub mod proxy;
pub mod rights;
pub mod threads;
