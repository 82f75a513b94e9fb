//! The page that shows the pool, and its data as JSON, read from the history.
//!
//! Must not: query HTCondor or a cloud, or write a file.

mod answer;
mod costs;
mod decisions;
mod history;
mod host;
mod last;
mod listen;
mod once;
mod page;
mod request;
mod routes;
mod series;
pub mod token;
mod view;

pub use history::History;
pub use host::{Hosts, is_loopback};
pub use listen::{bind, serve};
pub use once::{charts_page, html};
pub use request::{HEAD_BYTES, Head, Refused, parse as parse_request};
pub use routes::Router;
pub use series::Range;
