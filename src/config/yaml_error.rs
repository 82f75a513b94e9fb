//! Messages of the YAML parser in words of the configuration, and hints for unknown keys.

use std::path::Path;

use super::error::Diagnostic;
use super::table::{CLOUD, CONDOR, DAEMON, EHOS};
use super::text;
use keys::Table;
use system::advice::Advice;

/// Each section's keys, for hints.
static SECTIONS: [(&str, &Table); 4] = [
    ("clouds.NAME:", &CLOUD),
    ("ehos:", &EHOS),
    ("daemon:", &DAEMON),
    ("condor:", &CONDOR),
];

/// What could be meant by `unknown` where the keys `known` can stand.
pub(super) fn hint<T: AsRef<str>>(unknown: &str, known: &[T]) -> Advice {
    if let Some((_, blank)) = text::odd_blank_in(unknown) {
        let problem = format!("there is no such key: there is {blank} in it");
        return (problem, "put a space in its place").into();
    }
    let known: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
    let mut sections = SECTIONS.iter();
    let elsewhere = sections.find(|(_, table)| table.find(unknown).is_some());
    let hint = match (elsewhere, nearest(unknown, &known, 0.8)) {
        (Some((section, _)), _) => format!("it belongs under `{section}`"),
        (None, Some(key)) => format!("the nearest known key is `{key}`"),
        (None, None) => format!("the known keys here are {}", known.join(", ")),
    };
    ("there is no such key", hint).into()
}

/// The known key that is most like this one, when it is more like it than `least`.
pub(super) fn nearest<'k>(unknown: &str, known: &[&'k str], least: f64) -> Option<&'k str> {
    let likeness = |key: &str| strsim::jaro_winkler(unknown, key);
    let alike = known.iter().copied().filter(|key| likeness(key) > least);
    alike.max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

/// The parser's error in words of the configuration.
pub(super) fn explain(path: &Path, source: &str, error: &yaml::Error) -> Diagnostic {
    let mut what = error.to_string();
    if let Some(at) = error.place {
        what = what.replace(&format!(" at line {} column {}", at.line, at.column), "");
    }
    // The parser puts the path to where it was before its message.
    let (mut key, what) = match what.split_once(": ") {
        Some((key, rest)) if !key.contains([' ', '`']) => (Some(key.to_owned()), rest.to_owned()),
        _ => (None, what),
    };
    let line = error
        .place
        .and_then(|place| source.lines().nth(place.line.saturating_sub(1)));
    let what = if what.starts_with("unknown field `") {
        // Of a simulated site, which serde reads.
        let mut quoted = what.split('`').skip(1).step_by(2);
        let unknown = quoted.next().unwrap_or_default();
        key = Some(key.map_or_else(|| unknown.to_owned(), |key| format!("{key}.{unknown}")));
        hint(unknown, &quoted.collect::<Vec<&str>>())
    } else if what.contains("more than one document") {
        (
            "has several YAML documents (`---`)",
            "keep one (more of ehos.yaml can stand in files of its own in ehos.d)",
        )
            .into()
    } else if let Some((_, blank)) = line.and_then(text::odd_blank_in) {
        let remedy = format!("put a space in the place of {blank} in this line");
        (what, remedy).into()
    } else if line.is_some_and(|line| line.contains('\t')) {
        (what, "indent this line by spaces, not by a tab").into()
    } else if line.is_some_and(|line| line.contains(": <")) {
        (
            what,
            "put the real value in the place of a placeholder in `< >`",
        )
            .into()
    } else {
        what.into()
    };
    Diagnostic {
        place: error.place,
        key: key.map(String::into_boxed_str),
        ..Diagnostic::of_file(path, what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document;

    fn problem(text: &str) -> String {
        let path = Path::new("e.yaml");
        match document::read(path, text, 0) {
            Ok(found) => [found.unknown, found.wrong].concat()[0].to_string(),
            Err(problem) => problem.to_string(),
        }
    }

    #[test]
    fn mistakes_are_explained_in_place() {
        for (text, expected) in [
            (
                "daemon:\n  nodes_mx: 3\n",
                "2:3: daemon.nodes_mx: there is no such key; the nearest known key is `nodes_max`",
            ),
            (
                "ehos:\n  idle_timeout: 3\n",
                "2:3: ehos.idle_timeout: there is no such key; it belongs under `daemon:`",
            ),
            (
                "cluds: {}\n",
                "1:1: cluds: there is no such key; the nearest known key is `clouds`",
            ),
            (
                "condor:\n  zzzz: 1\n",
                "2:3: condor.zzzz: there is no such key; the known keys here are host_ip, pool, high_availability, schedds, \
                 job_constraint, bin, event_log, trust_domain, token_key, token_key_directory, token_identity, \
                 token_lifetime, match_requirements, universes, token, token_file, password, password_file, scale_down",
            ),
            (
                "clouds:\n  a:\n    auth:\n      usernam: x\n",
                "4:7: clouds.a.auth.usernam: there is no such key; the nearest known key is `username`",
            ),
            (
                "clouds:\n  a:\n    auth: hunter2\n",
                "3:5: clouds.a.auth: must be a mapping of keys to values",
            ),
            (
                "condor:\n  password: {password}\n",
                "2:3: condor.password: must be one value, and is a mapping; put the real value in the place \
                 of braces, or `None`",
            ),
            (
                "ehos:\n  flavor: <NAME, EG: m1.medium>\n",
                "2:20: mapping values are not allowed in this context; put the real value in the place of a \
                 placeholder in `< >`",
            ),
            (
                "ehos:\n  flavor: a\n  flavor: b\n",
                "2:3: ehos.flavor: this key is given twice",
            ),
            (
                "clouds:\n  a: {}\n  a: {}\n",
                "2:3: clouds.a: this key is given twice",
            ),
            (
                "daemon:\n\tnodes_max: 1\n",
                "2:1: found character that cannot start any token, while scanning for the next token; indent \
                 this line by spaces, not by a tab",
            ),
            (
                "clouds: 5\n",
                "1:1: clouds: must be a mapping of names to clouds",
            ),
            ("- a\n", "must be a mapping of keys to values"),
        ] {
            let found = problem(text);
            assert!(
                found
                    .strip_prefix("e.yaml:")
                    .is_some_and(|rest| rest.trim_start() == expected),
                "{found}"
            );
        }
    }
}
