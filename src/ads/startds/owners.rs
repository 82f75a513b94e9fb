//! Whose jobs have the cores of a slot, and which: lists that a partitionable slot has of its dynamic slots, or the user and
//! the job of a static one. HTCondor has a list of jobs where `STARTD_PARTITIONABLE_SLOT_ATTRS` names GlobalJobId.
//!
//! For figures only. What cannot be read is nobody's, and makes no slot unreadable.

use std::collections::BTreeMap;

use crate::answer::{string, text};
use crate::running_job::named;
use scaling::job_names::MachineJobs;
use system::plain::clean;

/// Longest list that is read, in characters: a few hundred dynamic slots.
const LIST_MAX: usize = 16_384;

/// Longest name of a user, in characters.
const NAME_MAX: usize = 100;

/// The three columns: users, cores and jobs.
pub fn expressions() -> [String; 3] {
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
        text("ChildGlobalJobId", "GlobalJobId"),
    ]
}

/// The claimed cores by user, without the domain.
pub fn read(users: &str, cores: &str) -> BTreeMap<String, u64> {
    let mut owners = BTreeMap::new();
    let (Some(users), Some(cores)) = (text(users), text(cores)) else {
        return owners;
    };
    if users.is_empty() {
        return owners;
    }
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

/// The jobs of a slot, as `GlobalJobId` and `RemoteOwner` have them; `None` where the slot does not list them.
pub fn jobs(users: &str, jobs: &str) -> Option<MachineJobs> {
    let jobs = text(jobs).filter(|list| list.trim_start().starts_with(['{', '"']))?;
    let users = text(users).unwrap_or_default();
    let (users, jobs) = (items(&users), items(&jobs));
    let is_together = users.len() == jobs.len();
    let mut found = MachineJobs::default();
    for (place, job) in jobs.iter().enumerate() {
        let user = users.get(place).filter(|_| is_together);
        let user = user.and_then(|user| string(user));
        if let Some(job) = string(job).and_then(|job| named(&job, user, true)) {
            found.add(job);
        }
    }
    Some(found)
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
    fn jobs_are_those_of_the_dynamic_slots_or_of_the_slot() {
        let column = |text: &str| format!("\"{}\"", text.replace('"', "\\\""));
        let of = |users: &str, list: &str| -> Option<Vec<(String, Option<String>)>> {
            let jobs = jobs(&column(users), &column(list))?;
            Some(
                jobs.named
                    .into_iter()
                    .map(|job| (job.job, job.owner))
                    .collect(),
            )
        };
        let job = |id: &str, user: Option<&str>| (id.to_owned(), user.map(str::to_owned));
        let users = r#"{ "alice@x","bob@x",undefined }"#;
        assert_eq!(
            of(users, r#"{ "ap#7.3#1",undefined,"ap#7.4#1" }"#),
            Some(vec![job("ap#7.3", Some("alice")), job("ap#7.4", None)])
        );
        assert_eq!(
            of(users, r#"{ "ap#7.3#1" }"#),
            Some(vec![job("ap#7.3", None)]),
            "lists that do not belong together"
        );
        let one = of(r#""alice@x""#, r#""ap#7.3#1""#);
        assert_eq!(one, Some(vec![job("ap#7.3", Some("alice"))]));
        assert_eq!(of("{  }", "{  }"), Some(vec![]));
        let many: Vec<String> = (0..900).map(|proc| format!("\"ap#7.{proc}#1\"")).collect();
        let many = jobs("", &column(&format!("{{ {} }}", many.join(",")))).unwrap();
        assert_eq!((many.named.len(), many.count), (20, 900));
        for unknown in ["undefined", "error", "", "7"] {
            assert_eq!(of(users, unknown), None, "{unknown}");
        }
        assert_eq!(jobs("", ""), None);
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
