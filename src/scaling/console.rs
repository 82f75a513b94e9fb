//! Finds the cause of a failure in a console. Pure: reads text that a machine wrote.
//!
//! Owns: the lines that cloud-init, the kernel and ehos's own templates print when something fails.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Characters of a console that go into a report.
pub const MAX_CHARS: usize = 200;

/// Who says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsoleSource {
    /// The template of the node (`EHOS: FAILED: …`).
    Node,
    /// The kernel, or what runs before the system.
    Boot,
    /// cloud-init, of a part of the user data.
    CloudInit,
    /// Nobody says what failed, and its first boot is finished: the line that says so.
    Finished,
    /// Nobody says what failed: the last line that says anything.
    LastLine,
    /// The console is empty.
    Empty,
}

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleExcerpt {
    /// Who says it.
    pub source: ConsoleSource,
    /// The line; at most [`MAX_CHARS`] characters, none of them a control character.
    pub text: String,
}

impl ConsoleExcerpt {
    /// Whether it names the cause.
    pub fn is_cause(&self) -> bool {
        match self.source {
            ConsoleSource::Node | ConsoleSource::Boot | ConsoleSource::CloudInit => true,
            ConsoleSource::Finished | ConsoleSource::LastLine | ConsoleSource::Empty => false,
        }
    }
}

impl fmt::Display for ConsoleExcerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            ConsoleSource::Node | ConsoleSource::Boot => f.write_str(&self.text),
            ConsoleSource::CloudInit => write!(f, "cloud-init: {}", self.text),
            ConsoleSource::Finished => write!(f, "cloud-init finished ({})", self.text),
            ConsoleSource::LastLine => write!(f, "last line of the console: {:?}", self.text),
            ConsoleSource::Empty => f.write_str("empty console"),
        }
    }
}

/// The line that ehos's own templates print when something cannot be done; what follows says what.
pub const FAILED: &str = "EHOS: FAILED";

/// What the final message of ehos's own templates begins with.
const FINISHED: &str = "The EHOS vm is up after";

/// What cloud-init says on the console when a part of the user data fails; all of its modules and scripts end in one
/// of these. Of a `runcmd` it judges the last command only.
const FAILURES: [&[&str]; 6] = [
    &["Failure when attempting to install packages"],
    &["Running module ", " failed"],
    &["Failed to run module "],
    &["Failed running /var/lib/cloud/"],
    &["Failed loading yaml blob"],
    &["Failed at merging in cloud config part"],
];

/// The levels of cloud-init's log lines that reach the console.
const LEVELS: [&str; 3] = ["[WARNING]: ", "[ERROR]: ", "[CRITICAL]: "];

/// What the kernel, its boot loader and its first processes print when there is no going on (Linux `panic()`, systemd and
/// dracut, GRUB, SeaBIOS and OVMF).
const BOOT_FAILURES: [&str; 9] = [
    "Kernel panic - not syncing",
    "VFS: Unable to mount root fs",
    "You are in emergency mode",
    "Entering emergency mode",
    "dracut-initqueue timeout",
    "No bootable device",
    "Boot failed: not a bootable disk",
    "BdsDxe: No bootable option or device was found",
    "grub rescue>",
];

/// The `count` lines that say something up to the one that says what failed; where none does, the last ones.
pub fn before_failure(console: &str, count: usize) -> String {
    let said: Vec<&str> = console
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let ours = said.iter().position(|line| line.contains(FAILED));
    let failed = ours.or_else(|| said.iter().position(|line| is_failure(line)));
    let end = failed.map_or(said.len(), |at| at + 1);
    let first = end.saturating_sub(count);
    said.get(first..end).unwrap_or_default().join("\n")
}

/// What a whole console says of why its machine is not what it was to be: the words of the node's template, else of the
/// kernel or cloud-init, else the last line that says anything.
pub fn excerpt(console: &str) -> ConsoleExcerpt {
    let found = |source, text: &str| {
        let text = cleaned(text);
        (!text.is_empty()).then_some(ConsoleExcerpt { source, text })
    };
    let lines = || console.lines();
    let node = || {
        let line = lines().find_map(|line| line.split_once(FAILED))?.1;
        found(ConsoleSource::Node, line.trim_start_matches([':', ' ']))
    };
    let boot = || {
        let fatal = |line: &&str| BOOT_FAILURES.iter().any(|words| line.contains(words));
        found(ConsoleSource::Boot, &told(lines().find(fatal)?))
    };
    let cloud_init = || {
        let line = lines().find(|line| is_failure(line))?;
        found(ConsoleSource::CloudInit, &told(line))
    };
    let finished = || {
        let line = lines().rfind(|line| line.contains(FINISHED) || is_own_final_message(line));
        found(ConsoleSource::Finished, &told(line?))
    };
    let last = || {
        let meaningful = || lines().rev().filter(|line| is_meaningful(line));
        // What has a clock before it is of the kernel or of cloud-init; what has none may be a greeting.
        let mut clocked = meaningful().filter(|line| line.trim_start().starts_with('['));
        let last = clocked.next().or_else(|| meaningful().next())?;
        found(ConsoleSource::LastLine, &told(last))
    };
    node()
        .or_else(boot)
        .or_else(cloud_init)
        .or_else(finished)
        .or_else(last)
        .unwrap_or(ConsoleExcerpt {
            source: ConsoleSource::Empty,
            text: String::new(),
        })
}

/// Whether a line is more than what every first boot prints: keys and their art, tables of cloud-init, log-in prompts.
fn is_meaningful(line: &str) -> bool {
    const OF_KEYS: [&str; 9] = [
        "SSH HOST KEY",
        "ssh-rsa ",
        "ssh-ed25519 ",
        "ssh-dss ",
        "ecdsa-sha2-",
        "SHA256:",
        "Generating public/private",
        "Your identification has been saved",
        "Your public key has been saved",
    ];
    let said = told(line);
    let words = said.chars().filter(|c| c.is_alphanumeric()).count();
    let prompt = said.ends_with("login:") || said.starts_with("Password:");
    let is_art = said.starts_with(['|', '+']) || said.starts_with("The key");
    let is_table = said.starts_with("ci-info:") || said.starts_with("<14>");
    words > 2
        && !(prompt || is_art || is_table)
        && !OF_KEYS.iter().any(|words| said.contains(words))
}

/// A line of a machine for a report: of bounded length, without control characters or such as change the direction of the
/// text beside it.
fn cleaned(line: &str) -> String {
    let line = without_colours(line);
    let hidden = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let shown = line.chars().map(|c| if c.is_control() { ' ' } else { c });
    let shown: String = shown.filter(|c| !hidden(*c)).collect();
    // A word of this length is a key or a token: its beginning suffices to identify it.
    let word = |word: &str| match word.char_indices().nth(64) {
        Some(_) => word.chars().take(16).chain(['…']).collect(),
        None => word.to_owned(),
    };
    let words: Vec<String> = shown.split_whitespace().map(word).collect();
    let text = words.join(" ");
    match text.char_indices().nth(MAX_CHARS) {
        Some(_) => text.chars().take(MAX_CHARS - 1).chain(['…']).collect(),
        None => text,
    }
}

/// Without what colours text (`ESC [ 0;32 m`). Nova may have taken the ESC away.
fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('[') {
        let codes = after.find(|c: char| !(c.is_ascii_digit() || c == ';'));
        let colour = codes.and_then(|end| after.get(end..)?.strip_prefix('m'));
        plain.push_str(before.trim_end_matches('\u{1b}'));
        match colour {
            Some(after) => rest = after,
            None => {
                plain.push('[');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

pub fn is_failure(line: &str) -> bool {
    let of_cloud_init = FAILURES.iter().any(|words| {
        let mut rest = line;
        words.iter().all(|word| match rest.split_once(word) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => false,
        })
    });
    // Some of these words are anybody's; as a log line of cloud-init they have its level before them.
    (of_cloud_init && LEVELS.iter().any(|level| line.contains(level))) || is_failed_unit(line)
}

/// systemd's line of a stage of cloud-init that ended badly: it crashed, or a module of it failed.
fn is_failed_unit(line: &str) -> bool {
    let Some((_, unit)) = line.split_once("Failed to start ") else {
        return false;
    };
    let unit = unit.to_lowercase();
    // Older ones have descriptions of their own: "Execute cloud user/final scripts", "Apply the settings specified in
    // cloud-config", "Initial cloud-init job".
    line.contains("FAILED")
        && [
            "cloud-init",
            "cloud-final",
            "cloud-config",
            "cloud user/final",
        ]
        .iter()
        .any(|name| unit.contains(name))
}

/// cloud-init's default (`final_message` in its reference).
pub fn is_own_final_message(line: &str) -> bool {
    line.contains("Cloud-init v.") && line.contains(" finished at ")
}

/// A line without what the kernel's clock, the journal, a login prompt and cloud-init's log put before it.
pub fn told(line: &str) -> String {
    let said = match line.split_once("] cloud-init[") {
        Some((_, rest)) => rest.split_once("]: ").map_or(line, |(_, text)| text),
        None => line,
    };
    // The kernel's clock.
    let said = match said
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "))
    {
        Some((clock, text)) if clock.trim().parse::<f64>().is_ok() => text,
        _ => said,
    };
    let said = LEVELS
        .iter()
        .find_map(|level| said.split_once(level))
        .map_or(said, |(_, text)| text);
    // The path of a module of cloud-init is no help.
    let said = match said.split_once(" (<module ") {
        Some((before, rest)) => rest
            .split_once(">)")
            .map_or_else(|| said.to_owned(), |(_, after)| format!("{before}{after}")),
        None => said.to_owned(),
    };
    said.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A console of a machine with Debian 13, recorded.
    fn recorded(name: &str) -> String {
        let file = format!(
            "{}/../../tests/fixtures/console/{name}.txt",
            env!("CARGO_MANIFEST_DIR")
        );
        std::fs::read_to_string(file).unwrap()
    }

    fn excerpt_of(console: &str) -> (ConsoleSource, String) {
        let ConsoleExcerpt { source, text } = excerpt(console);
        (source, text)
    }

    #[test]
    fn the_words_of_the_template_go_before_all_others() {
        let console = "[   10.0] cloud-init[400]: 2026-11-29 10:00:00,000 - util.py[WARNING]: Running module x (<module 'y' from \
                       'z'>) failed\n[   12.1] cloud-init[400]: EHOS: FAILED: HTCondor is not in this image; make one with \
                       base.yaml\nKernel panic - not syncing: late\n+--[RSA 3072]----+\n|   .o=.  |\nnode login: ";
        assert_eq!(
            excerpt_of(console),
            (
                ConsoleSource::Node,
                "HTCondor is not in this image; make one with base.yaml".to_owned()
            )
        );
        assert_eq!(
            excerpt_of("EHOS: FAILED: first\nEHOS: FAILED: second").1,
            "first",
            "the first is the cause of those that follow"
        );
        let (source, text) = excerpt_of(&recorded("powered-off"));
        assert_eq!(source, ConsoleSource::Node);
        assert_eq!(
            text,
            "this server cannot become an image, see the lines above"
        );
        // Words without any are none.
        assert_eq!(
            excerpt_of("EHOS: FAILED:\nKernel panic - not syncing: x").0,
            ConsoleSource::Boot
        );
    }

    #[test]
    fn without_words_of_the_template_the_kernel_or_cloud_init_says_it() {
        for (line, said) in [
            (
                "[    1.234567] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
                "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
            ),
            (
                "You are in emergency mode. After logging in, type \"journalctl -xb\"",
                "You are in emergency mode. After logging in, type \"journalctl -xb\"",
            ),
            (
                "Boot failed: not a bootable disk",
                "Boot failed: not a bootable disk",
            ),
            (
                "BdsDxe: No bootable option or device was found.",
                "BdsDxe: No bootable option or device was found.",
            ),
        ] {
            let console = format!("SeaBIOS (version 1.16)\n{line}\n---[ end ]---\n");
            assert_eq!(excerpt_of(&console), (ConsoleSource::Boot, said.to_owned()));
        }
        let (source, text) = excerpt_of(&recorded("runcmd-fails"));
        assert_eq!(source, ConsoleSource::CloudInit);
        assert_eq!(
            text,
            "Failed to run module scripts-user (scripts in /var/lib/cloud/instance/scripts)"
        );
    }

    #[test]
    fn where_nobody_says_what_failed_the_last_line_is_none_of_the_art_of_keys() {
        for name in ["debian-13-base", "host-keys-debian-13"] {
            // Buffered output of children comes after the final message.
            let console = recorded(name);
            let (source, text) = excerpt_of(&console);
            assert_eq!(source, ConsoleSource::Finished);
            assert!(text.starts_with(FINISHED), "{text}");
            let unfinished = console.replace(FINISHED, "#");
            let (source, text) = excerpt_of(&unfinished);
            assert_eq!(source, ConsoleSource::LastLine, "{name}");
            let art = [
                "|",
                "+--",
                "SHA256",
                "ssh-",
                "BEGIN SSH",
                "END SSH",
                "login:",
                "ci-info",
            ];
            assert!(!art.iter().any(|art| text.contains(art)), "{name}: {text}");
        }
        assert_eq!(excerpt_of("").0, ConsoleSource::Empty);
        assert_eq!(
            excerpt_of("[\u{1b}[0;32m  OK  \u{1b}[0m] Reached target [0;1;39mcloud-init.target[0m - Cloud-init target.\n\nDebian GNU/Linux 13\n").1,
            "[ OK ] Reached target cloud-init.target - Cloud-init target."
        );
        for plain in ["[31", "[31;", "a [b] [m", "]["] {
            assert_eq!(without_colours(plain), plain.replace("[m", ""));
        }
        assert_eq!(
            excerpt_of(" \n\t\n|  o+=.  |\n+----[SHA256]-----+\nnode login: ").0,
            ConsoleSource::Empty
        );
        assert_eq!(
            excerpt_of("[   42.9] cloud-init[105]: Fetched 9819 kB\nnode login: "),
            (ConsoleSource::LastLine, "Fetched 9819 kB".to_owned())
        );
    }

    #[test]
    fn what_a_machine_says_is_bounded_and_has_no_control_characters() {
        let hostile = format!(
            "EHOS: FAILED: \u{1b}[31mred\u{7}\u{202e}drow\u{200b}\t a  b {}",
            "xy ".repeat(5000)
        );
        let (_, text) = excerpt_of(&hostile);
        assert_eq!(text.chars().count(), MAX_CHARS);
        assert!(text.starts_with("red drow a b xy xy"), "{text}");
        assert!(text.ends_with('…'));
        let token = format!(
            "EHOS: FAILED: eyJhbGciOiJIUzI1NiIs{} is no token",
            "A".repeat(200)
        );
        assert_eq!(excerpt_of(&token).1, "eyJhbGciOiJIUzI1… is no token");
    }

    #[test]
    fn what_led_to_a_failure() {
        assert_eq!(before_failure("a\n\nb\n \nc\n", 2), "b\nc");
        assert_eq!(before_failure("", 2), "");
        let console = recorded("runcmd-fails");
        let told = before_failure(&console, 2);
        let lines: Vec<&str> = told.lines().collect();
        assert!(lines[0].ends_with("something is missing"), "{told}");
        assert!(
            lines[1].contains("Failed to run module scripts-user"),
            "{told}"
        );
        assert!(before_failure(&recorded("powered-off"), 3).ends_with("see the lines above"));
    }
}
