//! ClassAd expressions, as far as ehos reads them: which attributes they name, and what they are the AND of. Whether
//! they are true, HTCondor says.

/// Whose attribute a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// `MY.x`: of the ad that has the expression.
    My,
    /// `TARGET.x`: of the other ad.
    Target,
    /// `x`: of the ad that has the expression, or else of the other one.
    Either,
}

/// What an expression names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Names<'a> {
    /// Attributes. One too many does no harm.
    pub attributes: Vec<(Scope, &'a str)>,
    /// Functions.
    pub functions: Vec<&'a str>,
}

const KEYWORDS: [&str; 6] = ["true", "false", "undefined", "error", "is", "isnt"];
const SCOPES: [&str; 4] = ["my", "target", "parent", "root"];
/// Whose values change by themselves.
const CHANGING: [&str; 5] = ["time", "random", "abstime", "formattime", "eval"];

impl<'a> Names<'a> {
    /// What `expression` names.
    pub(super) fn of(expression: &'a str) -> Names<'a> {
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
    pub(super) fn change(&self) -> bool {
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
pub(super) fn renamed(expression: &str, new: impl Fn(&str) -> Option<&'static str>) -> String {
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
pub(super) fn is_plain(name: &str) -> bool {
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
pub(super) fn references(expression: &str) -> Vec<String> {
    let names = Names::of(expression).attributes.into_iter();
    let mut found: Vec<String> = names.map(|(_, name)| name.to_owned()).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// What `expression` is the AND of: itself, when it is none.
pub(super) fn clauses(expression: &str) -> Vec<&str> {
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
