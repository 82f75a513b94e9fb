//! The text of `ehos status`: the last tick, read from the history.

pub mod layout;
mod read;
mod remote;
pub mod sheet;
mod table;

pub use read::{Error, last};
pub use remote::{RemoteNode, fetch, fetch_node};
pub use table::{View, table};
