//! What the pages of docs/ say of the sources is so.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
}

/// The names of the tests in `text`; of a file with proptest!, of all its functions.
fn tests_in(text: &str) -> Vec<&str> {
    let whole = text.contains("proptest!");
    let mut marked = false;
    let mut names = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("fn ")
            && (marked || whole)
        {
            names.extend(rest.split_once('(').map(|(name, _)| name));
        }
        marked = line == "#[test]";
    }
    names
}

#[test]
fn every_test_that_faults_md_names_is_there() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    for folder in ["src", "tests"] {
        sources(&project.join(folder), &mut all);
    }
    // Where and what: `…::tests::site::faults::jobs` and its tests.
    let places: Vec<(String, Vec<&str>)> = all
        .iter()
        .map(|(file, text)| {
            let place = file.with_extension("").to_string_lossy().replace('/', "::");
            (place, tests_in(text))
        })
        .collect();
    let page = fs::read_to_string(project.join("docs/faults.md")).unwrap();
    let rows = page.lines().filter(|line| {
        line.starts_with("| ")
            && !line.starts_with("| ---")
            && !line.starts_with("| fault |")
            && !line.starts_with("| the fault |")
    });
    let mut named = 0;
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 3, "{row}");
        // Names stand between backticks, words about them do not; `MODULE::*` is all of a module.
        let paths = cells[2].split('`').skip(1).step_by(2);
        for path in paths.filter(|path| !path.ends_with('*')) {
            let (modules, name) = path.rsplit_once("::").unwrap_or(("", path));
            let there = places
                .iter()
                .any(|(place, tests)| place.ends_with(modules) && tests.contains(&name));
            assert!(there, "there is no test {path}: {row}");
            named += 1;
        }
    }
    assert!(named > 50, "only {named} are named");
}
