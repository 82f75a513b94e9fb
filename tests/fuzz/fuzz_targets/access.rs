//! What other programs write for ehos: an entry of clouds.yaml, an openrc file, user data. Each is refused with a place and a reason,
//! or understood, and tells no secret. The first byte says which it is.
#![no_main]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;

use userdata::cloudinit::Template;
use config::{connection, openrc};
use system::environment::Environment;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static FOLDER: RefCell<tempfile::TempDir> = RefCell::new(tempfile::tempdir().unwrap());
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, text)) = input.split_first() else {
        return;
    };
    FOLDER.with_borrow(|folder| {
        let environment = Environment {
            variables: Default::default(),
            root: folder.path().to_owned(),
            working_directory: folder.path().to_owned(),
        };
        let said = match kind % 3 {
            0 => {
                fs::write(folder.path().join("clouds.yaml"), text).unwrap();
                match connection::of_entry("one", &environment) {
                    Ok(found) => format!("{found:?}"),
                    Err(error) => error.to_string(),
                }
            }
            1 => {
                let file = folder.path().join("openrc.sh");
                fs::write(&file, text).unwrap();
                let openrc = match openrc::variables(&file, &environment) {
                    Ok(openrc) => openrc,
                    Err(error) => return assert!(error.to_string().len() < 100_000),
                };
                let from = Some((file.as_path(), &openrc.lines));
                match connection::of_variables("one", openrc.variables, from, &environment) {
                    Ok(found) => format!("{found:?}"),
                    Err(error) => error.to_string(),
                }
            }
            _ => {
                let Ok(text) = std::str::from_utf8(text) else {
                    return;
                };
                match Template::parse("node", text) {
                    Ok(template) => {
                        let values = BTreeMap::from([("host_ip", "10.0.0.1".into())]);
                        format!("{:?}", template.render(&values).map(drop))
                    }
                    Err(error) => error.to_string(),
                }
            }
        };
        assert!(said.len() < 1_000_000, "{} bytes", said.len());
    });
});
