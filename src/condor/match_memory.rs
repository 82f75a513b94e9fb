//! What HTCondor has said of jobs and nodes, on disk, so that a tick asks only about what is new: `matches.json`.
//! Without it all is asked again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use log::warn;
use scaling::sorting::{IntoMap, IntoSet};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use ads::job_ad::{COLUMNS_MAX, Columns};
use ads::machine_ad::MachineAd;
use scaling::job_requirements::MatchResult;
use scaling::observation::Resources;
use scaling::state::NodeType;
use system::json;
use system::own_file;

const VERSION: u32 = 1;
/// Its name in the state directory.
const FILE: &str = "matches.json";

/// What has not been used for so long is forgotten …
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(24);
/// … and what is used is noted so often.
const NOTED: SignedDuration = SignedDuration::from_hours(6);
/// An attribute that no job has referred to for so long is asked for no more …
const COLUMN_FORGOTTEN: SignedDuration = SignedDuration::from_mins(30);
/// … and one that some refer to is noted so often.
const COLUMN_NOTED: SignedDuration = SignedDuration::from_mins(10);
/// What took too long is tried again after this time.
const SLOW: SignedDuration = SignedDuration::from_hours(1);
/// More of these are not kept.
const SLOW_MAX: usize = 10_000;
/// What nodes of a kind are like is remembered for longer: a pool may have none of them for a while …
const MACHINE_FORGOTTEN: SignedDuration = SignedDuration::from_hours(30 * 24);
/// … and is learnt anew after this time, while there are any.
const LEARNT: SignedDuration = SignedDuration::from_hours(1);
/// More answers are not kept.
const ANSWERS_MAX: usize = 100_000;
const REQUESTS_MAX: usize = 10_000;

/// Where it is kept.
#[derive(Debug, Clone)]
pub struct MatchFile {
    path: PathBuf,
    writes: bool,
}

impl MatchFile {
    /// The file in this folder; read, but never written unless the tick `acts`.
    pub fn new(folder: &Path, acts: bool) -> MatchFile {
        MatchFile {
            path: folder.join(FILE),
            writes: acts,
        }
    }
}

#[derive(Debug, Default, Serialize)]
struct Stored {
    version: u32,
    /// Attributes of jobs that Requirements refer to, and when they last did.
    columns: BTreeMap<String, Timestamp>,
    machines: Vec<Learnt>,
    answers: BTreeMap<String, Kept>,
    /// What jobs ask of a machine on which that depends.
    requests: BTreeMap<String, KeptRequest>,
    /// Questions that took too long, and since when they are not asked.
    slow: BTreeMap<String, Timestamp>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Learnt {
    #[serde(rename = "kind")]
    node_type: NodeType,
    at: Timestamp,
    ad: MachineAd,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    answer: Answer,
    used: Timestamp,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptRequest {
    request: Resources,
    used: Timestamp,
}

/// A [`MatchResult`] on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Matches,
    JobRefuses(Option<String>),
    NodeRefuses,
    Undetermined(Option<String>),
}

/// What is remembered.
#[derive(Debug)]
pub(super) struct MatchCache {
    stored: Stored,
    file: Option<MatchFile>,
    now: Timestamp,
    changed: bool,
}

impl MatchCache {
    /// What the file holds; nothing when there is none or when it is broken.
    pub(super) fn load(file: Option<MatchFile>, now: Timestamp) -> MatchCache {
        let stored = file.as_ref().and_then(|file| match read(&file.path) {
            Ok(stored) => stored,
            Err(why) => {
                warn!(
                    "{}: {why}; ehos queries all matches anew",
                    file.path.display()
                );
                None
            }
        });
        let mut memory = MatchCache {
            stored: stored.unwrap_or_default(),
            file,
            now,
            changed: false,
        };
        memory.stored.version = VERSION;
        memory.forget();
        memory
    }

    fn forget(&mut self) {
        let now = self.now;
        // What was written on a clock that was ahead is as good as old.
        let within = |at: Timestamp, time| now.duration_since(at).abs() < time;
        let recent = |at: Timestamp| within(at, FORGOTTEN);
        let stored = &mut self.stored;
        let sizes = |stored: &Stored| {
            [
                stored.columns.len(),
                stored.machines.len(),
                stored.answers.len(),
                stored.requests.len(),
                stored.slow.len(),
            ]
        };
        let before = sizes(stored);
        stored.columns.retain(|_, at| within(*at, COLUMN_FORGOTTEN));
        stored.slow.retain(|_, at| within(*at, SLOW));
        stored
            .machines
            .retain(|learnt| within(learnt.at, MACHINE_FORGOTTEN));
        stored.answers.retain(|_, kept| recent(kept.used));
        stored.requests.retain(|_, kept| recent(kept.used));
        self.changed |= before != sizes(stored);
    }

    /// The columns to ask for.
    pub(super) fn columns(&self) -> Columns {
        let machines = self.stored.machines.iter();
        Columns {
            nodes_ask: machines.flat_map(|learnt| learnt.ad.asks()).collect(),
            ..Columns::default()
        }
        .with(&self.stored.columns.keys().cloned().collect())
    }

    /// These were referred to. They have the room before those that no job needs any more.
    pub(super) fn use_columns(&mut self, names: &BTreeSet<String>) {
        for name in names {
            let noted = self.stored.columns.get(name);
            if noted.is_none_or(|at| self.now.duration_since(*at).abs() > COLUMN_NOTED) {
                self.stored.columns.insert(name.clone(), self.now);
                self.changed = true;
            }
        }
        if self.stored.columns.len() > COLUMNS_MAX {
            self.stored.columns.retain(|name, _| names.contains(name));
        }
    }

    /// Names of questions that took too long a while ago.
    pub(super) fn slow(&self) -> BTreeSet<String> {
        self.stored.slow.keys().cloned().into_set()
    }

    /// Whether this question took too long a while ago.
    pub(super) fn is_slow(&self, question: &str) -> bool {
        self.stored.slow.contains_key(question)
    }

    /// These took too long: they are not asked for a while.
    pub(super) fn note_slow(&mut self, questions: &BTreeSet<String>) {
        for question in questions {
            if self.stored.slow.len() < SLOW_MAX && !self.stored.slow.contains_key(question) {
                self.stored.slow.insert(question.clone(), self.now);
                self.changed = true;
            }
        }
    }

    /// The ad of a new node of a kind, and whether it is fresh.
    pub(super) fn machine(&self, node_type: &NodeType) -> Option<(&MachineAd, bool)> {
        let learnt = self
            .stored
            .machines
            .iter()
            .find(|learnt| learnt.node_type == *node_type)?;
        let fresh = self.now.duration_since(learnt.at).abs() < LEARNT;
        Some((&learnt.ad, fresh))
    }

    /// The ad of a node of another kind that boots from the same image: of the same cloud, if there is one.
    pub(super) fn sibling(&self, node_type: &NodeType) -> Option<&MachineAd> {
        let machines = self.stored.machines.iter();
        let siblings = machines.filter(|learnt| learnt.node_type.image == node_type.image);
        let nearest = siblings
            .min_by_key(|learnt| (learnt.node_type.cloud != node_type.cloud, &learnt.node_type));
        nearest.map(|learnt| &learnt.ad)
    }

    /// Keeps the ad of a new node of a kind.
    pub(super) fn learn(&mut self, node_type: &NodeType, ad: MachineAd) {
        self.stored
            .machines
            .retain(|learnt| learnt.node_type != *node_type);
        self.stored.machines.push(Learnt {
            node_type: node_type.clone(),
            at: self.now,
            ad,
        });
        self.changed = true;
    }

    /// The answer that was given to this question.
    pub(super) fn answer(&mut self, question: &str) -> Option<MatchResult> {
        let kept = self.stored.answers.get_mut(question)?;
        if self.now.duration_since(kept.used).abs() > NOTED {
            kept.used = self.now;
            self.changed = true;
        }
        Some(match kept.answer.clone() {
            Answer::Matches => MatchResult::Matches,
            Answer::JobRefuses(clause) => MatchResult::JobRefuses { clause },
            Answer::NodeRefuses => MatchResult::NodeRefuses,
            Answer::Undetermined(clause) => MatchResult::Undetermined { clause },
        })
    }

    /// Keeps an answer.
    pub(super) fn keep(&mut self, question: String, verdict: &MatchResult) {
        if self.stored.answers.len() >= ANSWERS_MAX {
            return;
        }
        let answer = match verdict.clone() {
            MatchResult::Matches => Answer::Matches,
            MatchResult::JobRefuses { clause } => Answer::JobRefuses(clause),
            MatchResult::NodeRefuses => Answer::NodeRefuses,
            MatchResult::Undetermined { clause } => Answer::Undetermined(clause),
        };
        let used = self.now;
        self.stored.answers.insert(question, Kept { answer, used });
        self.changed = true;
    }

    /// What jobs ask of a machine, as it was worked out.
    pub(super) fn request(&mut self, question: &str) -> Option<Resources> {
        let kept = self.stored.requests.get_mut(question)?;
        if self.now.duration_since(kept.used).abs() > NOTED {
            kept.used = self.now;
            self.changed = true;
        }
        Some(kept.request)
    }

    /// Keeps what jobs ask of a machine.
    pub(super) fn keep_request(&mut self, question: String, request: Resources) {
        if self.stored.requests.len() < REQUESTS_MAX {
            let used = self.now;
            let kept = KeptRequest { request, used };
            self.stored.requests.insert(question, kept);
            self.changed = true;
        }
    }

    /// Writes it down when anything is new.
    pub(super) fn save(&mut self) {
        let Some(file) = self.file.as_ref().filter(|file| file.writes) else {
            return;
        };
        if self.stored.answers.len() >= ANSWERS_MAX {
            // What this tick has used is noted by now: the next one has room for what is new.
            let now = self.now;
            let before = self.stored.answers.len();
            let answers = &mut self.stored.answers;
            answers.retain(|_, kept| now.duration_since(kept.used).abs() <= NOTED);
            self.changed |= answers.len() < before;
        }
        if !self.changed {
            return;
        }
        match write(&file.path, &self.stored) {
            Ok(()) => self.changed = false,
            Err(error) => warn!(
                "{} cannot be written: {error}; the next tick asks HTCondor again which jobs run where",
                file.path.display()
            ),
        }
    }
}

fn read(path: &Path) -> Result<Option<Stored>, String> {
    let text = match own_file::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| error.to_string())?,
    };
    let damaged = |error: serde_json::Error| {
        format!("damaged at line {} column {}", error.line(), error.column())
    };
    let stored: Entries = serde_json::from_slice(&text).map_err(damaged)?;
    // Another version's answers may mean something else.
    Ok((stored.version == VERSION).then(|| stored.read()))
}

/// The file with each entry by itself: one that cannot be read is asked anew, and the others are kept.
#[derive(Deserialize)]
struct Entries<'a> {
    version: u32,
    #[serde(borrow, default)]
    columns: BTreeMap<String, &'a RawValue>,
    #[serde(borrow, default)]
    machines: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    answers: BTreeMap<String, &'a RawValue>,
    #[serde(borrow, default)]
    requests: BTreeMap<String, &'a RawValue>,
    #[serde(borrow, default)]
    slow: BTreeMap<String, &'a RawValue>,
}

impl Entries<'_> {
    fn read(self) -> Stored {
        fn one<T: DeserializeOwned>(entry: &RawValue) -> Option<T> {
            json::read(entry.get()).ok()
        }
        fn each<T: DeserializeOwned>(entries: BTreeMap<String, &RawValue>) -> BTreeMap<String, T> {
            let read = |(name, entry)| Some((name, one(entry)?));
            entries.into_iter().filter_map(read).into_map()
        }
        Stored {
            version: self.version,
            columns: each(self.columns),
            machines: self.machines.into_iter().filter_map(one).collect(),
            answers: each(self.answers),
            requests: each(self.requests),
            slow: each(self.slow),
        }
    }
}

fn write(path: &Path, stored: &Stored) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new()
        .prefix(".matches-")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(folder)?;
    json::write(&mut file, stored)?;
    file.persist(path)?;
    Ok(())
}

/// What tests/fuzz reads.
#[cfg(fuzzing)]
pub(super) fn read_anything(text: &str) {
    let _ = json::read::<Entries>(text).map(Entries::read);
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use serde_json::Value;

    fn at(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(500_000 + hours)
    }

    fn kind() -> NodeType {
        NodeType {
            cloud: "a".to_owned(),
            flavor: "f".to_owned(),
            image: "i".to_owned(),
        }
    }

    #[test]
    fn what_is_kept_is_there_in_the_next_tick_and_gone_after_a_day_without_use() {
        let folder = tempfile::tempdir().unwrap();
        let load =
            |hours, acts| MatchCache::load(Some(MatchFile::new(folder.path(), acts)), at(hours));
        let refuses = MatchResult::JobRefuses {
            clause: Some("x".to_owned()),
        };
        let mut memory = load(0, true);
        memory.keep("q".to_owned(), &refuses);
        memory.keep("r".to_owned(), &MatchResult::Matches);
        memory.learn(
            &kind(),
            MachineAd::made_up(
                &kind(),
                &[("Start".to_owned(), "Owner == \"x\"".to_owned())],
            ),
        );
        memory.use_columns(&BTreeSet::from(["wanted".to_owned()]));
        memory.save();
        let path = folder.path().join(FILE);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let mut memory = load(23, true);
        assert_eq!(memory.answer("q"), Some(refuses.clone()));
        assert_eq!(memory.answer("other"), None);
        assert!(!memory.machine(&kind()).unwrap().1, "too old by now");
        memory.save();
        // Used since; the other one was not.
        let mut memory = load(30, true);
        assert_eq!(memory.answer("q"), Some(refuses));
        assert_eq!(memory.answer("r"), None);
        let columns = memory.columns();
        assert!(!columns.all().contains("wanted") && columns.nodes_ask.contains("owner"));
        // What nodes are like is known for longer.
        assert!(load(29 * 24, true).machine(&kind()).is_some());
        assert!(load(31 * 24, true).machine(&kind()).is_none());

        // A dry run reads, and writes nothing.
        let before = fs::read(&path).unwrap();
        let mut dry = load(30, false);
        dry.keep("s".to_owned(), &MatchResult::NodeRefuses);
        dry.save();
        assert_eq!(fs::read(&path).unwrap(), before);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    /// What no job refers to any more takes no room from what others refer to.
    #[test]
    fn attributes_are_forgotten_with_the_jobs_that_refer_to_them() {
        let folder = tempfile::tempdir().unwrap();
        let load = |minutes| {
            let now = at(0) + SignedDuration::from_mins(minutes);
            MatchCache::load(Some(MatchFile::new(folder.path(), true)), now)
        };
        let mut memory = load(0);
        let many: BTreeSet<String> = (0..COLUMNS_MAX).map(|n| format!("a{n:03}")).collect();
        memory.use_columns(&many);
        memory.note_slow(&BTreeSet::from(["x".to_owned()]));
        memory.save();
        let mut memory = load(29);
        assert_eq!(memory.columns().names.len(), COLUMNS_MAX);
        assert!(memory.is_slow("x"));
        memory.use_columns(&BTreeSet::from(["site".to_owned()]));
        assert_eq!(memory.columns().names, BTreeSet::from(["site".to_owned()]));
        assert!(load(31).columns().names.is_empty());
        assert!(
            load(59).is_slow("x") && !load(61).is_slow("x"),
            "it is tried again"
        );
    }

    /// Else a queue whose Requirements are new every hour would be asked about anew in each tick.
    #[test]
    fn what_is_not_used_any_more_makes_room_when_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let load = |hours| MatchCache::load(Some(MatchFile::new(folder.path(), true)), at(hours));
        let mut memory = load(0);
        for number in 0..ANSWERS_MAX {
            memory.keep(format!("q{number}"), &MatchResult::Matches);
        }
        memory.save();
        for hours in [7, 8] {
            let mut memory = load(hours);
            assert!(memory.answer("q0").is_some());
            memory.keep("new".to_owned(), &MatchResult::NodeRefuses);
            memory.save();
        }
        let mut memory = load(9);
        assert_eq!(memory.answer("new"), Some(MatchResult::NodeRefuses));
        assert!(memory.answer("q0").is_some(), "it is in use");
    }

    #[test]
    fn a_broken_file_is_started_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        for text in [
            "{",
            "{\"version\":9,\"columns\":{},\"machines\":[],\"answers\":{}}",
        ] {
            fs::write(&path, text).unwrap();
            let file = Some(MatchFile::new(folder.path(), true));
            let mut memory = MatchCache::load(file, at(0));
            assert_eq!(memory.answer("q"), None);
            memory.keep("q".to_owned(), &MatchResult::Matches);
            memory.save();
            let file = Some(MatchFile::new(folder.path(), true));
            let mut memory = MatchCache::load(file, at(0));
            assert_eq!(memory.answer("q"), Some(MatchResult::Matches));
        }
    }

    /// An entry that cannot be read is asked anew, and the others are kept.
    #[test]
    fn an_odd_entry_costs_itself_alone() {
        let folder = tempfile::tempdir().unwrap();
        let load = || MatchCache::load(Some(MatchFile::new(folder.path(), true)), at(0));
        let mut memory = load();
        memory.keep("good".to_owned(), &MatchResult::Matches);
        memory.keep("odd".to_owned(), &MatchResult::Matches);
        memory.use_columns(&BTreeSet::from(["fine".to_owned(), "bad".to_owned()]));
        memory.save();
        let path = folder.path().join(FILE);
        let mut stored: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        stored["answers"]["odd"] = serde_json::json!({"answer": "perhaps"});
        stored["columns"]["bad"] = Value::Null;
        stored["machines"] = serde_json::json!([null, {"kind": 5}]);
        fs::write(&path, serde_json::to_vec(&stored).unwrap()).unwrap();
        let mut memory = load();
        assert_eq!(memory.answer("good"), Some(MatchResult::Matches));
        assert_eq!(memory.answer("odd"), None);
        let names = memory.columns().names;
        assert!(names.contains("fine") && !names.contains("bad"));
    }
}
