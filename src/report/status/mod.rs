//! The text of `ehos status`: the last tick, read from the history.

pub mod layout;
mod remote;
mod read;
mod table;

pub use remote::fetch;
pub use read::{Error, last};
pub use table::{View, table};
