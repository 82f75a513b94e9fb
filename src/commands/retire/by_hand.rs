//! What ehos leaves to people once no node is left, with commands that touch no other pool of this host.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use deploy::retire::report::ByHand;
use scaling::sorting;
use system::rights::shell_word;
use tick::state_directory::{HISTORY, file};

/// Units, packages and the state directory; `system` is the state directory of the default pool of a host.
pub(super) fn of_host(directory: &Path, system: &Path) -> Vec<ByHand> {
    let name = directory.parent().filter(|parent| *parent == system);
    let name = name.and_then(|_| directory.file_name()?.to_str());
    let has_others = others(directory, system);
    let is_of_units = name.is_some() || directory == system || !has_others;
    let units = is_of_units.then(|| {
        let pool = name.map_or_else(String::new, |name| format!("@{name}"));
        let units = ["ehos", "ehos", "ehos-frontend"].iter();
        let units = units.zip(["timer", "path", "service"]);
        let units = units.map(|(unit, kind)| shell_word(&format!("{unit}{pool}.{kind}")));
        let units: Vec<String> = units.collect();
        format!("sudo systemctl disable --now {}", units.join(" "))
    });
    let mut all = vec![ByHand {
        what: "units".to_owned(),
        command: units,
    }];
    if !has_others {
        all.push(ByHand {
            what: "packages".to_owned(),
            command: Some("sudo apt purge ehos, or sudo rpm -e ehos".to_owned()),
        });
    }
    let paths = match has_others && directory == system {
        true => own_files(directory),
        false => vec![directory.to_owned()],
    };
    let paths: Vec<String> = paths
        .iter()
        .map(|path| shell_word(&path.display().to_string()))
        .collect();
    all.push(ByHand {
        what: "state directory".to_owned(),
        command: (!paths.is_empty()).then(|| format!("sudo rm -r {}", paths.join(" "))),
    });
    all
}

/// Whether this host has the state of another pool. A folder that cannot be listed may have one.
fn others(directory: &Path, system: &Path) -> bool {
    let is_other = |pool: &Path| pool != directory && file(pool).exists();
    if is_other(system) {
        return true;
    }
    match fs::read_dir(system) {
        Ok(entries) => entries
            .into_iter()
            .any(|entry| entry.map_or(true, |entry| is_other(&entry.path()))),
        Err(error) => error.kind() != ErrorKind::NotFound,
    }
}

/// The files of the default pool, and its history: the other folders may be those of other pools.
fn own_files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let own = paths.filter(|path| !path.is_dir() || path.ends_with(HISTORY));
    let mut own: Vec<PathBuf> = own.collect();
    sorting::ascending(&mut own);
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(directory: &Path, system: &Path) -> Vec<String> {
        let all = of_host(directory, system);
        let system = system.display().to_string();
        all.into_iter()
            .filter_map(|it| it.command)
            .map(|command| command.replace(&system, "/s"))
            .collect()
    }

    #[test]
    fn commands_by_hand_touch_no_other_pool() {
        let dir = tempfile::tempdir().unwrap();
        let system = dir.path();
        let blue = system.join("blue");
        fs::create_dir_all(blue.join(HISTORY)).unwrap();
        fs::create_dir_all(system.join(HISTORY)).unwrap();
        fs::write(file(&blue), "{}").unwrap();
        let of_blue = "sudo systemctl disable --now ehos@blue.timer ehos@blue.path ehos-frontend@blue.service";
        let purge = "sudo apt purge ehos, or sudo rpm -e ehos";
        assert_eq!(text(&blue, system), [of_blue, purge, "sudo rm -r /s/blue"]);
        // The default pool beside it.
        fs::write(file(system), "{}").unwrap();
        assert_eq!(text(&blue, system), [of_blue, "sudo rm -r /s/blue"]);
        let of_default = "sudo systemctl disable --now ehos.timer ehos.path ehos-frontend.service";
        let files = "sudo rm -r /s/history /s/state.json";
        assert_eq!(text(system, system), [of_default, files]);
        // A directory of its own: the units may be those of the others.
        assert_eq!(text(Path::new("/x"), system), ["sudo rm -r /x"]);
        // No other.
        fs::remove_dir_all(&blue).unwrap();
        assert_eq!(text(system, system), [of_default, purge, "sudo rm -r /s"]);
    }
}
