//! Help, versions, and command lines that are not understood.

use crate::harness::Site;

#[test]
fn help_and_version_go_to_standard_output() {
    let site = Site::simulated();
    site.run(&["--help"])
        .exits(0)
        .warns_nothing()
        .says("Usage: ehos [OPTIONS] <COMMAND>")
        .says("tick");
    site.run(&["tick", "--help"])
        .exits(0)
        .warns_nothing()
        .says("--dry-run")
        .says("$EHOS_CONFIG")
        .says("$STATE_DIRECTORY");
    site.run(&["--version"])
        .exits(0)
        .says(concat!("ehos ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_is_not_understood_is_told_and_nothing_is_done() {
    let site = Site::simulated();
    let none: [&str; 0] = [];
    site.run(&none).exits(2).warns("Usage: ehos");
    site.run(&["tok"])
        .exits(2)
        .warns("a similar subcommand exists: 'tick'");
    site.tick(&["--dry-rum"])
        .exits(2)
        .warns("a similar argument exists: '--dry-run'");
    site.tick(&["-o", "xml"])
        .exits(2)
        .warns("[possible values: text, json]");
    site.tick(&["now"])
        .exits(2)
        .warns("unexpected argument 'now'");
    assert_eq!(site.state_files(), None);
    assert_eq!(site.calls(), "");
}

#[test]
fn a_pipe_that_nobody_reads_loses_nothing() {
    let site = Site::simulated();
    let mut tick = site.start_tick(&[]);
    drop(tick.stdout.take());
    site.end(tick)
        .exits(1)
        .warns("the report cannot be printed");
    assert_eq!(site.remembered().len(), 1);
}

#[test]
fn help_lists_every_command_in_a_group() {
    let site = Site::simulated();
    let help = site.run(&["--help"]);
    let help = help.exits(0);
    let mut last = 0;
    for heading in [
        "Run the pool:",
        "See the pool:",
        "Set up:",
        "Other commands:",
        "Options:",
    ] {
        let at = help
            .stdout
            .find(heading)
            .unwrap_or_else(|| panic!("no {heading} in {help}"));
        assert!(at > last, "{heading} in {help}");
        last = at;
    }
    let command = ehos::cli::Cli::grouped();
    for one in command.get_subcommands() {
        let line = format!("\n  {} ", one.get_name());
        assert_eq!(help.stdout.matches(&line).count(), 1, "{line} in {help}");
    }
    for line in help.stdout.lines().filter(|line| line.starts_with("  ")) {
        assert!(line.chars().count() <= 100, "{line}");
    }
    site.run(&["master", "deploy", "--help"])
        .exits(0)
        .says("\nServer:\n")
        .says("\nAccess:\n")
        .says("\nGlobal options:\n");
}

#[test]
fn each_command_is_told_in_the_same_words_in_every_help() {
    let site = Site::simulated();
    let mut top = ehos::cli::Cli::grouped().disable_help_subcommand(true);
    let overview: Vec<(String, String)> = top
        .get_subcommands()
        .map(|one| {
            (
                one.get_name().to_owned(),
                one.get_about().unwrap().to_string(),
            )
        })
        .collect();
    top.build();
    for (name, about) in overview {
        // What is flattened into its arguments has words of its own.
        let command = top.find_subcommand(&name).unwrap();
        assert_eq!(command.get_about().unwrap().to_string(), about);
        let help = site.run(&[&name, "--help"]);
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let said = words(&help.exits(0).stdout);
        assert!(said.starts_with(&words(&about)), "{name}: {help}");
    }
}

#[test]
fn each_command_has_a_page_of_the_manual() {
    let site = Site::simulated();
    site.run(&["man", "pages"]).exits(0).is_silent();
    let read = |name: &str| {
        let file = site.path().join("pages").join(name);
        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let mut top = ehos::cli::Cli::grouped().disable_help_subcommand(true);
    top.build();
    let mut commands = vec![("ehos".to_owned(), top)];
    let mut pages = 0;
    while let Some((name, command)) = commands.pop() {
        let page = read(&format!("{name}.1"));
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "SEE ALSO"] {
            assert!(
                page.contains(&format!(".SH {section}"))
                    || page.contains(&format!(".SH \"{section}\"")),
                "{page}"
            );
        }
        pages += 1;
        let below = command.get_subcommands().cloned();
        commands.extend(below.map(|one| (format!("{name}-{}", one.get_name()), one)));
    }
    assert!(pages > 18, "{pages} pages");
    let tick = read("ehos-tick.1");
    assert!(tick.contains("ehos tick \\-\\-dry\\-run"), "{tick}");
    assert!(tick.contains("\\-\\-trust\\-silence"), "{tick}");
    let top = site.run(&["man"]);
    top.exits(0)
        .says("EXIT STATUS")
        .says("/etc/ehos/POOL/ehos.yaml");
    assert_eq!(top.stdout, read("ehos.1"));
    // The same program writes the same bytes.
    site.run(&["man", "again"]).exits(0);
    let again = std::fs::read_to_string(site.path().join("again/ehos-tick.1")).unwrap();
    assert_eq!(again, tick);
    site.run(&["man", "ehos.yaml/pages"])
        .exits(1)
        .warns("ehos.yaml/pages: cannot be created");
}

#[test]
fn completions_know_commands_and_flags() {
    let site = Site::simulated();
    for (shell, head) in [
        ("bash", "_ehos()"),
        ("zsh", "#compdef ehos"),
        ("fish", "complete -c ehos"),
    ] {
        site.run(&["completions", shell])
            .exits(0)
            .warns_nothing()
            .says(head)
            .says("trust-silence")
            .says("credential-drop-in");
    }
    site.run(&["completions", "elvish"]).exits(2);
    let file = site.path().join("ehos.bash");
    std::fs::write(&file, site.run(&["completions", "bash"]).stdout).unwrap();
    let script = format!(
        ". {}; COMP_WORDS=(ehos tick --trust-s); COMP_CWORD=2; _ehos ehos --trust-s tick; echo \"${{COMPREPLY[@]}}\"",
        file.display()
    );
    let output = std::process::Command::new("bash")
        .args(["-c", &script])
        .output();
    let Ok(output) = output else {
        println!("skipped: bash is not installed");
        return;
    };
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("--trust-silence"), "{said}");
}

#[test]
fn colors_are_where_they_are_wanted() {
    const RED: &str = "\u{1b}[31m";
    const BOLD: &str = "\u{1b}[1m";
    // A quarter of an hour in which the cloud does not answer.
    let site = Site::with_cloud("http://127.0.0.1:1");
    let tick = |site: &Site, more: &[&str]| site.tick(&[&["--dry-run"], more].concat());
    let files = ["--config", "ehos.yaml", "--state-dir", "state"];
    let plain = tick(&site, &[]);
    plain.never_says("\u{1b}");
    let colored = tick(&site, &["--color", "always"]);
    colored
        .says(&format!("{BOLD}queue\u{1b}[0m"))
        .says("\u{1b}[33munknown");
    // A flag before the command is the same, and wins over the variables.
    let site = site.set("NO_COLOR", "1");
    site.run(&[&["--color=always", "tick", "-n"], &files[..]].concat())
        .says(BOLD);
    tick(&site, &[]).never_says("\u{1b}");
    let site = site.set("NO_COLOR", "").set("CLICOLOR_FORCE", "1");
    tick(&site, &[]).says(BOLD);
    tick(&site, &["--color", "never"]).never_says("\u{1b}");
    site.run(&[&["check"], &files[..]].concat()).says(RED);
    // Help and errors of the command line, too.
    site.run(&["--color", "always", "--help"])
        .exits(0)
        .says("\u{1b}[");
    site.run(&["--color", "never", "tok"])
        .exits(2)
        .never_says("\u{1b}");
    site.run(&["--color", "always", "tok"])
        .exits(2)
        .warns("\u{1b}[");
    tick(&site, &["--color", "sometimes"]).exits(2);
}

#[test]
fn a_journal_has_levels_and_no_colors() {
    let site = Site::simulated().set("CLICOLOR_FORCE", "1");
    let file = std::fs::File::create(site.path().join("journal")).unwrap();
    let stat = rustix::fs::fstat(&file).unwrap();
    let mut tick = site.command(&[]);
    tick.env("JOURNAL_STREAM", format!("{}:{}", stat.st_dev, stat.st_ino))
        .stdout(file);
    assert!(tick.status().unwrap().success());
    let journal = std::fs::read_to_string(site.path().join("journal")).unwrap();
    assert!(journal.starts_with("<6>note "), "{journal}");
    assert!(journal.contains("\n<6>queue "), "{journal}");
    assert!(!journal.contains('\u{1b}'), "{journal}");
}

#[test]
fn quiet_prints_problems_only() {
    let well = Site::simulated();
    well.tick(&["--quiet"]).exits(0).is_silent();
    well.tick(&["-q"]).exits(0).is_silent();
    // What programs read is the same.
    assert!(well.tick(&["-q", "-n", "-o", "json"]).exits(0).json()["nodes"].is_array());
    let ill = Site::with_cloud("http://127.0.0.1:1");
    let run = ill.tick(&["--quiet", "--dry-run"]);
    run.says("unknown  cloud").never_says("queue  ");
    let check = ill.run(&[
        "check",
        "-q",
        "--config",
        "ehos.yaml",
        "--state-dir",
        "state",
    ]);
    check.says("FAILED").never_says(" ok  ");
    ill.tick(&["-q", "-v"]).exits(2);
}

#[test]
fn a_release_names_its_revision() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // build.rs alone, as cargo runs it.
    let rustc = std::path::Path::new(&cargo).with_file_name("rustc");
    let rustc = if rustc.exists() {
        rustc
    } else {
        "rustc".into()
    };
    let program = path("build");
    let source = crate::harness::repository().join("build.rs");
    let built = std::process::Command::new(rustc)
        .args(["--edition", "2024", "-o"])
        .args([&program, &source])
        .status();
    assert!(built.unwrap().success());
    let said = |variables: &[(&str, &str)]| {
        let output = std::process::Command::new(&program)
            .current_dir(folder.path())
            .env_remove("SOURCE_DATE_EPOCH")
            .env_remove("EHOS_REVISION")
            .env("CARGO_PKG_VERSION", "0.1.0")
            .env("GIT_CEILING_DIRECTORIES", folder.path().parent().unwrap())
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        let version = said
            .lines()
            .find_map(|line| line.strip_prefix("cargo:rustc-env=EHOS_VERSION="));
        version.map(str::to_owned)
    };
    let release = ("PROFILE", "release");
    // Outside git.
    assert_eq!(said(&[release]), None);
    let given = ("EHOS_REVISION", "0123456789ab");
    assert_eq!(said(&[given]).as_deref(), Some("0.1.0 (0123456789ab)"));
    for (seconds, day) in [
        ("0", "1970-01-01"),
        ("1709164800", "2024-02-29"),
        ("4102444799", "2099-12-31"),
    ] {
        let said = said(&[release, given, ("SOURCE_DATE_EPOCH", seconds)]);
        assert_eq!(said, Some(format!("0.1.0 (0123456789ab {day})")));
    }
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@b"])
            .args(arguments)
            .current_dir(folder.path())
            .env("GIT_COMMITTER_DATE", "2026-11-29T12:00:00Z")
            .output();
        output.is_ok_and(|output| output.status.success())
    };
    if !(git(&["init", "-q"]) && git(&["commit", "-q", "--allow-empty", "-m", "x"])) {
        println!("skipped: git is not installed");
        return;
    }
    let version = said(&[release]).unwrap();
    assert!(version.ends_with(" 2026-11-29)"), "{version}");
    assert_eq!(
        version.len(),
        "0.1.0 (0123456789ab 2026-11-29)".len(),
        "{version}"
    );
    // A developer's build is not made anew at each commit.
    assert_eq!(said(&[("PROFILE", "debug")]), None);
}
