//! ClassAd expressions, as far as ehos reads them: which attributes they name, and what they are the AND of. Whether
//! they are true, HTCondor says.

use std::collections::{BTreeMap, HashMap};

/// Whose attribute a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// `MY.x`: of the ad that has the expression.
    My,
    /// `TARGET.x`: of the other ad.
    Target,
    /// `x`: of the ad that has the expression, or else of the other one.
    Either,
}

/// What an expression names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Names<'a> {
    /// Attributes. One too many does no harm.
    pub attributes: Vec<(Scope, &'a str)>,
    pub functions: Vec<&'a str>,
}

const KEYWORDS: [&str; 6] = ["true", "false", "undefined", "error", "is", "isnt"];
const SCOPES: [&str; 4] = ["my", "target", "parent", "root"];
/// Whose values change by themselves.
const CHANGING: [&str; 5] = ["time", "random", "abstime", "formattime", "eval"];

impl<'a> Names<'a> {
    /// What `expression` names.
    pub fn of(expression: &'a str) -> Names<'a> {
        let mut names = Names::default();
        let mut rest = expression;
        // The word before a dot, when it is one; `x.y` is a part of x.
        let mut before = Before::Nothing;
        while let Some(first) = rest.chars().next() {
            if first == '"' || first == '\'' {
                let (inner, after) = literal(rest);
                if first == '\'' && !inner.is_empty() && inner.chars().all(is_word) {
                    names.attribute(inner, &before);
                }
                before = Before::Value;
                rest = after;
            } else if is_word(first) {
                let number = first.is_ascii_digit();
                let ends = |c: char| !(is_word(c) || number && c == '.');
                let (word, after) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
                rest = after;
                let is =
                    |words: &[&str]| words.iter().any(|known| word.eq_ignore_ascii_case(known));
                let next = after.trim_start();
                if number {
                    before = Before::Value;
                } else if next.starts_with('(') {
                    if !is(&["is", "isnt"]) {
                        names.functions.push(word);
                    }
                    before = Before::Nothing;
                } else if is(&SCOPES) && next.starts_with('.') {
                    before = match word.to_ascii_lowercase().as_str() {
                        "my" => Before::Scope(Scope::My),
                        "target" => Before::Scope(Scope::Target),
                        _ => Before::Scope(Scope::Either),
                    };
                } else if is(&KEYWORDS) || is(&SCOPES) {
                    before = Before::Nothing;
                } else {
                    names.attribute(word, &before);
                    before = Before::Value;
                }
            } else {
                before = match (first, before) {
                    ('.', Before::Value | Before::Part) => Before::Part,
                    ('.', Before::Scope(scope)) => Before::Scope(scope),
                    (')' | ']' | '}', _) => Before::Value,
                    (space, before) if space.is_whitespace() => before,
                    _ => Before::Nothing,
                };
                rest = rest.get(first.len_utf8()..).unwrap_or_default();
            }
        }
        names
    }

    fn attribute(&mut self, name: &'a str, before: &Before) {
        match before {
            Before::Part => {}
            Before::Scope(scope) => self.attributes.push((*scope, name)),
            Before::Nothing | Before::Value => self.attributes.push((Scope::Either, name)),
        }
    }

    /// The value changes although no attribute does.
    pub fn change(&self) -> bool {
        let changes = |name: &&str| {
            CHANGING
                .iter()
                .any(|changing| name.eq_ignore_ascii_case(changing))
        };
        let now = |(_, name): &(Scope, &str)| name.eq_ignore_ascii_case("CurrentTime");
        self.functions.iter().any(changes) || self.attributes.iter().any(now)
    }
}

/// What stands before a word.
enum Before {
    Nothing,
    Value,
    /// A dot behind a value.
    Part,
    Scope(Scope),
}

/// The expression with other names for attributes of the ad that has it: `new` says which. Names behind `TARGET.` stay.
pub fn renamed(expression: &str, new: impl Fn(&str) -> Option<&'static str>) -> String {
    let mut text = String::with_capacity(expression.len());
    let mut rest = expression;
    for (scope, name) in Names::of(expression).attributes {
        // The names are parts of the expression, in order.
        let begin = name.as_ptr().addr().saturating_sub(rest.as_ptr().addr());
        let Some((before, after)) = rest.split_at_checked(begin) else {
            break;
        };
        let Some(after) = after.strip_prefix(name) else {
            break;
        };
        text.push_str(before);
        text.push_str(new(name).filter(|_| scope != Scope::Target).unwrap_or(name));
        rest = after;
    }
    text.push_str(rest);
    text
}

/// Whether `name` stands for an attribute without quotes: `condor_q -af` leaves out a column that it cannot read, with all
/// that follow, and says nothing.
pub fn is_plain(name: &str) -> bool {
    let is = |words: &[&str]| words.iter().any(|word| name.eq_ignore_ascii_case(word));
    let begins_well = name.starts_with(|c: char| is_word(c) && !c.is_ascii_digit());
    begins_well && name.chars().all(is_word) && !is(&KEYWORDS) && !is(&SCOPES)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// A string or a name in quotes at the beginning of `text`: what is in it, and what follows.
fn literal(text: &str) -> (&str, &str) {
    let quote = text.chars().next().unwrap_or('"');
    let inner = text.get(1..).unwrap_or_default();
    let mut escaped = false;
    let ends = |c| {
        let ends = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    };
    let (inner, after) = inner.split_at(inner.find(ends).unwrap_or(inner.len()));
    (inner, after.get(1..).unwrap_or_default())
}

/// The attributes that an expression refers to, whosever they are.
pub fn references(expression: &str) -> Vec<String> {
    let names = Names::of(expression).attributes.into_iter();
    let mut found: Vec<String> = names.map(|(_, name)| name.to_owned()).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// More references are not followed to evaluate one job: each step of `B1 = B0 + B0`, `B2 = B1 + B1`, … doubles them.
pub const STEPS_MAX: u64 = 100_000;

/// How many references HTCondor follows to evaluate `expressions` of an ad with these attributes (by name in small letters); no
/// more than it can count for an attribute that refers to itself.
pub fn steps<'a>(
    expressions: impl Iterator<Item = &'a str>,
    attributes: &'a BTreeMap<String, String>,
) -> u64 {
    fn own<'a>(
        text: &'a str,
        attributes: &'a BTreeMap<String, String>,
    ) -> impl Iterator<Item = &'a str> {
        let names = Names::of(text).attributes.into_iter();
        names
            .filter(|(scope, _)| *scope != Scope::Target)
            .filter_map(|(_, name)| {
                let (name, _) = attributes.get_key_value(&name.to_ascii_lowercase())?;
                Some(name.as_str())
            })
    }
    // `None` while what it refers to is being counted.
    let mut counted: HashMap<&str, Option<u64>> = HashMap::new();
    let mut sum: u64 = 0;
    for expression in expressions {
        let first: Vec<&str> = own(expression, attributes).collect();
        let mut open = first.clone();
        while let Some(name) = open.last().copied() {
            let text = attributes.get(name).map_or("", String::as_str);
            match counted.get(name) {
                Some(Some(_)) => drop(open.pop()),
                Some(None) => {
                    let steps = own(text, attributes).fold(1_u64, |steps, name| {
                        let more = counted.get(name).copied().flatten();
                        steps.saturating_add(more.unwrap_or(u64::MAX))
                    });
                    counted.insert(name, Some(steps));
                    open.pop();
                }
                None => {
                    counted.insert(name, None);
                    open.extend(own(text, attributes).filter(|name| !counted.contains_key(name)));
                }
            }
        }
        for name in first {
            let steps = counted.get(name).copied().flatten().unwrap_or(u64::MAX);
            sum = sum.saturating_add(steps);
        }
    }
    sum
}

/// What `expression` is the AND of: itself, when it is none.
pub fn clauses(expression: &str) -> Vec<&str> {
    let mut found = Vec::new();
    // What is left to look at, and how deep it was in parentheses: those who write more of them mean no AND.
    let mut left = vec![(expression.trim(), 0)];
    while let Some((expression, depth)) = left.pop() {
        match parts(expression) {
            Parts::And(parts) => left.extend(parts.into_iter().rev().map(|part| (part, depth))),
            Parts::Parentheses(inner) if depth < 20 => left.push((inner, depth + 1)),
            Parts::Parentheses(_) | Parts::One => found.push(expression),
        }
    }
    found
}

enum Parts<'a> {
    /// Nothing that can be taken apart.
    One,
    /// All of it is in parentheses.
    Parentheses(&'a str),
    And(Vec<&'a str>),
}

fn parts(expression: &str) -> Parts<'_> {
    let mut parts = Vec::new();
    let mut depth = 0_usize;
    let mut start = 0;
    let mut at = 0;
    let mut closed = None;
    while let Some(rest) = expression.get(at..).filter(|rest| !rest.is_empty()) {
        let mut length = rest.chars().next().map_or(1, char::len_utf8);
        if rest.starts_with(['"', '\'']) {
            length = rest.len() - literal(rest).1.len();
        } else if rest.starts_with(['(', '[', '{']) {
            depth += 1;
        } else if rest.starts_with([')', ']', '}']) {
            let Some(less) = depth.checked_sub(1) else {
                return Parts::One;
            };
            depth = less;
            if depth == 0 {
                closed = closed.or(Some(at + 1));
            }
        } else if depth == 0 {
            if rest.starts_with("=?=") {
                length = 3;
            } else if rest.starts_with("||") || rest.starts_with('?') {
                // Binds less than an AND.
                return Parts::One;
            } else if rest.starts_with("&&") {
                parts.push(expression.get(start..at).unwrap_or_default().trim());
                length = 2;
                start = at + 2;
            }
        }
        at += length;
    }
    let last = expression.get(start..).unwrap_or_default().trim();
    let inner = || expression.strip_prefix('(')?.strip_suffix(')');
    match inner() {
        _ if depth > 0 => Parts::One,
        _ if !parts.is_empty() => {
            parts.push(last);
            if parts.iter().any(|part| part.is_empty()) {
                return Parts::One;
            }
            Parts::And(parts)
        }
        Some(inner) if closed == Some(expression.len()) => Parts::Parentheses(inner.trim()),
        _ => Parts::One,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_told_from_functions_keywords_and_parts() {
        assert_eq!(
            references(
                r#"Owner == "al\"ice" && TARGET.x_1 >= 10K && regexp ( "^a", 'Cmd') && true isnt My.Foo"#
            ),
            ["Cmd", "Foo", "Owner", "x_1"]
        );
        assert_eq!(references(""), Vec::<String>::new());
        let names = Names::of("target . A > MY.B.c + d[0].e - 1.5e3 && size(TARGET.F) is (G)");
        assert_eq!(
            names.attributes,
            [
                (Scope::Target, "A"),
                (Scope::My, "B"),
                (Scope::Either, "d"),
                (Scope::Target, "F"),
                (Scope::Either, "G"),
            ]
        );
        assert_eq!(names.functions, ["size"]);
        assert!(!names.change());
        for changes in ["(time() - QDate) > 5", "Random(3)", "5 < currenttime"] {
            assert!(Names::of(changes).change(), "{changes}");
        }
        assert!(!Names::of("Time > 5 && \"time()\"").change());
    }

    #[test]
    fn what_doubles_with_each_step_is_counted_without_being_followed() {
        let mut ad: BTreeMap<String, String> = (1..5000)
            .map(|n| (format!("b{n}"), format!("B{} + 1", n - 1)))
            .collect();
        ad.insert("b0".to_owned(), "1".to_owned());
        let count =
            |expression: &str, ad: &BTreeMap<String, String>| steps([expression].into_iter(), ad);
        assert_eq!(count("TARGET.B40 > 5", &ad), 0);
        assert_eq!(count("B4999 > 5", &ad), 5000);
        for n in 1..60 {
            ad.insert(format!("b{n}"), format!("strcat(MY.B{0}, b{0})", n - 1));
        }
        assert_eq!(count("B3", &ad), 15);
        assert!(count("B20", &ad) > STEPS_MAX && count("B59", &ad) > STEPS_MAX);
        ad.insert("x".to_owned(), "Y + Y".to_owned());
        ad.insert("y".to_owned(), "X".to_owned());
        assert_eq!(count("x", &ad), u64::MAX);
    }

    #[test]
    fn an_and_is_taken_apart_and_nothing_else() {
        assert_eq!(
            clauses(
                r#"(TARGET.Arch == "X && Y(") && ((A =?= 1) && B) && (C || D && E) && F is undefined"#
            ),
            [
                r#"TARGET.Arch == "X && Y(""#,
                "A =?= 1",
                "B",
                "C || D && E",
                "F is undefined"
            ]
        );
        for one in [
            "a || b && c",
            "a && b || c",
            "a && b ? c : d",
            "(a) < (b)",
            "a && ",
            "(a",
            "a)",
            "",
        ] {
            assert_eq!(clauses(one), [one.trim()], "{one}");
        }
        assert_eq!(clauses("((a))"), ["a"]);
    }

    proptest! {
        #[test]
        fn garbage_does_not_panic(text in ".*", dense in "[a-zA-Z.()'\"\\\\&|? é]{0,40}") {
            for text in [&text, &dense] {
                let _ = references(text);
                let _ = clauses(text);
            }
        }
    }
}
