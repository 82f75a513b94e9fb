//! What `ehos status` shows: the last tick, read from the history, for people.

pub mod layout;
mod read;
mod table;

pub use read::{Error, last};
pub use table::{View, table};
