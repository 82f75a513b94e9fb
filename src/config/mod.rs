//! The configuration: found, read, merged and checked.

mod settings;

pub use settings::{Auth, AuthMethod, CloudSettings, CondorSettings, Config, NameOrId, Timeouts};
