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

/// Texts in which commands are named: what is installed, what is read, and what the program says.
fn texts() -> Vec<(String, String)> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![project.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path
                .strip_prefix(project)
                .unwrap()
                .to_string_lossy()
                .into_owned();
            let is_ours = ["configs", "docs", "scripts", "src", "systemd", "README.md"]
                .iter()
                .any(|part| name == *part || name.starts_with(&format!("{part}/")));
            // What a change did is true of its time alone.
            if !is_ours {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.push((name, text));
            }
        }
    }
    found.sort();
    found
}

/// The words behind each `ehos ` of a line, up to where the command ends; and whether it stands between backticks.
fn commands(line: &str) -> Vec<(bool, Vec<&str>)> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("ehos ") {
        let before = &line[..at];
        let is_word = |c: char| c.is_alphanumeric() || "_-.@".contains(c);
        // The user of that name is no command.
        let is_user = ["-u ", "user ", "group "]
            .iter()
            .any(|word| before.ends_with(word));
        if is_user || before.chars().next_back().is_some_and(is_word) {
            continue;
        }
        let is_code = before.matches('`').count() % 2 == 1;
        let rest = &line[at + "ehos ".len()..];
        let end = rest
            .find(['`', '"', '|', ';', '(', ')', '<', '\\', '#'])
            .unwrap_or(rest.len());
        let mut words = Vec::new();
        for word in rest[..end].split_whitespace() {
            let bare = word.trim_end_matches(['.', ',', ':', '\'', '…', '?', '!', ']']);
            let bare = bare.trim_start_matches('[');
            if !bare.is_empty() {
                words.push(bare);
            }
            if bare.len() < word.len() {
                break;
            }
        }
        found.push((is_code, words));
    }
    found
}

/// What is wrong with a command of these words.
fn wrong(is_code: bool, words: &[&str]) -> Option<String> {
    let mut command = <ehos::cli::Cli as clap::CommandFactory>::command();
    command.build();
    let mut command = &command;
    let mut words = words.iter().peekable();
    let mut deep = false;
    while let Some(next) = words.peek().and_then(|word| command.find_subcommand(word)) {
        command = next;
        words.next();
        deep = true;
    }
    let is_name = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase());
    if let Some(word) = words.peek()
        && command.has_subcommands()
        && is_code
        && is_name(word)
    {
        return Some(format!("there is no command {word}"));
    }
    if !deep {
        // A sentence about the program.
        return None;
    }
    for word in words.filter(|word| word.starts_with('-') && word.len() > 1) {
        let name = word.split('=').next().unwrap_or(word);
        let known = match name.strip_prefix("--") {
            Some(long) => command.get_arguments().any(|it| {
                it.get_long_and_visible_aliases()
                    .is_some_and(|names| names.contains(&long))
            }),
            None => name[1..].chars().all(|short| {
                command.get_arguments().any(|it| {
                    it.get_short_and_visible_aliases()
                        .is_some_and(|names| names.contains(&short))
                })
            }),
        };
        if !known {
            return Some(format!("{} has no {name}", command.get_name()));
        }
    }
    None
}

#[test]
fn every_command_that_is_named_anywhere_is_there() {
    assert!(wrong(true, &["check", "--boot"]).is_some());
    assert!(wrong(true, &["master", "deploi"]).is_some());
    assert!(wrong(true, &["tock"]).is_some());
    assert_eq!(wrong(true, &["tick", "-vn", "-o", "json"]), None);
    assert_eq!(
        commands("run `ehos check --boot`."),
        [(true, vec!["check", "--boot"])]
    );
    let mut named = 0;
    let mut faults = Vec::new();
    for (file, text) in texts() {
        for (number, line) in text.lines().enumerate() {
            for (is_code, words) in commands(line) {
                named += 1;
                if let Some(why) = wrong(is_code, &words) {
                    faults.push(format!("{file}:{}: {why}: {line}", number + 1));
                }
            }
        }
    }
    assert!(named > 200, "only {named} are named");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
