//! Decides which notices are due: from the problems of this tick, earlier ones, and the notices sent. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use scaling::sorting::IntoMap;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::Settings;
use crate::TickReport;
use crate::problem::{NoticeKind, notices};
use scaling::sorting;
use system::json;

/// The state of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The problem is new.
    Begins,
    /// The problem was sent before and persists.
    Lasts,
    /// The problem was sent before and is resolved.
    Over,
}

/// A notice that is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice<'a> {
    /// Identifies the problem.
    #[serde(skip)]
    pub key: String,
    pub state: State,
    pub kind: NoticeKind,
    pub since: Timestamp,
    /// The sentence; of a resolved problem, its last one.
    pub text: &'a String,
}

/// Ticks that are closer count once: `after_ticks` assumes one tick per minute, and a tick for an event may follow seconds
/// after another.
const APART: Duration = Duration::from_secs(45);

/// The record of one problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    kind: NoticeKind,
    text: String,
    since: Timestamp,
    /// The number of ticks with the problem.
    seen: u64,
    /// The number of consecutive ticks without it since.
    #[serde(rename = "absent", alias = "gone")]
    gone: u64,
    /// The time of the last notice, by channel.
    #[serde(rename = "sent", alias = "told")]
    told: BTreeMap<String, Timestamp>,
    /// Channels that were sent the end.
    over: BTreeSet<String>,
}

/// The records of all problems.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    #[serde(rename = "problems", alias = "troubles", deserialize_with = "each")]
    troubles: BTreeMap<String, Known>,
    /// The time of the last tick that counted.
    counted: Option<Timestamp>,
}

/// Reads entry by entry: the problem of a damaged entry is sent again, the others are not.
fn each<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Known>, D::Error> {
    let entries = BTreeMap::<String, Box<RawValue>>::deserialize(from)?;
    let known = |(key, entry): (String, Box<RawValue>)| Some((key, json::read(entry.get()).ok()?));
    Ok(entries.into_iter().filter_map(known).into_map())
}

/// Whether a notice may be repeated. One sent in the future was sent before the clock was set back.
fn long_ago(told: Timestamp, now: Timestamp, settings: &Settings) -> bool {
    Duration::try_from(now.duration_since(told)).map_or(true, |ago| ago >= settings.repeat)
}

impl Memory {
    /// Records the problems of a tick.
    pub fn look(&mut self, snapshot: &TickReport, settings: &Settings) {
        let now: BTreeMap<String, _> = notices(snapshot)
            .map(|trouble| (trouble.key.clone(), trouble))
            .into_map();
        let apart = |last| Duration::try_from(snapshot.at.duration_since(last));
        // A tick in the future happened before the clock was set back.
        let counts = self
            .counted
            .is_none_or(|last| apart(last).map_or(true, |apart| apart >= APART));
        if counts {
            self.counted = Some(snapshot.at);
        }
        let count = |ticks: &mut u64| {
            if counts || *ticks == 0 {
                *ticks = ticks.saturating_add(1);
            }
        };
        for (key, known) in &mut self.troubles {
            if !now.contains_key(key) {
                count(&mut known.gone);
            }
        }
        for (key, trouble) in now {
            let known = self.troubles.entry(key).or_insert_with(|| Known {
                kind: trouble.kind,
                text: String::new(),
                since: snapshot.at,
                seen: 0,
                gone: 0,
                told: BTreeMap::new(),
                over: BTreeSet::new(),
            });
            if known.gone >= settings.after_ticks {
                known.since = snapshot.at;
                known.seen = 0;
            }
            known.gone = 0;
            count(&mut known.seen);
            known.text = trouble.text;
        }
        // A problem that returns soon is not new: its record stays until the notice may be repeated.
        self.troubles.retain(|_, known| {
            let quiet = |told: &Timestamp| long_ago(*told, snapshot.at, settings);
            let settled = known
                .told
                .keys()
                .all(|channel| known.over.contains(channel));
            known.gone < settings.after_ticks || !settled || !known.told.values().all(quiet)
        });
    }

    /// The notices that are due for this channel.
    pub fn due(&self, channel: &str, at: Timestamp, settings: &Settings) -> Vec<Notice<'_>> {
        let mut all: Vec<Notice<'_>> = self
            .troubles
            .iter()
            .filter_map(|(key, known)| {
                Some(Notice {
                    key: key.clone(),
                    state: known.due(channel, at, settings)?,
                    kind: known.kind,
                    since: known.since,
                    text: &known.text,
                })
            })
            .collect();
        sorting::by_key(&mut all, |notice| notice.state);
        all
    }

    pub fn told(&mut self, channel: &str, at: Timestamp, notices: Vec<(String, State)>) {
        for (key, state) in notices {
            let Some(known) = self.troubles.get_mut(&key) else {
                continue;
            };
            if state == State::Over {
                known.over.insert(channel.to_owned());
            } else {
                known.told.insert(channel.to_owned(), at);
                known.over.remove(channel);
            }
        }
    }
}

impl Known {
    fn due(&self, channel: &str, at: Timestamp, settings: &Settings) -> Option<State> {
        let told = self.told.get(channel);
        let over = self.over.contains(channel);
        if self.gone > 0 {
            let is_over = self.gone >= settings.after_ticks && told.is_some() && !over;
            return is_over.then_some(State::Over);
        }
        let sure = self.kind.lasts() || self.seen >= settings.after_ticks;
        let again = told.is_none_or(|told| long_ago(*told, at, settings));
        let state = if told.is_some() && !over {
            State::Lasts
        } else {
            State::Begins
        };
        (sure && again).then_some(state)
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use serde_json::json;

    use super::*;

    fn settings() -> Settings {
        Settings {
            after_ticks: 3,
            repeat: Duration::from_secs(3600),
            ..Settings::default()
        }
    }

    /// Ticks, one a minute, in which a source is not seen (`u`), a kind is protected (`p`), both (`b`), or all is well;
    /// what each would tell, in letters.
    fn told(ticks: &str) -> String {
        told_apart(ticks, 60)
    }

    /// The same with ticks that are `seconds` apart.
    fn told_apart(ticks: &str, seconds: i64) -> String {
        let (mut memory, settings) = (Memory::default(), settings());
        let mut at: Timestamp = "2026-11-26T12:00:00Z".parse().unwrap();
        let mut all = Vec::new();
        for tick in ticks.chars() {
            let unseen = match tick {
                'u' | 'b' => json!([{"source": "cloud a", "cause": "it does not answer"}]),
                _ => json!([]),
            };
            let protected = match tick {
                'p' | 'b' => {
                    json!([{"cloud": "a", "flavor": "f", "image": "i", "since": at, "failures": 5,
                    "last_failure": "x", "text": "no more"}])
                }
                _ => json!([]),
            };
            let snapshot = json!({"at": at, "unknown_sources": unseen, "protected": protected});
            let snapshot: TickReport = serde_json::from_value(snapshot).unwrap();
            memory.look(&snapshot, &settings);
            let due = memory.due("hook", at, &settings);
            let words = due.iter().map(|notice| match (notice.kind, notice.state) {
                (NoticeKind::UnknownSource, State::Begins) => "U",
                (NoticeKind::UnknownSource, State::Lasts) => "=",
                (NoticeKind::UnknownSource, State::Over) => "/",
                (_, State::Begins) => "P",
                (_, State::Lasts) => "~",
                (_, State::Over) => "|",
            });
            all.push(words.collect::<String>());
            let keys = due.iter().map(|notice| (notice.key.clone(), notice.state));
            let keys = keys.collect();
            memory.told("hook", at, keys);
            at = at.checked_add(seconds.seconds()).unwrap();
        }
        let words = all
            .iter()
            .map(|words| if words.is_empty() { "." } else { words });
        words.collect()
    }

    #[test]
    fn what_may_pass_by_itself_waits_and_what_does_not_is_told_at_once() {
        assert_eq!(told("uuuuu"), "..U..");
        assert_eq!(told("pp"), "P.");
        assert_eq!(told("bbb"), "P.U");
        // Gone before it was told: never told.
        assert_eq!(told("uu......"), "........");
    }

    #[test]
    fn ticks_for_events_make_nothing_sure_sooner() {
        // Six are a minute.
        let minutes = |letters: &str| {
            let each = letters.chars().map(|letter| letter.to_string().repeat(6));
            each.collect::<String>()
        };
        let of_minutes = told_apart(&minutes("uuuu..."), 10);
        assert_eq!(of_minutes.find('U'), Some(10), "{of_minutes}");
        assert_eq!(of_minutes.matches('/').count(), 1, "{of_minutes}");
        assert_eq!(told_apart("uuuuuuuu", 5), "........");
        assert_eq!(told_apart("pp", 5), "P.", "what does not pass by itself");
    }

    #[test]
    fn an_entry_that_does_not_parse_is_told_anew_and_the_others_are_not() {
        let at = Timestamp::UNIX_EPOCH;
        let protected = json!([{"cloud": "a", "flavor": "f", "image": "i", "since": at, "failures": 5,
            "last_failure": "x", "text": "no more"}]);
        let snapshot = json!({"at": at, "unknown_sources": [], "protected": protected});
        let snapshot: TickReport = serde_json::from_value(snapshot).unwrap();
        let settings = settings();
        let mut memory = Memory::default();
        memory.look(&snapshot, &settings);
        let mut written = serde_json::to_value(&memory).unwrap();
        written["problems"]["other"] = json!({"kind": "of a later version"});
        let read: Memory = serde_json::from_value(written).unwrap();
        assert_eq!((read, memory.troubles.len()), (memory, 1));
    }

    #[test]
    fn what_is_over_is_told_once_it_is_sure() {
        assert_eq!(told("pp......"), "P...|...");
        assert_eq!(told("uuu...u"), "..U../.");
        assert_eq!(told("uuu..u..u"), "..U......", "it flaps");
    }

    #[test]
    fn what_lasts_is_told_again_after_a_while_and_what_comes_and_goes_no_oftener() {
        let hour = "p".repeat(60);
        assert_eq!(told(&format!("{hour}pp")), format!("P{}~.", ".".repeat(59)));
        // Five minutes there, five away: told at its beginning and end, then anew after an hour only.
        let flapping = told(&"pppppwwwww".repeat(12));
        assert_eq!(flapping.matches(['P', '~']).count(), 2, "{flapping}");
        assert!(flapping.matches('|').count() <= 2, "{flapping}");
    }

    #[test]
    fn a_channel_that_was_not_reached_is_tried_again() {
        let settings = settings();
        let mut memory = Memory::default();
        let at: Timestamp = "2026-11-26T12:00:00Z".parse().unwrap();
        let snapshot = json!({"at": at, "protected": [{"cloud": "a", "flavor": "f", "image": "i", "since": at,
            "failures": 5, "last_failure": "x", "text": "no more"}]});
        let snapshot: TickReport = serde_json::from_value(snapshot).unwrap();
        for _ in 0..3 {
            memory.look(&snapshot, &settings);
            assert_eq!(memory.due("webhook", at, &settings).len(), 1);
        }
        let key = memory.due("webhook", at, &settings)[0].key.clone();
        memory.told("webhook", at, vec![(key, State::Begins)]);
        assert_eq!(memory.due("webhook", at, &settings), []);
        assert_eq!(memory.due("command", at, &settings).len(), 1);
    }

    #[test]
    fn a_clock_that_was_ahead_silences_nothing() {
        let settings = settings();
        let mut memory = Memory::default();
        let snapshot = |at: &str| -> TickReport {
            let protected = json!([{"cloud": "a", "flavor": "f", "image": "i", "since": at, "failures": 5,
                "last_failure": "x", "text": "no more"}]);
            serde_json::from_value(json!({"at": at, "protected": protected})).unwrap()
        };
        let mut told = |at: &str| {
            let snapshot = snapshot(at);
            memory.look(&snapshot, &settings);
            let due = memory.due("hook", snapshot.at, &settings);
            let keys: Vec<_> = due.iter().map(|one| (one.key.clone(), one.state)).collect();
            let count = keys.len();
            memory.told("hook", snapshot.at, keys);
            count
        };
        assert_eq!(told("2099-01-01T00:00:00Z"), 1);
        // It is set back: what lasts is told once more, and then again after its time.
        assert_eq!(told("2026-11-26T12:00:00Z"), 1);
        assert_eq!(told("2026-11-26T12:01:00Z"), 0);
        assert_eq!(told("2026-11-26T13:00:00Z"), 1);
    }

    #[test]
    fn memory_does_not_grow() {
        let settings = settings();
        let mut memory = Memory::default();
        let mut at: Timestamp = "2026-11-26T12:00:00Z".parse().unwrap();
        for tick in 0..500 {
            let unseen = json!([{"source": format!("cloud {tick}"), "cause": "gone"}]);
            let snapshot =
                serde_json::from_value(json!({"at": at, "unknown_sources": unseen})).unwrap();
            memory.look(&snapshot, &settings);
            at = at.checked_add(1.minute()).unwrap();
        }
        assert!(memory.troubles.len() <= 3, "{}", memory.troubles.len());
    }
}
