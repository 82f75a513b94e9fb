//! Columns of an `-af:t` query that are one line of bounded length, whatever stands in the attribute.
//!
//! `unparse(X)` prints lists and records over several lines, and a value has any length. Line breaks are never part of a
//! value there (strings and quoted names have them escaped), so that a blank in their place changes nothing.
//! Source: measured with HTCondor 23.9.6; `unparse(unparse(X))` is an error there.

/// In place of a value that is too long. No expression begins with this character.
pub const LONG: &str = "#long";
/// In place of a value that is no string.
pub const NO_STRING: &str = "#type";

/// The expression that stands in the attribute, on one line, of at most `max` bytes; nothing where it is absent.
pub fn expression(name: &str, max: usize) -> String {
    format!(
        "ifThenElse(size(unparse({name})) > {max}, \"{LONG}\", replaceAll(\"[[:cntrl:]]+ *\", unparse({name}), \" \"))"
    )
}

/// The string that the attribute evaluates to, on one line, of at most `max` bytes; nothing where it is undefined.
pub fn text(name: &str, max: usize) -> String {
    format!(
        "ifThenElse(isString({name}), ifThenElse(size({name}) > {max}, \"{LONG}\", replaceAll(\"[[:cntrl:]]+\", {name}, \" \")), \
         ifThenElse(isUndefined({name}), \"\", \"{NO_STRING}\"))"
    )
}
