//! `ehos simulate`: the result of a comparison as a table, and as a page.

mod names;
pub mod page;
mod plot;
pub mod table;
