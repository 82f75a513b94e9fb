//! The parser's errors in words of the configuration.

use std::path::Path;

use super::error::{Place, Problem};
use super::{text, unknown};

/// What the parser says, in words of the configuration.
pub(super) fn explain(path: &Path, source: &str, error: &serde_yaml::Error) -> Problem {
    let mut what = error.to_string();
    let mut place = None;
    if let Some(at) = error.location() {
        what = what.replace(
            &format!(" at line {} column {}", at.line(), at.column()),
            "",
        );
        place = Some(Place {
            line: at.line(),
            column: at.column(),
        });
    }
    // serde_yaml puts the path to where it was before its message.
    let (mut key, mut what) = match what.split_once(": ") {
        Some((key, rest)) if !key.contains([' ', '`']) => (Some(key.to_owned()), rest.to_owned()),
        _ => (None, what),
    };
    let child = |key: Option<String>, name: &str| match key {
        Some(parent) => Some(format!("{parent}.{name}")),
        None => Some(name.to_owned()),
    };
    if let Some(twice) = what.strip_prefix("duplicate field `") {
        key = child(key, twice.trim_end_matches('`'));
        what = "this key stands here twice".to_owned();
    } else if what.starts_with("unknown field `") {
        let (unknown, hint) = unknown_key(&what);
        key = child(key, &unknown);
        what = hint;
    } else if !key
        .as_deref()
        .is_some_and(|key| key.starts_with("simulation"))
    {
        // What stands there may be a password.
        what = without_value(&what);
        let line = place.and_then(|place| source.lines().nth(place.line.saturating_sub(1)));
        if line.is_some_and(|line| line.contains(": {")) && what.contains("map") {
            what.push_str("; braces that are to be filled in? Put the real value there, or `None`");
        } else if what.contains("more than one document") {
            what = "has several YAML documents (`---`): keep one (more of ehos.yaml can stand in files of its own in ehos.d)"
                .to_owned();
        } else if let Some((_, blank)) = line.and_then(text::odd_blank_in) {
            what.push_str(&format!(
                "; there is {blank} in this line: put a space in its place"
            ));
        } else if line.is_some_and(|line| line.contains('\t')) {
            what.push_str("; YAML is indented by spaces, and there is a tab in this line");
        } else if line.is_some_and(|line| line.contains(": <")) {
            what.push_str("; a placeholder in `< >`? Put the real value in its place");
        }
    }
    Problem {
        file: Some(path.to_owned()),
        place,
        key,
        what,
    }
}

/// The unknown key of serde's message, and what could be meant by it.
fn unknown_key(message: &str) -> (String, String) {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = quoted.next().unwrap_or_default().to_owned();
    let known: Vec<&str> = quoted.collect();
    let hint = unknown::hint(&unknown, &known);
    (unknown, hint)
}

/// serde's message about a value of the wrong type without the value in it.
fn without_value(message: &str) -> String {
    let (Some(start), Some(end)) = (message.find("invalid "), message.rfind(", expected ")) else {
        return message.to_owned();
    };
    match message
        .get(start..end)
        .and_then(|found| found.find(['"', '`']))
    {
        Some(quote) => format!(
            "{}{}",
            message.get(..start + quote).unwrap_or_default().trim_end(),
            message.get(end..).unwrap_or_default()
        ),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::parse;

    fn problem(text: &str) -> String {
        let path = Path::new("e.yaml");
        match parse(path, text) {
            Ok(_) => unknown::keys(path, text)[0].to_string(),
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
                "2:3: condor.zzzz: there is no such key; the known keys here are host_ip, pool, schedds, \
                 job_constraint, match_requirements, universes, bin, event_log, trust_domain, password, \
                 password_file, token, token_file, \
                 token_key, token_key_directory, token_identity, token_lifetime, scale_down",
            ),
            (
                "clouds:\n  a:\n    auth:\n      usernam: x\n",
                "4:7: clouds.a.auth.usernam: there is no such key; the nearest known key is `username`",
            ),
            (
                "clouds:\n  a:\n    auth: hunter2\n",
                "3:11: clouds.a.auth: invalid type: string, expected a mapping of keys to values",
            ),
            (
                "condor:\n  password: {password}\n",
                "2:13: condor.password: invalid type: map, expected one value; braces that are to be filled in? \
                 Put the real value there, or `None`",
            ),
            (
                "ehos:\n  flavor: <NAME, EG: m1.medium>\n",
                "2:20: mapping values are not allowed in this context; a placeholder in `< >`? Put the real \
                 value in its place",
            ),
            (
                "ehos:\n  flavor: a\n  flavor: b\n",
                "2:3: ehos.flavor: this key stands here twice",
            ),
            (
                "clouds:\n  a: {}\n  a: {}\n",
                "2:3: clouds: the cloud `a` stands here twice",
            ),
            (
                "daemon:\n\tnodes_max: 1\n",
                "2:1: found character that cannot start any token, while scanning for the next token; YAML is \
                 indented by spaces, and there is a tab in this line",
            ),
            (
                "clouds: 5\n",
                "1:9: clouds: invalid type: integer, expected a mapping of names to clouds",
            ),
            (
                "- a\n",
                "1:1: invalid type: sequence, expected a mapping of keys to values",
            ),
        ] {
            assert_eq!(problem(text), format!("e.yaml:{expected}"));
        }
    }
}
