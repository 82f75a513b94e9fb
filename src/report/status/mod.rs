//! The text of `ehos status`: the last tick, read from the history.

pub mod layout;
mod read;
mod remote;
mod table;

pub use read::{Error, last};
pub use remote::fetch;
pub use table::{View, table};
