//! The report of `ehos retire`, for people and for programs.

use jiff::Timestamp;
use serde::Serialize;

use super::{Item, ItemResult};
use system::exit::Exit;
use system::plain::line;

/// The version of the JSON layout.
const VERSION: u32 = 1;

/// A cloud that did not answer, or not in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnknownCloud {
    pub cloud: String,
    pub error: String,
}

/// What ehos leaves to people, with the command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ByHand {
    pub what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// All of it.
#[derive(Debug, Serialize)]
pub struct Report {
    version: u32,
    exit: u8,
    pub pool: String,
    pub dry_run: bool,
    /// The time of the request in the state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retiring_since: Option<Timestamp>,
    pub items: Vec<Item>,
    pub unknown_clouds: Vec<UnknownCloud>,
    pub by_hand: Vec<ByHand>,
    /// What the other central manager needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Report {
    pub fn new(
        pool: &str,
        dry_run: bool,
        items: Vec<Item>,
        unknown_clouds: Vec<UnknownCloud>,
    ) -> Report {
        let mut report = Report {
            version: VERSION,
            exit: 0,
            pool: pool.to_owned(),
            dry_run,
            retiring_since: None,
            items,
            unknown_clouds,
            by_hand: Vec::new(),
            note: None,
        };
        report.exit = report.exit() as u8;
        report
    }

    fn has(&self, results: &[ItemResult]) -> bool {
        self.items.iter().any(|item| results.contains(&item.result))
    }

    /// 0: nothing that ehos created is left; 1: a cloud refused a delete; 75: run the command again.
    pub fn exit(&self) -> Exit {
        let waits = !self.dry_run && self.has(&[ItemResult::Waiting, ItemResult::InUse]);
        if self.has(&[ItemResult::Failed]) {
            Exit::Failed
        } else if waits || !self.unknown_clouds.is_empty() {
            Exit::Unavailable
        } else {
            Exit::Done
        }
    }

    /// The objects, a line each.
    pub fn list(&self) -> String {
        let mut text = String::new();
        for item in &self.items {
            text += &item_line(item);
        }
        for UnknownCloud { cloud, error } in &self.unknown_clouds {
            text += &line!("{cloud}: UNKNOWN, nothing is deleted there: {error}");
        }
        text
    }

    /// The end: the next step, and what is left to people.
    pub fn end(&self) -> String {
        let waiting = self.items.iter();
        let waiting = waiting.filter(|item| item.result == ItemResult::Waiting);
        let mut text = match (self.exit(), waiting.count()) {
            (Exit::Done, _) if self.dry_run => line!("--dry-run: nothing changed"),
            (Exit::Done, _) => line!("pool {}: nothing that ehos created is left", self.pool),
            (Exit::Failed, _) => {
                line!("a cloud refused a delete: correct the cause, then run `ehos retire` again")
            }
            (_, 0) => line!("not complete: run `ehos retire` again when the cause is gone"),
            (_, count) => line!(
                "not complete: {count} of these wait; ticks drain and delete nodes once a minute; run `ehos retire` again"
            ),
        };
        for ByHand { what, command } in &self.by_hand {
            text += &match command {
                Some(command) => line!("by hand: {what}: {command}"),
                None => line!("by hand: {what}"),
            };
        }
        if let Some(note) = &self.note {
            text += &line!("{note}");
        }
        text
    }
}

fn item_line(item: &Item) -> String {
    let Item {
        cloud,
        kind,
        id,
        name,
        ..
    } = item;
    let result = match item.result {
        ItemResult::Planned => "would delete",
        ItemResult::Waiting => "waits",
        ItemResult::Deleted => "deleted",
        ItemResult::AlreadyGone => "already gone",
        ItemResult::Failed => "FAILED",
        ItemResult::InUse => "in use",
        ItemResult::Left => "left",
    };
    let kind = kind.name();
    let id = match id == name {
        true => String::new(),
        false => format!(" ({id})"),
    };
    let reason = item
        .reason
        .as_ref()
        .map_or_else(String::new, |why| format!(": {why}"));
    let command = item.command.as_ref();
    let command = command.map_or_else(String::new, |command| format!("; by hand: {command}"));
    line!("{cloud}: {result}: {kind} {name}{id}{reason}{command}")
}

#[cfg(test)]
mod tests {
    use super::super::ItemKind;
    use super::*;

    fn report(result: ItemResult, dry_run: bool) -> Report {
        let item = Item::new("lab", ItemKind::Image, "i", "gold").ended(result, None);
        Report::new("pool-1", dry_run, vec![item], Vec::new())
    }

    #[test]
    fn the_exit_code_says_whether_something_of_the_pool_is_left() {
        for (result, exit) in [
            (ItemResult::Deleted, Exit::Done),
            (ItemResult::AlreadyGone, Exit::Done),
            (ItemResult::Left, Exit::Done),
            (ItemResult::Failed, Exit::Failed),
            (ItemResult::InUse, Exit::Unavailable),
            (ItemResult::Waiting, Exit::Unavailable),
        ] {
            assert_eq!(report(result, false).exit(), exit, "{result:?}");
        }
        assert_eq!(report(ItemResult::Waiting, true).exit(), Exit::Done);
        let unknown = UnknownCloud {
            cloud: "field".to_owned(),
            error: "no answer".to_owned(),
        };
        let report = Report::new("pool-1", true, Vec::new(), vec![unknown]);
        assert_eq!(report.exit(), Exit::Unavailable);
    }
}
