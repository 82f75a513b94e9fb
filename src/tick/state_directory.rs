//! The state directory: its place, and how the state is read and written.

mod salvage;

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use log::debug;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use scaling::state::{State, UnmanagedMachines};
use system::json;
use system::own_file;
use system::rights;
use system::rights::SYSTEM_DIRECTORY;

/// The version of the state file that this program writes, and the newest that it reads.
const VERSION: u32 = 2;

/// Name of the state file.
const FILE: &str = "state.json";

/// The state file in a state directory.
pub fn file(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

/// Name of the folder of the history.
pub const HISTORY: &str = "history";

/// Beginnings of the names of files that are not whole yet, before they take the place of another: whatever writes into
/// the state directory. The next tick removes those that a killed process has left.
pub mod new_file {
    /// The state.
    pub const STATE: &str = "state.json.new-";
    /// A simulated world.
    pub const WORLD: &str = "world.json.new-";
    /// A cloud's token.
    pub const CLOUD_TOKEN: &str = ".token-";
    /// What names stand for in a cloud.
    pub const LOOKUPS: &str = ".lookups-";
    /// Which notices were sent.
    pub const NOTICES: &str = "notices.json.new-";
    /// Keys that sign servers.
    pub const SIGNING_KEY: &str = ".proof.key-";
    /// The token of the page.
    pub const PAGE_TOKEN: &str = ".frontend.token-";
    /// When the next pass is due.
    pub const WAKE: &str = "wake.json.new-";
    /// In which clouds ehos has panicked.
    pub const INTERNAL_ERRORS: &str = "internal-errors.json.new-";

    pub(super) const ALL: [&str; 9] = [
        STATE,
        WORLD,
        CLOUD_TOKEN,
        LOOKUPS,
        NOTICES,
        SIGNING_KEY,
        PAGE_TOKEN,
        WAKE,
        INTERNAL_ERRORS,
    ];
}

/// An error of the state directory.
#[derive(Debug, Error)]
pub enum Error {
    #[error("state directory {path}: {what}: {error}{}", advice(remedy.as_deref()), path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The operation that failed.
        what: &'static str,
        /// Not a `source`, which would be printed twice.
        error: io::Error,
        /// The remedy, if access was denied.
        remedy: Option<String>,
    },
    /// Belongs to another user, and this is root.
    #[error(
        "state directory {path}: belongs to user {owner}: files that root writes there would stop the ticks of {owner}; run \
         this as that user: {command}", path = path.display()
    )]
    Foreign {
        /// The directory, or the folder in it.
        path: PathBuf,
        /// The user to whom it belongs.
        owner: String,
        /// The command to type.
        command: String,
    },
    #[error("{path}: written by a newer ehos (version {version}, this one reads {VERSION}); install the newer version, or move the file away, which resets timers and loses no server", path = path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        version: u64,
    },
    #[error(
        "no state directory; set --state-dir, EHOS_STATE_DIR, daemon.state_dir in the configuration, or HOME"
    )]
    Nowhere,
}

/// The state, and how it was read.
#[derive(Debug)]
pub struct Loaded {
    pub state: State,
    /// The notice that the file was damaged and moved away.
    pub notice: Option<String>,
}

#[derive(Serialize)]
struct FileOut<'a> {
    version: u32,
    state: &'a State,
}

/// A file of today's layout, which begins with its version.
#[derive(Deserialize)]
struct FileToday {
    #[serde(rename = "version")]
    _version: Today,
    state: State,
}

/// Today's version of the layout. Another one ends the reading.
#[derive(Deserialize)]
#[serde(try_from = "u32")]
struct Today;

impl TryFrom<u32> for Today {
    type Error = &'static str;

    fn try_from(version: u32) -> Result<Today, &'static str> {
        match version {
            VERSION => Ok(Today),
            _ => Err("another version"),
        }
    }
}

#[derive(Deserialize)]
struct FileIn {
    state: State,
    /// The names of entries that did not parse.
    #[serde(skip)]
    lost: Vec<String>,
}

/// Returns the default state directory: `$STATE_DIRECTORY` (systemd), /var/lib/ehos for root and its owner, else the XDG
/// state home.
///
/// # Errors
/// None of them is known.
pub fn default_directory(
    variable: impl Fn(&str) -> Option<String>,
    owns_system_directory: bool,
) -> Result<PathBuf, Error> {
    if let Some(directory) = variable("STATE_DIRECTORY").filter(|directory| !directory.is_empty()) {
        // systemd separates several by colons; the first is that of ehos.
        return Ok(PathBuf::from(
            directory.split(':').next().unwrap_or_default(),
        ));
    }
    if owns_system_directory {
        return Ok(PathBuf::from(SYSTEM_DIRECTORY));
    }
    let home = || {
        variable("HOME")
            .filter(|home| !home.is_empty())
            .map(|home| PathBuf::from(home).join(".local/state"))
    };
    let base = variable("XDG_STATE_HOME")
        .filter(|home| !home.is_empty())
        .map(PathBuf::from)
        .or_else(home);
    base.map(|base| base.join("ehos")).ok_or(Error::Nowhere)
}

/// Whether this user is root or owns /var/lib/ehos.
pub fn owns_system_directory() -> bool {
    let user = rustix::process::geteuid();
    user.is_root()
        || fs::metadata(SYSTEM_DIRECTORY).is_ok_and(|directory| directory.uid() == user.as_raw())
}

/// Creates the directory if it is missing, for a command that writes to it.
///
/// Root writes to no directory of another user: that user could not read the files, and root would follow that user's
/// links. A directory that root makes where systemd expects one of the service's becomes the service's at its next start
/// (source: systemd.exec(5), `StateDirectory=`).
///
/// # Errors
/// The directory cannot be created, or belongs to another user and this is root.
pub fn prepare(directory: &Path) -> Result<(), Error> {
    refuse_foreign(directory)?;
    let made = match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => fs::create_dir_all(parent),
        _ => Ok(()),
    };
    // Others reach the history in it (docs/security.md), and list nothing else: every other file is 0600.
    let made = made.and_then(
        |()| match fs::DirBuilder::new().mode(0o711).create(directory) {
            Err(_) if directory.is_dir() => Ok(()),
            made => made,
        },
    );
    made.map_err(|source| io_error(directory, "cannot be created", source))
}

fn refuse_foreign(directory: &Path) -> Result<(), Error> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let owner_of = |path: PathBuf, found: io::Result<fs::Metadata>| match found {
        Ok(found) if found.uid() != 0 => Err(Error::Foreign {
            path,
            owner: rights::user_name(found.uid()),
            command: rights::command_as(found.uid()),
        }),
        // The first file that is opened there reports the error.
        Ok(_) | Err(_) => Ok(()),
    };
    owner_of(directory.to_owned(), fs::metadata(directory))?;
    // The history is opened by its name: neither a link nor a folder of another user.
    let history = directory.join(HISTORY);
    owner_of(history.clone(), fs::symlink_metadata(&history))?;
    let leads_to = fs::metadata(&history);
    owner_of(history, leads_to)
}

/// The remedy of an error of the directory.
fn advice(remedy: Option<&str>) -> String {
    match remedy {
        Some(remedy) => format!("; {remedy}"),
        None => "; check that it is a directory, that this user can write to it, and that the disk is not full".to_owned(),
    }
}

fn io_error(path: &Path, what: &'static str, error: io::Error) -> Error {
    let directory = match path.file_name() {
        Some(name) if name == FILE => path.parent().unwrap_or(path),
        _ => path,
    };
    in_directory(directory, path, what, error)
}

fn in_directory(directory: &Path, path: &Path, what: &'static str, error: io::Error) -> Error {
    Error::Io {
        path: path.to_owned(),
        what,
        remedy: rights::remedy(path, Some(directory), error.kind()),
        error,
    }
}

/// Returns the error of a lock that cannot be taken.
pub fn unlockable(directory: &Path, name: &str, source: io::Error) -> Error {
    let path = directory.join(name);
    in_directory(directory, &path, "cannot be created or locked", source)
}

/// Returns the error of another file in the directory.
pub fn unwritable(directory: &Path, source: io::Error) -> Error {
    io_error(directory, "cannot be read or written", source)
}

/// Removes the unfinished files of killed processes. The caller holds the lock. Other commands write tokens of clouds, too:
/// one whose file is removed requests a token again.
pub fn sweep(directory: &Path) {
    // The next write reports the error.
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if new_file::ALL.iter().any(|start| name.starts_with(start)) {
            match fs::remove_file(entry.path()) {
                Ok(()) => debug!("{name}: unfinished file of a killed process, removed"),
                Err(error) => {
                    debug!("{name}: unfinished file of a killed process, not removed: {error}")
                }
            }
        }
    }
}

/// Fields of the state in layout 1, and their names now. Fields of its entries have serde's aliases.
const RENAMED: [(&str, &str); 3] = [
    ("kinds", "node_types"),
    ("refusals", "unclaimed_groups"),
    ("vanished", "nodes_silent"),
];

/// The state file with today's names of fields.
fn upgraded(mut value: serde_json::Value) -> serde_json::Value {
    let fields = value
        .get_mut("state")
        .and_then(serde_json::Value::as_object_mut);
    if let Some(fields) = fields {
        for (old, new) in RENAMED {
            if let Some(field) = fields.remove(old) {
                fields.entry(new).or_insert(field);
            }
        }
    }
    value
}

/// The version alone.
#[derive(Deserialize)]
struct Version {
    version: serde_json::Value,
}

/// Reads a value as another type, by its text: the state is read and written as text, and the program has no other code
/// for that.
fn reread<T: DeserializeOwned>(value: &impl Serialize) -> io::Result<T> {
    Ok(serde_json::from_slice(&json::bytes(value)?)?)
}

/// Reads a state file of any layout, as far as its entries parse.
fn read_by_value(text: &[u8]) -> io::Result<FileIn> {
    let value = upgraded(serde_json::from_slice(text)?);
    reread(&value).or_else(|error| {
        let fields = value.get("state").and_then(serde_json::Value::as_object);
        let salvaged = fields.and_then(salvage::salvage);
        salvaged
            .map(|(state, lost)| FileIn { state, lost })
            .ok_or(error)
    })
}

/// Reads the state; a missing file is an empty state. A file that does not parse is moved away if `set_aside` (a dry run
/// changes nothing), and the state starts empty.
///
/// # Errors
/// The file cannot be read, or a newer ehos wrote it.
pub fn load(directory: &Path, set_aside: bool) -> Result<Loaded, Error> {
    let path = directory.join(FILE);
    let text = match own_file::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Loaded {
                state: State::default(),
                notice: None,
            });
        }
        Err(source) => return Err(io_error(&path, "cannot be read", source)),
    };
    // Only a file of another layout, or a damaged one, is read value by value.
    if let Ok(FileToday { state, .. }) = serde_json::from_slice(&text) {
        let notice = None;
        return Ok(Loaded { state, notice });
    }
    // The version is read first: a file of a newer ehos is not damaged.
    let version = serde_json::from_slice::<Version>(&text).ok();
    let version = version.and_then(|file| file.version.as_u64());
    if let Some(version) = version.filter(|version| *version > u64::from(VERSION)) {
        return Err(Error::Newer { path, version });
    }
    match read_by_value(&text) {
        Ok(FileIn { state, lost }) if version.is_some() => {
            let notice = if lost.is_empty() {
                None
            } else {
                let kept = set_aside_as(&path, set_aside, |path, aside| {
                    fs::copy(path, aside).map(drop)
                })?;
                Some(format!(
                    "{}: damaged entries: {}; {kept}; every other entry is kept, and ehos adopts the nodes again by their \
                     metadata",
                    path.display(),
                    lost.join(", "),
                ))
            };
            Ok(Loaded { state, notice })
        }
        other => {
            let why = other
                .err()
                .map_or_else(|| "no version".to_owned(), |error| error.to_string());
            let kept = set_aside_as(&path, set_aside, |path, aside| fs::rename(path, aside))?;
            // The unmanaged machines of the pool are unknown, not absent.
            let state = State {
                unmanaged: UnmanagedMachines::Unknown,
                ..State::default()
            };
            Ok(Loaded {
                state,
                notice: Some(format!(
                    "{}: damaged: {why}; {kept}; timers restart, and ehos adopts the nodes again by their metadata",
                    path.display(),
                )),
            })
        }
    }
}

/// Reads the state in `text`, as far as its entries parse, for tests/fuzz.
#[cfg(fuzzing)]
pub fn read_anything(text: &[u8]) -> Option<State> {
    let value: serde_json::Value = serde_json::from_slice(text).ok()?;
    salvage::salvage(value.as_object()?).map(|(state, _)| state)
}

/// Moves or copies a damaged state file with `how`, and returns the words for it. A dry run changes nothing.
fn set_aside_as(
    path: &Path,
    really: bool,
    how: impl Fn(&Path, &Path) -> io::Result<()>,
) -> Result<String, Error> {
    if !really {
        return Ok("a tick would move it away".to_owned());
    }
    let aside = path.with_file_name(format!("{FILE}.damaged-{}", Timestamp::now().as_second()));
    how(path, &aside).map_err(|source| io_error(path, "cannot be moved away", source))?;
    Ok(format!("saved as {}", aside.display()))
}

/// Writes the state: to a temporary file beside it, synced, renamed; the directory synced too.
///
/// # Errors
/// Any step fails; the old state is then still whole.
pub fn save(directory: &Path, state: &State) -> Result<(), Error> {
    let path = directory.join(FILE);
    let failed = |what| move |source| io_error(directory, what, source);
    let mut file = tempfile::Builder::new()
        .prefix(new_file::STATE)
        .tempfile_in(directory)
        .map_err(failed("cannot be written to"))?;
    let file_out = FileOut {
        version: VERSION,
        state,
    };
    json::write(file.as_file_mut(), &file_out).map_err(failed("cannot be written to"))?;
    file.as_file()
        .sync_all()
        .map_err(failed("cannot be synced"))?;
    file.persist(&path)
        .map_err(|error| io_error(&path, "cannot be replaced", error.error))?;
    fs::File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(failed("cannot be synced"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), text).unwrap();
        dir
    }

    #[test]
    fn what_is_saved_is_loaded_again() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path(), true).unwrap().state, State::default());
        let state = State {
            turn: 7,
            ..State::default()
        };
        save(dir.path(), &state).unwrap();
        assert_eq!(load(dir.path(), true).unwrap().state, state);
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing else is left"
        );
    }

    #[test]
    fn only_what_is_unfinished_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let stay = [
            "state.json",
            "state.json.damaged-1",
            "tick.lock",
            "token-lab.json",
            "notes",
        ];
        let go = [
            "state.json.new-a1B2c3",
            ".token-a1B2c3",
            "world.json.new-a1B2c3",
        ];
        for name in stay.iter().chain(&go) {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        sweep(dir.path());
        let left: Vec<_> = stay
            .iter()
            .chain(&go)
            .filter(|name| dir.path().join(name).exists())
            .collect();
        assert_eq!(left, stay.iter().collect::<Vec<_>>());
        sweep(&dir.path().join("nowhere"));
    }

    #[test]
    fn a_state_from_before_builders_and_replacements_is_whole() {
        let state = State::default();
        let mut older = serde_json::to_value(&state).unwrap();
        let fields = older.as_object_mut().unwrap();
        for later in ["builders", "replacements", "images", "leftovers"] {
            assert!(fields.remove(later).is_some(), "{later}");
        }
        let dir = written(&serde_json::json!({"version": 1, "state": older}).to_string());
        let loaded = load(dir.path(), true).unwrap();
        assert_eq!((loaded.state, loaded.notice), (state, None));
    }

    #[test]
    fn garbage_is_set_aside_and_said() {
        for garbage in [
            "",
            "{",
            "[]",
            "{\"version\":1}",
            "{\"state\":{}}",
            "\0\0\0\0",
        ] {
            let dir = written(garbage);
            let looked = load(dir.path(), false).unwrap();
            assert!(
                looked.notice.unwrap().contains("would"),
                "a dry run only says so"
            );
            assert!(dir.path().join(FILE).exists());
            let loaded = load(dir.path(), true).unwrap();
            let empty = State {
                unmanaged: UnmanagedMachines::Unknown,
                ..State::default()
            };
            assert_eq!(loaded.state, empty);
            assert!(loaded.notice.unwrap().contains("saved as"), "{garbage:?}");
            assert!(!dir.path().join(FILE).exists());
            assert_eq!(
                fs::read_dir(dir.path()).unwrap().count(),
                1,
                "the garbage is kept"
            );
        }
    }

    #[test]
    fn a_state_that_cannot_be_read_does_not_say_what_the_pool_never_had() {
        let state = State {
            turn: 7,
            ..State::default()
        };
        let unmanaged = |value: serde_json::Value| {
            let dir = written(&value.to_string());
            let state = load(dir.path(), true).unwrap().state;
            (state.turn, state.unmanaged)
        };
        let whole = serde_json::json!({"version": 1, "state": state});
        assert_eq!(unmanaged(whole.clone()), (7, UnmanagedMachines::NeverSeen));
        let mut older = whole.clone();
        older["state"].as_object_mut().unwrap().remove("unmanaged");
        assert_eq!(unmanaged(older.clone()), (7, UnmanagedMachines::Unknown));
        // An older one with an entry that does not parse, and one in which this very entry does not.
        older["state"]["unclaimed_groups"] = serde_json::json!([{"jobs": "many"}]);
        assert_eq!(unmanaged(older), (7, UnmanagedMachines::Unknown));
        let mut damaged = whole;
        damaged["state"]["unmanaged"] = serde_json::json!("perhaps");
        assert_eq!(unmanaged(damaged), (7, UnmanagedMachines::Unknown));
        assert_eq!(
            unmanaged(serde_json::json!({})),
            (0, UnmanagedMachines::Unknown)
        );
        let nothing = tempfile::tempdir().unwrap();
        let fresh = load(nothing.path(), true).unwrap().state;
        assert_eq!(fresh.unmanaged, UnmanagedMachines::NeverSeen);
    }

    #[test]
    fn an_entry_that_does_not_parse_is_named_and_the_file_is_kept() {
        let mut value =
            serde_json::json!({"version": 1, "state": State { turn: 7, ..State::default() }});
        value["state"]["unclaimed_groups"] = serde_json::json!([{"jobs": "many"}]);
        let dir = written(&value.to_string());
        for (really, words) in [(false, "would"), (true, "saved as")] {
            let loaded = load(dir.path(), really).unwrap();
            let notice = loaded.notice.unwrap();
            assert_eq!(loaded.state.turn, 7);
            assert!(
                notice.contains("unclaimed_groups[0]") && notice.contains(words),
                "{notice}"
            );
        }
        // The tick that follows replaces the file.
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    /// tests/fixtures/layout-1 was written before the layout changed.
    #[test]
    fn a_state_of_the_first_layout_is_read_whole() {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/layout-1");
        let dir = written(&fs::read_to_string(fixture.join(FILE)).unwrap());
        let loaded = load(dir.path(), true).unwrap();
        assert_eq!(loaded.notice, None);
        save(dir.path(), &loaded.state).unwrap();
        let again = load(dir.path(), true).unwrap();
        assert_eq!((again.state, again.notice), (loaded.state, None));
        let text = fs::read_to_string(dir.path().join(FILE)).unwrap();
        let file: serde_json::Value = serde_json::from_str(&text).unwrap();
        let node = "/nodes/20270115t090200-01";
        for (path, value) in [
            (format!("{node}/node_type/flavor"), "\"m1.medium\""),
            (
                format!("{node}/made_for/requirements"),
                "\"9f86d081884c7d65\"",
            ),
            (format!("{node}/drain_cancelled"), "700000"),
            (format!("{node}/expired"), "800000"),
            (format!("{node}/force_expired"), "900000"),
            (format!("{node}/token_expiring"), "910000"),
            (format!("{node}/volumes/0/deleted_with_server"), "true"),
            (
                "/removed_clouds/red/20270115t080000-01/node_type/cloud".to_owned(),
                "\"green\"",
            ),
            ("/replacements/blue/node_type/cloud".to_owned(), "\"blue\""),
            ("/node_types/0/node_type/cloud".to_owned(), "\"blue\""),
            ("/node_types/0/joined".to_owned(), "2"),
            ("/zones/0/cause".to_owned(), "\"No valid host was found.\""),
            (
                "/pauses/green/cause".to_owned(),
                "\"429 Too Many Requests\"",
            ),
            ("/nodes_silent".to_owned(), "930000"),
            (
                "/unclaimed_groups/0/request/requirements".to_owned(),
                "\"9f86d081884c7d65\"",
            ),
            ("/leftovers/p-1/kind".to_owned(), "\"port\""),
            ("/totals/nodes/0/drains_cancelled".to_owned(), "2"),
            ("/totals/unknown_sources/0/count".to_owned(), "4"),
        ] {
            let found = file["state"].pointer(&path).map(ToString::to_string);
            assert_eq!(found.as_deref(), Some(value), "{path}");
        }
    }

    /// The names under which serde writes the fields of the structures in these sources, but for those that it flattens.
    fn fields(sources: &[&str]) -> Vec<String> {
        let mut names = Vec::new();
        for file in sources {
            let path = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../scaling")
                .join(file);
            let text = fs::read_to_string(path).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap().to_owned();
            let (mut attributes, mut is_serialized) = (String::new(), false);
            for line in text.lines().map(str::trim) {
                match line
                    .strip_prefix("pub ")
                    .and_then(|rest| rest.split_once(": "))
                {
                    _ if line.starts_with("pub struct ") => {
                        is_serialized = attributes.contains("Serialize");
                        attributes.clear();
                    }
                    Some((name, _)) if !name.contains(['(', ' ']) => {
                        let renamed = attributes.split_once("rename = \"");
                        let renamed = renamed.and_then(|(_, rest)| rest.split('"').next());
                        let is_there =
                            !attributes.contains("flatten") && !attributes.contains("serde(skip)");
                        if is_serialized && is_there {
                            names.push(renamed.unwrap_or(name).to_owned());
                        }
                        attributes.clear();
                    }
                    _ if line.starts_with("///") => {}
                    _ if line.is_empty() || line == "}" => attributes.clear(),
                    _ => attributes += line,
                }
            }
        }
        names
    }

    /// The keys in a document that have a value.
    fn filled(value: &serde_json::Value, keys: &mut std::collections::BTreeSet<String>) {
        use serde_json::Value;
        let is_empty = |value: &Value| match value {
            Value::Null => true,
            Value::Array(list) => list.is_empty(),
            Value::Object(object) => object.is_empty(),
            _ => false,
        };
        match value {
            Value::Object(object) => {
                keys.extend(
                    object
                        .iter()
                        .filter(|(_, value)| !is_empty(value))
                        .map(|(key, _)| key.clone()),
                );
                object.values().for_each(|value| filled(value, keys));
            }
            Value::Array(list) => list.iter().for_each(|value| filled(value, keys)),
            _ => {}
        }
    }

    /// tests/fixtures/layout-2 is what this layout's program has written, with each field filled. `EHOS_BLESS=1` writes it
    /// anew, from what is there: a new field is put in by hand first.
    #[test]
    fn a_state_of_this_layout_is_read_whole_and_written_the_same() {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../tests/fixtures/layout-2")
            .join(FILE);
        let text = fs::read_to_string(&fixture).unwrap();
        let dir = written(&text);
        let loaded = load(dir.path(), true).unwrap();
        assert_eq!(loaded.notice, None);
        save(dir.path(), &loaded.state).unwrap();
        let again = fs::read_to_string(dir.path().join(FILE)).unwrap();
        if std::env::var_os("EHOS_BLESS").is_some() {
            fs::write(&fixture, &again).unwrap();
        }
        assert_eq!(again.trim(), fs::read_to_string(&fixture).unwrap().trim());
        let mut keys = std::collections::BTreeSet::new();
        filled(&serde_json::from_str(&again).unwrap(), &mut keys);
        let fields = fields(&[
            "state.rs",
            "state/node.rs",
            "totals.rs",
            "zones.rs",
            "pace.rs",
        ]);
        assert!(fields.len() > 60, "{fields:?}");
        let missing: Vec<&String> = fields
            .iter()
            .filter(|field| !keys.contains(*field))
            .collect();
        assert!(
            missing.is_empty(),
            "no value in {}: {missing:?}",
            fixture.display()
        );
    }

    #[test]
    fn a_newer_version_is_neither_read_nor_touched() {
        let dir = written("{\"version\": 3, \"state\": {\"strange\": true}}");
        let error = load(dir.path(), true).unwrap_err();
        assert!(matches!(error, Error::Newer { version: 3, .. }));
        assert!(dir.path().join(FILE).exists());
    }

    #[test]
    fn the_directory_is_where_systemd_root_or_xdg_say() {
        let none = |_: &str| None;
        let of = |name: &'static str, value: &'static str| {
            move |asked: &str| (asked == name).then(|| value.to_owned())
        };
        assert_eq!(
            default_directory(of("STATE_DIRECTORY", "/a:/b"), true).unwrap(),
            PathBuf::from("/a")
        );
        assert_eq!(
            default_directory(none, true).unwrap(),
            PathBuf::from("/var/lib/ehos")
        );
        assert_eq!(
            default_directory(of("XDG_STATE_HOME", "/x"), false).unwrap(),
            PathBuf::from("/x/ehos")
        );
        assert_eq!(
            default_directory(of("HOME", "/h"), false).unwrap(),
            PathBuf::from("/h/.local/state/ehos")
        );
        assert!(matches!(
            default_directory(none, false),
            Err(Error::Nowhere)
        ));
    }
}
