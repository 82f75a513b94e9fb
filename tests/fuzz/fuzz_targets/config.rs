//! A configuration of any content: it is refused with places and reasons, or understood, and tells no secret.
#![no_main]

use std::cell::RefCell;
use std::fs;

use system::environment::Environment;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static FOLDER: RefCell<tempfile::TempDir> = RefCell::new(tempfile::tempdir().unwrap());
}

fuzz_target!(|text: &[u8]| {
    FOLDER.with_borrow(|folder| {
        let file = folder.path().join("ehos.yaml");
        fs::write(&file, text).unwrap();
        let environment = Environment {
            variables: Default::default(),
            root: folder.path().to_owned(),
            working_directory: folder.path().to_owned(),
        };
        match config::load(&[file], &environment) {
            Ok(config) => {
                let _ = format!("{config:?}");
            }
            Err(error) => {
                let said = error.to_string();
                assert!(said.len() < 100_000, "{} bytes of error", said.len());
            }
        }
    });
});
