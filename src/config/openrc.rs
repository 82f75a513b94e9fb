//! openrc (keystone) files of dashboards: the variables that they set. They are parsed, never executed.

use std::collections::BTreeMap;
use std::path::Path;

use super::environment::Environment;
use super::error::{Error, Place, Problem};

/// The variables that the openrc file sets, with what its own lines and `env` put in the place of `$NAME`.
///
/// # Errors
/// When it cannot be read, sets no `OS_AUTH_URL`, or leaves a value of an `OS_*` variable to the shell.
pub fn variables(path: &Path, env: &Environment) -> Result<BTreeMap<String, String>, Error> {
    let text = std::fs::read_to_string(path).map_err(|error| Problem::unreadable(path, &error))?;
    let variables = parse(path, &text, &env.variables)?;
    if !variables.contains_key("OS_AUTH_URL") {
        return Err(Problem::of_file(
            path,
            "is no openrc file: it sets no OS_AUTH_URL; download one in the dashboard (API access), or name an entry \
             of clouds.yaml with --os-cloud",
        )
        .into());
    }
    Ok(variables)
}

fn parse(
    path: &Path,
    text: &str,
    outside: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Error> {
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    // Editors of Windows begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.lines().enumerate() {
        let mut rest = line.trim();
        if let Some(names) = rest.strip_prefix("unset ") {
            for name in names.split_whitespace() {
                variables.remove(name);
            }
            continue;
        }
        rest = rest.strip_prefix("export ").unwrap_or(rest).trim_start();
        while let Some((name, after)) = assignment(rest) {
            let known = |name: &str| variables.get(name).or_else(|| outside.get(name));
            let (value, after) = match word(after, &known) {
                Some(word) => word,
                None if name.starts_with("OS_") => {
                    return Err(Problem {
                        file: Some(path.to_owned()),
                        place: Some(Place {
                            line: index + 1,
                            column: 1,
                        }),
                        key: Some(name.to_owned()),
                        what: "its value is left to the shell, and ehos does not run this file: put the value itself \
                               there, between single quotes (a `'` in it is written `'\\''`)"
                            .to_owned(),
                    }
                    .into());
                }
                // Nothing of ours.
                None => break,
            };
            if value.is_empty() {
                variables.remove(name);
            } else {
                variables.insert(name.to_owned(), value);
            }
            rest = after.trim_start_matches([' ', '\t', ';']);
            rest = rest.strip_prefix("export ").unwrap_or(rest);
        }
    }
    // The names that Keystone v2 had for it.
    for (old, new) in [
        ("OS_TENANT_NAME", "OS_PROJECT_NAME"),
        ("OS_TENANT_ID", "OS_PROJECT_ID"),
    ] {
        if let Some(value) = variables.remove(old) {
            variables.entry(new.to_owned()).or_insert(value);
        }
    }
    Ok(variables)
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
            ' ' | '\t' | ';' if !quoted => break,
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
        parse(Path::new("openrc.sh"), text, &outside).unwrap()
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
        }
    }
}
