//! Whose jobs have the cores of a slot: lists that a partitionable slot has of its dynamic slots, or the user of a static one.
//!
//! For figures only. What cannot be read is nobody's, and makes no slot unreadable.

use std::collections::BTreeMap;

use crate::answer::string;
use system::plain::clean;

/// Longest list that is read, in characters: a few hundred dynamic slots.
const LIST_MAX: usize = 16_384;

/// Longest name of a user, in characters.
const NAME_MAX: usize = 100;

/// The two columns: users and cores.
pub(super) fn expressions() -> [String; 2] {
    // `unparse` prints a list over several lines.
    let text = |list: &str, single: &str| {
        let value = format!("ifThenElse(isList({list}), unparse({list}), unparse({single}))");
        format!(
            "ifThenElse(size({value}) > {LIST_MAX}, \"\", replaceAll(\"[[:cntrl:]\\\\\\\\]+\", {value}, \" \"))"
        )
    };
    [
        text("ChildRemoteOwner", "RemoteOwner"),
        text("ChildCpus", "Cpus"),
    ]
}

/// The claimed cores by user, without the domain.
pub(super) fn read(users: &str, cores: &str) -> BTreeMap<String, u64> {
    let mut owners = BTreeMap::new();
    let (Some(users), Some(cores)) = (string(users), string(cores)) else {
        return owners;
    };
    let (users, cores) = (items(&users), items(&cores));
    // Of lists that do not belong together nothing is known.
    if users.len() != cores.len() {
        return owners;
    }
    for (user, cores) in users.into_iter().zip(cores) {
        let user = string(user).and_then(|user| Some(user.split('@').next()?.to_owned()));
        let user = user.filter(|user| !user.is_empty());
        let cores = cores.parse().ok().filter(|cores| *cores <= 1 << 20);
        if let Some((user, cores)) = user.zip(cores) {
            // Two names that are one where they are printed are one here: no figure appears twice.
            let user: String = clean(&user).chars().take(NAME_MAX).collect();
            let sum: &mut u64 = owners.entry(user).or_default();
            *sum = sum.saturating_add(cores);
        }
    }
    owners
}

/// The items of `{ "a", 2, undefined }`, or the one value.
fn items(text: &str) -> Vec<&str> {
    let inner = text.trim();
    let inner = inner
        .strip_prefix('{')
        .and_then(|inner| inner.strip_suffix('}'))
        .unwrap_or(inner);
    let mut in_string = false;
    let items = inner.split(|c| {
        in_string ^= c == '"';
        c == ',' && !in_string
    });
    items.map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(users: &str, cores: &str) -> Vec<(String, u64)> {
        let column = |text: &str| format!("\"{}\"", text.replace('"', "\\\""));
        read(&column(users), &column(cores)).into_iter().collect()
    }

    #[test]
    fn cores_are_of_the_users_of_the_dynamic_slots_or_of_the_slot() {
        let alice = |cores| ("alice".to_owned(), cores);
        let users = r#"{ "alice@testbed","bob@x, y",undefined,"alice@testbed" }"#;
        let bob = ("bob".to_owned(), 2);
        assert_eq!(of(users, "{ 4,2,1,1 }"), [alice(5), bob]);
        assert_eq!(of(r#""alice@testbed""#, "8"), [alice(8)]);
        let alike = "{ \"alice@x\",\"ali\u{200b}ce@x\" }";
        assert_eq!(of(alike, "{ 1,2 }"), [alice(3)]);
    }

    #[test]
    fn what_cannot_be_read_is_nobodys() {
        assert_eq!(of("undefined", "4"), []);
        assert_eq!(of(r#"{ "alice@x" }"#, "{ 1,2 }"), []);
        assert_eq!(of(r#"{ "alice@x","" }"#, "{ error,-2 }"), []);
        assert_eq!(read("", ""), BTreeMap::new());
        assert_eq!(read("\"{ \"a\" }\"", "\"1\""), BTreeMap::new());
        let long = format!("\"{}\"", "u".repeat(5000));
        assert_eq!(of(&long, "1")[0].0.len(), NAME_MAX);
        assert_eq!(of(r#""alice@x""#, "99999999999"), []);
    }
}
