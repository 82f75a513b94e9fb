//! openrc (keystone) files of dashboards: the variables that they set. They are parsed, never executed.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::{Diagnostic, Error};
use super::text;
use system::advice::Advice;
use system::environment::Environment;
use yaml::Place;

/// What an openrc file sets.
#[derive(Debug, Default)]
pub struct Openrc {
    /// The values of variables.
    pub variables: BTreeMap<String, String>,
    /// The lines that set them, from 1.
    pub lines: BTreeMap<String, usize>,
    /// Lines that are not read, and why.
    pub notes: Vec<Diagnostic>,
}

/// The variables that the openrc file sets, with what its own lines and `env` put in the place of `$NAME`.
///
/// # Errors
/// When it cannot be read, sets no `OS_AUTH_URL`, or leaves a value of an `OS_*` variable to the shell.
pub fn variables(path: &Path, env: &Environment) -> Result<Openrc, Error> {
    let text = text::read(path)?;
    let openrc = parse(path, &text, &env.variables)?;
    let by_entry = openrc.variables.contains_key("OS_CLOUD");
    if !openrc.variables.contains_key("OS_AUTH_URL") && !by_entry {
        let what = (
            "is not an openrc file: it sets no OS_AUTH_URL",
            "download one in the dashboard (API access), or name an entry of clouds.yaml with --os-cloud",
        );
        // What was not read may be what sets it.
        let mut problems = vec![Diagnostic::of_file(path, what)];
        problems.extend(openrc.notes);
        return Err(Error { problems });
    }
    Ok(openrc)
}

fn parse(path: &Path, text: &str, outside: &BTreeMap<String, String>) -> Result<Openrc, Error> {
    let text = text.strip_prefix(text::BYTE_ORDER_MARK).unwrap_or(text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut shell = Shell {
        path,
        outside,
        openrc: Openrc::default(),
        blocks: Vec::new(),
    };
    let mut rest = text.as_str();
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', ';', '&', '|', '(', ')']);
        if rest.is_empty() {
            break;
        }
        let line = text.len() - rest.len();
        let line = text.get(..line).unwrap_or_default().matches('\n').count() + 1;
        let (command, after) = shell.command(rest);
        shell.run(command, line)?;
        rest = after;
    }
    Ok(shell.openrc)
}

/// A part of a command; what only a shell can tell is `None`.
enum Token {
    Assignment(String, Option<String>),
    Word(Option<String>),
}

/// A block that is open, and whether what stands in it counts; `None`: only a shell can tell.
struct Block {
    counts: Option<bool>,
    /// Whether a branch of it has counted.
    taken: Option<bool>,
}

/// So much of a shell as openrc files have.
struct Shell<'o> {
    path: &'o Path,
    outside: &'o BTreeMap<String, String>,
    openrc: Openrc,
    blocks: Vec<Block>,
}

impl Shell<'_> {
    /// The command that `text` begins with, and what follows it.
    fn command<'t>(&self, text: &'t str) -> (Vec<Token>, &'t str) {
        let mut tokens = Vec::new();
        let mut rest = text;
        // What the command itself has set counts in it, as `export A=b C=$A` has it.
        let mut own: BTreeMap<String, String> = BTreeMap::new();
        loop {
            rest = rest.trim_start_matches([' ', '\t']);
            // A line that goes on.
            if let Some(after) = rest.strip_prefix("\\\n") {
                rest = after;
                continue;
            }
            if rest.is_empty() || rest.starts_with(['\n', ';', '&', '|', '(', ')']) {
                return (tokens, rest);
            }
            if rest.starts_with('#') {
                return (tokens, after_line(rest));
            }
            let variables = &self.openrc.variables;
            let known = |name: &str| {
                own.get(name)
                    .or_else(|| variables.get(name))
                    .or_else(|| self.outside.get(name))
            };
            let (token, after) = match assignment(rest) {
                Some((name, value)) => match word(value, &known) {
                    Some((value, after)) => {
                        (Token::Assignment(name.to_owned(), Some(value)), after)
                    }
                    None => {
                        tokens.push(Token::Assignment(name.to_owned(), None));
                        return (tokens, after_line(rest));
                    }
                },
                None => match word(rest, &known) {
                    Some((value, after)) => (Token::Word(Some(value)), after),
                    None => {
                        tokens.push(Token::Word(None));
                        return (tokens, after_line(rest));
                    }
                },
            };
            if let Token::Assignment(name, Some(value)) = &token {
                own.insert(name.clone(), value.clone());
            }
            tokens.push(token);
            rest = after;
        }
    }

    /// Whether what stands here counts.
    fn counts(&self) -> Option<bool> {
        let is = |counts: Option<bool>| move |block: &Block| block.counts == counts;
        if self.blocks.iter().any(is(Some(false))) {
            Some(false)
        } else if self.blocks.iter().any(is(None)) {
            None
        } else {
            Some(true)
        }
    }

    fn run(&mut self, mut tokens: Vec<Token>, line: usize) -> Result<(), Error> {
        let first = match tokens.first() {
            Some(Token::Word(Some(word))) => word.clone(),
            Some(Token::Assignment(..)) => {
                // Before a command they are that command's alone.
                let alone = tokens
                    .iter()
                    .all(|token| matches!(token, Token::Assignment(..)));
                return if alone {
                    self.assign(tokens, line)
                } else {
                    Ok(())
                };
            }
            Some(Token::Word(None)) | None => return Ok(()),
        };
        tokens.remove(0);
        match first.as_str() {
            "if" => {
                let holds = condition(&tokens);
                self.blocks.push(Block {
                    counts: holds,
                    taken: holds,
                });
            }
            "elif" | "else" => {
                let holds = if first == "else" {
                    Some(true)
                } else {
                    condition(&tokens)
                };
                if let Some(block) = self.blocks.last_mut() {
                    block.counts = match block.taken {
                        Some(true) => Some(false),
                        Some(false) => holds,
                        None => None,
                    };
                    block.taken = match (block.taken, holds) {
                        (Some(true), _) | (_, Some(true)) => Some(true),
                        (Some(false), Some(false)) => Some(false),
                        _ => None,
                    };
                }
                if first == "else" {
                    return self.run(tokens, line);
                }
            }
            "then" | "do" | "!" | "{" | "time" => return self.run(tokens, line),
            "for" | "while" | "until" | "case" | "select" => self.blocks.push(Block {
                counts: None,
                taken: None,
            }),
            "fi" | "done" | "esac" => drop(self.blocks.pop()),
            "export" | "declare" | "typeset" | "readonly" | "local" => {
                return self.assign(tokens, line);
            }
            "unset" if self.counts() == Some(true) => {
                for token in tokens {
                    if let Token::Word(Some(name)) = token {
                        self.openrc.variables.remove(&name);
                        self.openrc.lines.remove(&name);
                    }
                }
            }
            "source" | "." => {
                let file = match tokens.first() {
                    Some(Token::Word(Some(file))) => format!(" {file}"),
                    _ => String::new(),
                };
                let what = format!("not read: the other file{file}");
                self.note(line, None, (what, "name that one, or put its lines here"));
            }
            _ => {}
        }
        Ok(())
    }

    fn note(&mut self, line: usize, key: Option<&str>, what: impl Into<Advice>) {
        let note = self.problem(line, key, what);
        self.openrc.notes.push(note);
    }

    fn problem(&self, line: usize, key: Option<&str>, what: impl Into<Advice>) -> Diagnostic {
        Diagnostic {
            place: Some(Place { line, column: 1 }),
            key: key.map(Box::from),
            ..Diagnostic::of_file(self.path, what)
        }
    }

    fn assign(&mut self, tokens: Vec<Token>, line: usize) -> Result<(), Error> {
        for token in tokens {
            let Token::Assignment(name, value) = token else {
                continue;
            };
            let ours = name.starts_with("OS_");
            match (self.counts(), value) {
                (Some(false), _) => {}
                (None, _) if ours => self.note(
                    line,
                    Some(&name),
                    (
                        "not read: it stands in a condition or a loop, which ehos does not run",
                        "put the line outside of it",
                    ),
                ),
                (None, _) => {}
                (Some(true), Some(value)) if value.is_empty() => {
                    self.openrc.variables.remove(&name);
                    self.openrc.lines.remove(&name);
                }
                (Some(true), Some(value)) => {
                    self.openrc.lines.insert(name.clone(), line);
                    self.openrc.variables.insert(name, value);
                }
                (Some(true), None) if ours && !matters(&name) => self.note(
                    line,
                    Some(&name),
                    "not read: only a shell can compute its value, and ehos does not run this file",
                ),
                (Some(true), None) if ours => {
                    let what = (
                        "only a shell can compute its value, and ehos does not run this file",
                        "write the value itself between single quotes (a `'` in it is written `'\\''`)",
                    );
                    return Err(self.problem(line, Some(&name), what).into());
                }
                // Nothing of ours.
                (Some(true), None) => {}
            }
        }
        Ok(())
    }
}

/// What follows the line that `text` begins with. A block that ends at the end of that line ends there, whatever the line says,
/// as `for key in $( set | awk … ); do unset $key ; done` of Kolla has it.
fn after_line(text: &str) -> &str {
    let line = text.find('\n').unwrap_or(text.len());
    let (line, after) = text.split_at_checked(line).unwrap_or((text, ""));
    let end = line.trim_end();
    let block = ["done", "fi", "esac"].into_iter().find(|word| {
        end.strip_suffix(word)
            .is_some_and(|before| before.trim_end().ends_with(';'))
    });
    let at = block.map(|word| end.len().saturating_sub(word.len()));
    at.and_then(|at| text.get(at..)).unwrap_or(after)
}

/// Whether a login, or where it leads, may depend on a variable.
fn matters(name: &str) -> bool {
    const PARTS: [&str; 16] = [
        "AUTH",
        "USER",
        "PASSWORD",
        "PROJECT",
        "TENANT",
        "DOMAIN",
        "CREDENTIAL",
        "TOKEN",
        "REGION",
        "INTERFACE",
        "ENDPOINT",
        "CACERT",
        "INSECURE",
        "VERIFY",
        "TRUST",
        "SCOPE",
    ];
    name == "OS_CLOUD" || PARTS.iter().any(|part| name.contains(part))
}

/// Whether a test holds: of a variable that is empty or not, or of two texts. `None`: only a shell can tell.
fn condition(tokens: &[Token]) -> Option<bool> {
    let words: Option<Vec<&str>> = tokens
        .iter()
        .map(|token| match token {
            Token::Word(word) => word.as_deref(),
            Token::Assignment(..) => None,
        })
        .collect();
    let words = words?;
    let (negated, words) = match words.as_slice() {
        ["!", rest @ ..] => (true, rest),
        all => (false, all),
    };
    let inner = match words {
        ["[", inner @ .., "]"] | ["[[", inner @ .., "]]"] | ["test", inner @ ..] => inner,
        _ => return None,
    };
    let (inner_negated, inner) = match inner {
        ["!", rest @ ..] => (true, rest),
        all => (false, all),
    };
    let holds = match inner {
        ["-z", text] => text.is_empty(),
        ["-n", text] => !text.is_empty(),
        // What is not quoted and empty is no word at all.
        ["-z"] => true,
        ["-n", ..] => return None,
        [a, "=" | "==", b] => a == b,
        [a, "!=", b] => a != b,
        _ => return None,
    };
    Some(holds != (negated != inner_negated))
}

/// The name before the `=` that `text` begins with, and what follows it.
fn assignment(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.split_once('=')?;
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then_some((name, rest))
}

/// The word of the shell that `text` begins with, and what follows it; `None` when only a shell can tell.
fn word<'t, 'k>(
    text: &'t str,
    known: &impl Fn(&str) -> Option<&'k String>,
) -> Option<(String, &'t str)> {
    let mut out = String::new();
    let mut rest = text;
    let mut quoted = false;
    while let Some(c) = rest.chars().next() {
        let after = rest.get(c.len_utf8()..).unwrap_or_default();
        match c {
            '"' => {
                quoted = !quoted;
                rest = after;
            }
            '\'' if !quoted => {
                let (inside, after) = after.split_once('\'')?;
                out.push_str(inside);
                rest = after;
            }
            '\\' => {
                let next = after.chars().next()?;
                // A line that goes on.
                if next == '\n' {
                    rest = after.get(1..).unwrap_or_default();
                    continue;
                }
                // Between double quotes it stands for itself before most characters.
                if quoted && !"\"\\$`".contains(next) {
                    out.push(c);
                }
                out.push(next);
                rest = after.get(next.len_utf8()..).unwrap_or_default();
            }
            // `$'…'` has escapes of its own, and `$"…"` a translation.
            '$' if !quoted && after.starts_with(['\'', '"']) => return None,
            '$' => rest = expansion(after, known, &mut out)?,
            '`' => return None,
            ' ' | '\t' | '\n' | ';' if !quoted => break,
            '&' if !quoted && after.starts_with('&') => break,
            '|' if !quoted && after.starts_with('|') => break,
            // Within a word these end it, and begin something that is no value.
            '&' | '|' | '<' | '>' | '(' | ')' if !quoted => return None,
            _ => {
                out.push(c);
                rest = after;
            }
        }
    }
    (!quoted).then_some((out, rest))
}

/// Puts what the `$` before `text` stands for into `out` and returns what follows.
fn expansion<'t, 'k>(
    text: &'t str,
    known: &impl Fn(&str) -> Option<&'k String>,
    out: &mut String,
) -> Option<&'t str> {
    let end_of_name = |text: &str| {
        text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(text.len())
    };
    if let Some(braced) = text.strip_prefix('{') {
        let (inside, after) = braced.split_once('}')?;
        let (name, operator) = inside.split_at(end_of_name(inside));
        let value = known(name).filter(|value| !value.is_empty());
        match (value, operator) {
            (Some(value), _) if operator.is_empty() || operator.starts_with(":-") => {
                out.push_str(value);
            }
            (None, "") => {}
            (None, _) => {
                let default = operator
                    .strip_prefix(":-")
                    .or_else(|| operator.strip_prefix('-'))?;
                if default.contains(['$', '`']) {
                    return None;
                }
                out.push_str(default.trim_matches(['"', '\'']));
            }
            (Some(value), _) if operator.starts_with('-') => out.push_str(value),
            (Some(_), _) => return None,
        }
        return Some(after);
    }
    // A command, and the shell's own: its number, its arguments, …
    if text.starts_with(|c: char| c.is_ascii_digit() || "($?!#*@-".contains(c)) {
        return None;
    }
    let (name, after) = text.split_at(end_of_name(text));
    if name.is_empty() {
        out.push('$');
    } else if let Some(value) = known(name) {
        out.push_str(value);
    }
    Some(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> BTreeMap<String, String> {
        let outside = BTreeMap::from([("OUTSIDE".to_owned(), "from outside".to_owned())]);
        parse(Path::new("openrc.sh"), text, &outside)
            .unwrap()
            .variables
    }

    #[test]
    fn values_are_read_as_a_shell_would() {
        for (line, value) in [
            ("export A=b", "b"),
            ("A=b", "b"),
            ("  export A='b c'  # why", "b c"),
            ("export A=\"b # c\"", "b # c"),
            ("export A=b # c", "b"),
            ("export A=b#c", "b#c"),
            ("export A=\"b\\\"c\\$d\\e\"", "b\"c$d\\e"),
            ("export A='$B'\\''c'", "$B'c"),
            ("export A=b\\ c", "b c"),
            ("export A=\"b\"'c'd", "bcd"),
            ("export B=x; export A=\"$B/${B}y\"", "x/xy"),
            ("export B=x A=${B:-y}", "x"),
            ("export A=${B:-y}", "y"),
            ("export A=${B-'y z'}", "y z"),
            ("export A=$OUTSIDE", "from outside"),
            ("export A=10$", "10$"),
            ("export A=\"10$\"", "10$"),
            ("export A='a&b|c<d>(e)$$!#'", "a&b|c<d>(e)$$!#"),
            ("export A=\"a&b|c<d>(e)!#\"", "a&b|c<d>(e)!#"),
            ("export A=b && export C=d", "b"),
            ("export A='é😀'\"€\"", "é😀€"),
            ("\u{feff}export A=b\r", "b"),
        ] {
            assert_eq!(
                read(line).get("A").map(String::as_str),
                Some(value),
                "{line}"
            );
        }
        for line in [
            "# export A=b",
            "export A=",
            "export A=$B",
            "A=b\nunset A",
            "if [ -z \"$A=b\" ]; then",
        ] {
            assert_eq!(read(line).get("A"), None, "{line}");
        }
    }

    #[test]
    fn the_files_of_dashboards_are_read() {
        let text = "#!/usr/bin/env bash\n# To use an OpenStack cloud you don't need …\nexport OS_AUTH_URL=https://a:5000\n\
                    export OS_PROJECT_ID=0123\nexport OS_PROJECT_NAME=\"my project\"\nexport OS_USER_DOMAIN_NAME=\"Default\"\n\
                    if [ -z \"$OS_USER_DOMAIN_NAME\" ]; then unset OS_USER_DOMAIN_NAME; fi\n\
                    export OS_PROJECT_DOMAIN_ID=\"default\"\n\
                    if [ -z \"$OS_PROJECT_DOMAIN_ID\" ]; then\n  unset OS_PROJECT_DOMAIN_ID\nfi\n\
                    # unset v2.0 items in case set\nunset OS_TENANT_ID\nunset OS_TENANT_NAME\nexport OS_USERNAME=\"me\"\n\
                    echo \"Please enter your OpenStack Password for project $OS_PROJECT_NAME as user $OS_USERNAME: \"\n\
                    read -sr OS_PASSWORD_INPUT\nexport OS_PASSWORD=$OS_PASSWORD_INPUT\nexport OS_REGION_NAME=\"\"\n\
                    if [ -z \"$OS_REGION_NAME\" ]; then unset OS_REGION_NAME; fi\nexport OS_INTERFACE=public\n\
                    export OS_IDENTITY_API_VERSION=3\n";
        for text in [
            text.to_owned(),
            format!("\u{feff}{}", text.replace('\n', "\r\n")),
        ] {
            let openrc = parse(Path::new("o.sh"), &text, &BTreeMap::new()).unwrap();
            let all: Vec<String> = openrc
                .variables
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            assert_eq!(
                all,
                [
                    "OS_AUTH_URL=https://a:5000",
                    "OS_IDENTITY_API_VERSION=3",
                    "OS_INTERFACE=public",
                    "OS_PROJECT_DOMAIN_ID=default",
                    "OS_PROJECT_ID=0123",
                    "OS_PROJECT_NAME=my project",
                    "OS_USERNAME=me",
                    "OS_USER_DOMAIN_NAME=Default",
                ]
            );
            assert_eq!(openrc.lines["OS_USERNAME"], 15);
            assert!(openrc.notes.is_empty(), "{:?}", openrc.notes);
        }
    }

    #[test]
    fn so_much_of_a_shell_is_understood_as_such_files_have() {
        for (text, a) in [
            ("declare -x A=\"b\"", Some("b")),
            ("typeset -x A=b", Some("b")),
            ("readonly A=b", Some("b")),
            ("export -- A=b", Some("b")),
            ("set -a\nA=b\nset +a", Some("b")),
            ("export X=1 \\\n  A=b", Some("b")),
            ("export A='b\nc'", Some("b\nc")),
            ("export A=\"b\nc\"\nexport X=1", Some("b\nc")),
            ("export X=b A=$X", Some("b")),
            ("export A=b; unset A", None),
            ("A=b command", None),
            (
                "if [ -n \"$OUTSIDE\" ]; then\n export A=b\nelse\n export A=c\nfi",
                Some("b"),
            ),
            (
                "if [ -z \"$OUTSIDE\" ]; then\n export A=b\nelse\n export A=c\nfi",
                Some("c"),
            ),
            (
                "if [[ $OUTSIDE == \"from outside\" ]]; then A=b; fi",
                Some("b"),
            ),
            (
                "if [ x = y ]; then A=b; elif [ x = x ]; then A=c; else A=d; fi",
                Some("c"),
            ),
            ("if ! test -z \"$X\"; then A=b; fi; A=${A:-c}", Some("c")),
            ("[ -z \"$X\" ] && export A=b", Some("b")),
            ("echo it's\nexport X='\nexport A=b", Some("b")),
            ("for x in 1 2; do export A=$x; done", None),
            ("case $X in a) export A=b;; esac", None),
            (
                "for key in $( set | awk '{FS=\"=\"} /^OS_/ {print $1}' ); do unset $key ; done\nA=b",
                Some("b"),
            ),
            ("if [ -n \"$(a)\" ]; then A=c; fi # x\nA=b", None),
            ("if [ -n \"$(a)\" ]; then A=c; fi\nA=b", Some("b")),
            ("for x in $(a); do\nA=c\ndone\nA=b", Some("b")),
        ] {
            assert_eq!(read(text).get("A").map(String::as_str), a, "{text}");
        }
        let notes = |text: &str| {
            let openrc = parse(Path::new("o.sh"), text, &BTreeMap::new()).unwrap();
            openrc
                .notes
                .iter()
                .map(Diagnostic::to_string)
                .collect::<String>()
        };
        let note = notes("#\nif [ -f /etc/ca.pem ]; then\n  export OS_CACERT=/etc/ca.pem\nfi\n");
        assert!(
            note.starts_with("o.sh:3:1: OS_CACERT: not read: it stands in a condition"),
            "{note}"
        );
        let note = notes("source ./secret.sh\n");
        assert!(
            note.starts_with("o.sh:1:1: not read: the other file ./secret.sh"),
            "{note}"
        );
    }

    #[test]
    fn what_only_a_shell_knows_is_refused_where_it_matters() {
        for value in [
            "$(pass show cloud)",
            "`pass`",
            "\"open",
            "${A:?x}",
            "${B:-$(pass)}",
            // In a password these are meant as they are, and a shell takes them for something else.
            "$'a\\tb'",
            "$\"a\"",
            "\"pa$$word\"",
            "\"pass$!\"",
            "a$#",
            "a$1b",
            "a&b",
            "a|b",
            "a<b",
            "a(b",
        ] {
            let text = format!("#\nexport OS_PASSWORD={value}\n");
            let error = parse(Path::new("o.sh"), &text, &BTreeMap::new()).unwrap_err();
            let error = error.to_string();
            assert!(error.starts_with("o.sh:2:1: OS_PASSWORD: "), "{error}");
            assert!(!error.contains("pass show"), "{error}");
            assert!(read(&format!("export X={value}\n")).is_empty());
            // Nor is it refused where no login depends on it.
            let text =
                format!("export OS_COMPUTE_API_VERSION={value}\nexport OS_AUTH_URL=https://a\n");
            let openrc = parse(Path::new("o.sh"), &text, &BTreeMap::new()).unwrap();
            assert_eq!(openrc.variables["OS_AUTH_URL"], "https://a");
            assert_eq!(openrc.notes.len(), 1, "{:?}", openrc.notes);
            assert!(
                openrc.notes[0]
                    .to_string()
                    .starts_with("o.sh:1:1: OS_COMPUTE_API_VERSION: ")
            );
        }
    }
}
