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

use std::sync::OnceLock;

/// The path of the program under test: `$EHOS_TEST_PROGRAM`, or the one that cargo built beside the tests.
#[macro_export]
macro_rules! program {
    () => {
        $crate::chosen_program(env!("CARGO_BIN_EXE_ehos"))
    };
}

/// See [`program!`].
///
/// # Panics
/// If `$EHOS_TEST_PROGRAM` names no file.
pub fn chosen_program(built: &'static str) -> &'static str {
    static GIVEN: OnceLock<Option<String>> = OnceLock::new();
    let given = GIVEN.get_or_init(|| {
        let path = std::env::var("EHOS_TEST_PROGRAM").ok()?;
        // Tests start the program in folders of their own.
        let path = std::fs::canonicalize(&path)
            .unwrap_or_else(|error| panic!("EHOS_TEST_PROGRAM={path}: {error}"));
        Some(path.into_os_string().into_string().unwrap())
    });
    given.as_deref().unwrap_or(built)
}
