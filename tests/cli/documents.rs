//! What the pages of docs/ say of the sources is so.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::Site;

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

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every test of the project: the path of its file as a module, and its names.
fn all_tests(sources: &[(PathBuf, String)]) -> Vec<(String, Vec<&str>)> {
    sources
        .iter()
        .map(|(file, text)| {
            let place = file.with_extension("").to_string_lossy().replace('/', "::");
            (place, tests_in(text))
        })
        .collect()
}

/// The test that `path` names: its name, after the end of its module's path.
fn exists(tests: &[(String, Vec<&str>)], path: &str) -> bool {
    let (modules, name) = path.rsplit_once("::").unwrap_or(("", path));
    tests
        .iter()
        .any(|(place, names)| place.ends_with(modules) && names.contains(&name))
}

fn sources_of_all() -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    for folder in ["src", "tests"] {
        sources(&project().join(folder), &mut all);
    }
    all
}

#[test]
fn every_test_that_faults_md_names_is_there() {
    let sources = sources_of_all();
    let tests = all_tests(&sources);
    let page = fs::read_to_string(project().join("docs/faults.md")).unwrap();
    let rows = page.lines().filter(|line| {
        line.starts_with("| ")
            && !line.starts_with("| ---")
            && !line.starts_with("| fault |")
            && !line.starts_with("| reader |")
    });
    let mut named = 0;
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 3, "{row}");
        // Names stand between backticks, words about them do not; `MODULE::*` is all of a module.
        let paths = cells[2].split('`').skip(1).step_by(2);
        for path in paths.filter(|path| !path.ends_with('*')) {
            assert!(exists(&tests, path), "there is no test {path}: {row}");
            named += 1;
        }
    }
    assert!(named > 400, "only {named} are named");
}

/// The first cells of the tables below these headings.
fn rows_below(page: &str, headings: &[&str]) -> Vec<String> {
    let mut is_below = false;
    let mut rows = Vec::new();
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(heading) = line.strip_prefix('#') {
            is_below = headings.contains(&heading.trim_start_matches('#').trim());
        }
        // The line below the head of a table is made of dashes.
        let is_head = lines.peek().is_some_and(|next| next.starts_with("| ---"));
        if is_below && line.starts_with("| ") && !line.starts_with("| ---") && !is_head {
            let cell = line.trim_matches('|').split(" | ").next().unwrap();
            rows.push(cell.trim().to_owned());
        }
    }
    rows
}

#[test]
fn every_incident_of_the_runbook_is_made_by_a_test() {
    let read = |page: &str| fs::read_to_string(project().join(page)).unwrap();
    let incidents = rows_below(
        &read("docs/operations.md"),
        &[
            "Nothing scales",
            "Jobs wait",
            "Brakes",
            "Limits",
            "Unknown sources",
            "Nodes in unusual phases",
            "Back up and restore",
        ],
    );
    let page = read("tests/README.md");
    let made = rows_below(&page, &["Incidents of the runbook"]);
    assert!(incidents.len() > 50, "{incidents:?}");
    assert_eq!(made, incidents, "in the order of docs/operations.md");
    let sources = sources_of_all();
    let tests = all_tests(&sources);
    let (_, table) = page.split_once("## Incidents of the runbook").unwrap();
    for row in table
        .lines()
        .filter(|line| line.starts_with("| `") || line.starts_with("| "))
    {
        let names = row
            .rsplit(" | ")
            .next()
            .unwrap()
            .split('`')
            .skip(1)
            .step_by(2);
        for name in names.filter(|name| name.contains("_") && name.len() > 20) {
            assert!(exists(&tests, name), "there is no test {name}: {row}");
        }
    }
}

#[test]
fn every_test_that_the_design_rules_name_is_there() {
    let sources = sources_of_all();
    let tests = all_tests(&sources);
    let page = fs::read_to_string(project().join("docs/design-rules.md")).unwrap();
    let rules = page.split("\n## Rule ").skip(1);
    let mut count = 0;
    for rule in rules {
        let (_, names) = rule.split_once("Tests:").expect("a rule has tests");
        let names = names.split("\n\n").next().unwrap_or_default();
        let mut named = names.split('`').skip(1).step_by(2);
        assert!(
            named.clone().any(|name| exists(&tests, name)),
            "no test: {names}"
        );
        // Files stand there as well.
        let missing = named.find(|name| !name.contains('/') && !exists(&tests, name));
        assert_eq!(missing, None, "{names}");
        count += 1;
    }
    assert_eq!(count, 10);
}

#[test]
fn every_part_has_a_row_in_the_architecture() {
    let page = fs::read_to_string(project().join("docs/architecture.md")).unwrap();
    let mut parts = 0;
    for entry in fs::read_dir(project().join("src")).unwrap() {
        let folder = entry.unwrap().path();
        if folder.join("Cargo.toml").exists() {
            let row = format!("| `{}` |", folder.file_name().unwrap().display());
            assert!(page.contains(&row), "docs/architecture.md has no {row}");
            parts += 1;
        }
    }
    assert!(parts > 8);
}

#[test]
fn every_source_that_a_page_for_developers_names_is_there() {
    let sources = sources_of_all();
    let mut named = 0;
    for name in ["docs/architecture.md", "CONTRIBUTING.md", "tests/README.md"] {
        let text = fs::read_to_string(project().join(name)).unwrap();
        let spans = text
            .lines()
            .flat_map(|line| line.split('`').skip(1).step_by(2));
        for span in spans.filter(|span| span.ends_with(".rs") && !span.contains(' ')) {
            let is_there = sources.iter().any(|(file, _)| file.ends_with(span));
            assert!(is_there, "{name}: there is no {span}");
            named += 1;
        }
    }
    assert!(named > 20, "only {named} are named");
}

/// Pages for users and developers.
fn pages() -> Vec<(String, String)> {
    let mut names: Vec<String> = [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SCOPE.md",
        "tests/README.md",
        "benches/README.md",
    ]
    .map(str::to_owned)
    .to_vec();
    for entry in fs::read_dir(project().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        if name.ends_with(".md") {
            names.push(format!("docs/{name}"));
        }
    }
    assert!(names.len() > 15);
    let read = |name: String| {
        let text = fs::read_to_string(project().join(&name)).unwrap();
        (name, text)
    };
    names.into_iter().map(read).collect()
}

/// The lines of a page with their numbers, without tables of keys: the program makes those.
fn written(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_made = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        if line.starts_with("<!-- keys:") {
            is_made = true;
        }
        let written = (!is_made).then_some((index + 1, line));
        if line == "<!-- end of keys -->" {
            is_made = false;
        }
        written
    })
}

fn is_row(line: &str) -> bool {
    line.starts_with('|')
}

fn is_code(line: &str) -> bool {
    line.starts_with("    ")
}

/// A page is read, its tables are looked up: their rows do not count.
#[test]
fn pages_are_short() {
    for (name, text) in pages() {
        let most = match name.as_str() {
            "README.md" => 120,
            _ => 250,
        };
        let lines = match name.as_str() {
            "README.md" => text.lines().count(),
            _ => written(&text).filter(|(_, line)| !is_row(line)).count(),
        };
        assert!(lines <= most, "{name} has {lines} lines of {most}");
    }
}

#[test]
fn no_line_is_longer_than_100_columns() {
    let mut long = Vec::new();
    for (name, text) in pages() {
        for (number, line) in written(&text) {
            if line.chars().count() > 100 && !is_row(line) && !line.contains("](") {
                long.push(format!("{name}:{number}: {line}"));
            }
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
    heading
        .chars()
        .filter(kept)
        .collect::<String>()
        .replace(' ', "-")
}

#[test]
fn links_lead_to_files_and_headings() {
    let mut broken = Vec::new();
    let mut links = 0;
    for (name, text) in pages() {
        let page = project().join(&name);
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !is_code(line)) {
            for target in line.split("](").skip(1) {
                let target = target.split(')').next().unwrap_or_default();
                if target.contains("://") {
                    continue;
                }
                links += 1;
                let (path, heading) = target.split_once('#').unwrap_or((target, ""));
                let file = match path {
                    "" => page.clone(),
                    path => page.parent().unwrap().join(path),
                };
                let has_heading = || {
                    let text = fs::read_to_string(&file).unwrap_or_default();
                    text.lines()
                        .any(|line| line.starts_with('#') && anchor(line) == heading)
                };
                if !file.exists() || (!heading.is_empty() && !has_heading()) {
                    broken.push(format!("{name}:{}: {target}", index + 1));
                }
            }
        }
    }
    assert!(links > 80, "only {links} links");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The words of a text, however its lines are wrapped.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_first_screen_of_the_readme_is_what_a_tick_of_the_demo_prints() {
    let site = Site::simulated();
    for _ in 0..3 {
        site.tick(&[]).exits(0);
    }
    let printed = words(&site.tick(&["--dry-run"]).exits(0).stdout);
    let readme = fs::read_to_string(project().join("README.md")).unwrap();
    let (_, sample) = readme.split_once("$ ehos tick --dry-run\n").unwrap();
    let (sample, _) = sample.split_once("\n\nThe output").unwrap();
    // A line that is wrapped goes on with a deeper indent.
    let mut lines: Vec<String> = Vec::new();
    for line in sample.lines() {
        match lines.last_mut() {
            Some(last) if line.starts_with(&" ".repeat(20)) => last.push_str(line),
            _ => lines.push(line.to_owned()),
        }
    }
    assert!(lines.len() > 5);
    for line in lines {
        let line = words(&line);
        assert!(
            printed.contains(&line),
            "README.md has {line:?}, and not {printed}"
        );
    }
}

/// Words that have a better one.
const RETIRED: [&str; 15] = [
    "is told",
    "are told",
    "taken back",
    "given back",
    "left behind",
    "goes on",
    "in vain",
    "at all",
    "for ever",
    "of ours",
    "leads nowhere",
    "nobody",
    "whoever",
    "so many",
    "meanwhile",
];

/// Words that begin no sentence: a noun does.
const BEGINNINGS: [&str; 8] = ["What", "Which", "Whom", "Who", "It", "Its", "Of", "Those"];

/// What of a line is wrong: a retired word, or the beginning of a sentence.
fn wrong_words(line: &str) -> Option<&'static str> {
    // Between backticks stand names and messages.
    let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("x");
    let lower = prose.to_lowercase();
    let is_whole = |at: usize, word: &str| {
        let is_letter = |c: char| c.is_alphanumeric();
        !lower[..at].ends_with(is_letter) && !lower[at + word.len()..].starts_with(is_letter)
    };
    let retired = RETIRED.into_iter().find(|word| {
        lower
            .match_indices(word)
            .any(|(at, word)| is_whole(at, word))
    });
    retired.or_else(|| {
        BEGINNINGS.into_iter().find(|word| {
            prose.match_indices(word).any(|(at, word)| {
                let before = prose[..at].trim_end_matches(['*', ' ', '#']);
                let is_beginning = before.is_empty() || before.ends_with(['.', '|', '-', '?', '!']);
                let after = &prose[at + word.len()..];
                is_beginning && !after.starts_with(|c: char| c.is_alphanumeric() || c == '-')
            })
        })
    })
}

#[test]
fn pages_use_no_retired_words() {
    assert_eq!(wrong_words("The queue is told of it."), Some("is told"));
    assert_eq!(wrong_words("## Which nodes"), Some("Which"));
    assert_eq!(wrong_words("| x | It is so |"), Some("It"));
    assert_eq!(wrong_words("- **Of** all"), Some("Of"));
    assert_eq!(wrong_words("the message `nobody answers`"), None);
    assert_eq!(wrong_words("Itself, Office, somebody"), None);
    let mut found = Vec::new();
    for (name, text) in pages() {
        for (number, line) in written(&text).filter(|(_, line)| !is_code(line)) {
            if let Some(word) = wrong_words(line) {
                found.push(format!("{name}:{number}: {word}: {line}"));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Lines of text, each with its place.
fn faults(place: &str, lines: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<String> {
    let lines = lines.into_iter();
    let fault = |line: String| Some(format!("{place}: {}: {line}", wrong_words(line.trim())?));
    lines
        .filter_map(|line| fault(line.as_ref().to_owned()))
        .collect()
}

#[test]
fn help_uses_no_retired_words() {
    use clap::CommandFactory;
    let mut found = Vec::new();
    let mut top = ehos::cli::Cli::command().disable_help_subcommand(true);
    top.build();
    let mut commands = vec![top];
    while let Some(mut command) = commands.pop() {
        commands.extend(command.get_subcommands().cloned());
        let help = command.render_long_help().to_string();
        found.extend(faults(command.get_name(), help.lines()));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn recorded_output_and_configs_use_no_retired_words() {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = ["tests/fixtures/golden", "configs", "systemd"]
        .map(|folder| project().join(folder))
        .to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            // Strings of JSON, and comments.
            let lines = text.lines().flat_map(|line| line.split('"'));
            let lines = lines.map(|line| line.trim().trim_start_matches(['#', ' ']));
            found.extend(faults(&path.display().to_string(), lines));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The words of a command line of ehos, without what a shell does before and behind it.
fn command_line(line: &str) -> Option<Vec<&str>> {
    let line = line.trim().trim_start_matches("$ ");
    let line = line.strip_prefix("sudo ").unwrap_or(line);
    let line = line.strip_prefix("-u ehos ").unwrap_or(line);
    if !line.starts_with("ehos ") {
        return None;
    }
    let ends = |word: &&str| !matches!(*word, "#" | ">" | "|" | "&&" | "\\" | "…");
    let words: Vec<&str> = line.split_whitespace().take_while(ends).collect();
    // A drawing begins with it, too.
    words.get(1)?.is_ascii().then_some(words)
}

#[test]
fn every_command_line_of_a_page_is_one_that_the_program_takes() {
    use clap::{CommandFactory, Parser, error::ErrorKind};
    let mut faults = Vec::new();
    let (mut lines, mut spans) = (0, 0);
    for (name, text) in pages() {
        for (number, line) in written(&text) {
            // Output is indented deeper.
            if is_code(line) && !line.starts_with("     ") {
                let Some(words) = command_line(line) else {
                    continue;
                };
                lines += 1;
                if let Err(error) = ehos::cli::Cli::try_parse_from(&words) {
                    faults.push(format!("{name}:{number}: {line}\n{error}"));
                }
            } else if !is_code(line) {
                // Some are named without what they need.
                for span in line.split('`').skip(1).step_by(2) {
                    let Some(words) = command_line(span) else {
                        continue;
                    };
                    spans += 1;
                    let error = ehos::cli::Cli::try_parse_from(&words).err();
                    let kind = error.as_ref().map(clap::Error::kind);
                    if matches!(
                        kind,
                        Some(ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand)
                    ) {
                        faults.push(format!("{name}:{number}: {span}"));
                    }
                }
            }
        }
    }
    ehos::cli::Cli::command().debug_assert();
    assert!(
        lines > 20 && spans > 100,
        "only {lines} lines, {spans} spans"
    );
    assert!(faults.is_empty(), "{}", faults.join("\n"));
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
            let is_read = [
                "benches/README.md",
                "configs",
                "docs",
                "scripts",
                "src",
                "systemd",
                "CONTRIBUTING.md",
                "README.md",
            ]
            .iter()
            .any(|part| name == *part || name.starts_with(&format!("{part}/")));
            // What a change did is true of its time alone.
            if !is_read {
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
