//! For tests alone: what several test binaries share.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

pub mod crashes;
pub mod double;
pub mod webdriver;
