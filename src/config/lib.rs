//! The configuration: found, read, merged and checked.
//!
//! The site's file is the first `ehos.yaml` of [`folders`]; named files ([`load`]'s argument, `--config`) or those
//! of `$EHOS_CONFIG` take its place. Over each file those of its folder (`ehos.d/*.yaml` for `ehos.yaml`) are
//! merged, in the order of their names.

mod access;
mod address;
mod check;
mod cloud_names;
mod clouds;
mod clouds_yaml;
mod cluster;
pub mod connection;
mod costs;
mod diagnostics;
mod document;
pub mod drop_in;

mod error;
pub mod export;
mod influxdb;
mod money;
mod new_file;
mod notify;
pub mod openrc;
mod origins;
mod poll;
mod schedules;
pub mod schema;
mod sdk;
mod search;
mod secrets;
mod settings;
mod table;
mod text;
mod there;
mod yaml_error;

use std::path::PathBuf;

use diagnostics::{Diagnostics, Source};
use document::{Document, Section};

use openstack::CloudSettings;
use scaling::sorting;
use system::environment::Environment;
use system::rights;
use userdata::cloudinit::Template;

pub use cloud_names::Names;
pub use diagnostics::can_be_named;

pub use error::{Diagnostic, Error};
pub use new_file::new_file;
pub use origins::{Origin, Setting, settings};
pub use poll::poll;
pub use search::{folders, template};
pub use secrets::others_can_read;
pub use settings::Config;

/// The configuration of `files`, of `$EHOS_CONFIG`, or of the site.
///
/// # Errors
/// Everything that is wrong with it; also when it has no pool id (`ehos.cluster`): the error proposes one.
pub fn load(files: &[PathBuf], env: &Environment) -> Result<Config, Error> {
    read(files, env)?.checked(env, None)
}

/// A configuration that is read once and checked with different changes. A change of its files in between changes nothing.
pub struct Variants(Read);

impl Variants {
    /// The configuration as [`load`] finds it. `fallback` is its text where no file is named or found.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn read(files: &[PathBuf], fallback: &str, env: &Environment) -> Result<Variants, Error> {
        let is_named = !files.is_empty() || env.variable("EHOS_CONFIG").is_some();
        if is_named || template(search::FILE, env).is_some() {
            return Ok(Variants(read(files, env)?));
        }
        let mut all = Read::default();
        let path = PathBuf::from("(the built-in site)");
        let file = document::read(&path, fallback, 0)?;
        all.add(path, fallback.to_owned(), file);
        Ok(Variants(all))
    }

    /// The configuration with `changes` merged over the files: keys as `config show` prints them (`daemon.idle_timeout`), and
    /// their values as YAML. Nothing is written, and a configuration without a pool id has `cluster` as that.
    ///
    /// # Errors
    /// As [`load`]; what is wrong with a change is said of `--set KEY`.
    pub fn with(
        &self,
        changes: &[(String, String)],
        cluster: &str,
        env: &Environment,
    ) -> Result<Config, Error> {
        let mut all = self.0.clone();
        for (key, value) in changes {
            let path = PathBuf::from(format!("--set {key}"));
            let text = nested(key, value);
            let mut file = document::read(&path, &text, all.sources.len())?;
            all.problems.append(&mut file.unknown);
            all.add(path, text, file);
        }
        let cluster = (!all.has_cluster()).then_some(cluster);
        all.checked(env, cluster)
    }
}

/// A key with dots and its value as a document.
fn nested(key: &str, value: &str) -> String {
    let mut text = String::new();
    let mut indent = String::new();
    for name in key.split('.') {
        text += &format!("\n{indent}{name}:");
        indent += "  ";
    }
    format!("{} {value}\n", text.trim_start())
}

/// As [`load`], but a configuration without a pool id gets one, as those of the original program have none. It is
/// kept in `10-cluster.yaml` in the folder of the first file (`ehos.d` for `ehos.yaml`), made once: of several
/// processes all get the same id. With `dry_run` nothing is written, and the id is good for this one run: no
/// server can carry it.
///
/// # Errors
/// As [`load`]; also when the file cannot be written, with the line to put into the configuration by hand.
pub fn ensure_cluster(
    files: &[PathBuf],
    env: &Environment,
    dry_run: bool,
) -> Result<Config, Error> {
    let read_once = read(files, env)?;
    if read_once.has_cluster() {
        return read_once.checked(env, None);
    }
    let main = read_once.main_file()?;
    let id = new_cluster()?;
    // Nothing is written for a configuration that will not do.
    let mut config = read_once.checked(env, Some(&id))?;
    let path = cluster::path(&main);
    if dry_run {
        let note =
            "the pool has no id: the first run without --dry-run creates one and keeps it here";
        config.notes.push(Diagnostic::of_file(&path, note));
        return Ok(config);
    }
    cluster::keep(&main, &id).map_err(|error| {
        let told =
            rights::told(&path, &error).at("the pool has no id, and a new one cannot be kept here");
        let by_hand = format!(
            "put this line under `ehos:` in {} and keep it: `cluster: {id}`",
            main.display()
        );
        let remedy = match told.remedy {
            Some(remedy) => format!("{remedy}; or {by_hand}"),
            None => by_hand,
        };
        Diagnostic::of_file(&path, (told.problem, remedy))
    })?;
    let mut config = load(files, env)?;
    let note = format!(
        "the pool had no id: it is {} from now on",
        config.policy.cluster
    );
    config.notes.push(Diagnostic::of_file(&path, note));
    Ok(config)
}

/// The files that make the configuration, in the order in which they are merged: `files`, those of `$EHOS_CONFIG`, or
/// the site's, each with those of its folder.
///
/// # Errors
/// When there is none, or a folder cannot be read.
pub fn files(files: &[PathBuf], env: &Environment) -> Result<Vec<PathBuf>, Error> {
    search::files(files, env)
}

/// What the configuration says to who only looks at the history.
#[derive(Debug, Default)]
pub struct ForReader {
    /// `daemon.state_dir`.
    pub state_dir: Option<PathBuf>,
    /// `daemon.hostname`.
    pub hostname: Option<String>,
    /// `condor.bin`.
    pub condor_bin: Option<PathBuf>,
    /// `condor.pool`.
    pub condor_pool: Option<String>,
}

/// What the configuration says to who only looks at the history: credentials are not looked for, and what cannot be read of
/// a configuration that is not one of the named `files` says nothing.
///
/// # Errors
/// When one of the named files cannot be read.
pub fn for_reader(files: &[PathBuf], env: &Environment) -> Result<ForReader, Error> {
    let found = match search::files(files, env) {
        Ok(found) => found,
        Err(error) if !files.is_empty() => return Err(error),
        Err(_) => return Ok(ForReader::default()),
    };
    let mut merged = Section::default();
    for path in found {
        let named = files.iter().any(|file| env.path(file) == path);
        let file = text::read(&path).and_then(|text| document::read(&path, &text, 0));
        match file {
            Ok(file) => merged.merge(file.keys),
            Err(problem) if named => return Err(problem.into()),
            Err(_) => {}
        }
    }
    let daemon = merged.section("daemon");
    let state_dir = daemon.value::<PathBuf>("state_dir");
    let condor = merged.section("condor");
    Ok(ForReader {
        state_dir: state_dir.map(|folder| env.path(&folder)),
        hostname: daemon.value("hostname"),
        condor_bin: condor
            .value::<PathBuf>("bin")
            .map(|folder| env.path(&folder)),
        condor_pool: condor.value("pool"),
    })
}

/// A new id for a pool (`ehos.cluster`): random, to be kept in its configuration.
///
/// # Errors
/// When the system gives no random number.
pub fn new_cluster() -> Result<String, Error> {
    cluster::make().map_err(|error| {
        Diagnostic::general(format!("no random number from /dev/urandom: {error}")).into()
    })
}

/// The files, read and merged.
#[derive(Clone, Default)]
struct Read {
    file: Section,
    sources: Vec<Source>,
    problems: Vec<Diagnostic>,
    notes: Vec<Diagnostic>,
}

fn read(named: &[PathBuf], env: &Environment) -> Result<Read, Error> {
    let mut all = Read::default();
    let mut unreadable = Vec::new();
    let files = search::files(named, env)?;
    for path in search::left_out(&files) {
        let what = ("not read", "rename it: names of these files end in .yaml");
        all.notes.push(Diagnostic::of_file(&path, what));
    }
    for path in files {
        let text = match text::read(&path) {
            Ok(text) => text,
            Err(problem) => {
                unreadable.push(problem);
                continue;
            }
        };
        match document::read(&path, &text, all.sources.len()) {
            Ok(mut file) => {
                unreadable.append(&mut file.unknown);
                all.add(path, text, file);
            }
            Err(problem) => unreadable.push(problem),
        }
    }
    if unreadable.is_empty() {
        Ok(all)
    } else {
        // What could not be read may hold what would else be missing: only what is certainly wrong is said.
        unreadable.append(&mut all.problems);
        Err(Error {
            problems: unreadable,
        })
    }
}

impl Read {
    fn add(&mut self, path: PathBuf, text: String, file: Document) {
        self.problems.extend(file.wrong);
        self.notes.extend(file.notes);
        if file.secret && secrets::others_can_read(&path) {
            self.notes.push(secrets::warning(&path));
        }
        if let Some((place, name)) = text::first_odd_blank(&text) {
            let problem = format!("there is {name} here, which YAML takes for a letter");
            self.notes.push(Diagnostic {
                place: Some(place),
                ..Diagnostic::of_file(&path, (problem, "put a space in its place"))
            });
        }
        self.file.merge(file.keys);
        self.sources.push(Source { path, text });
    }

    /// Whether there is an id, be it a wrong one; a simulated world needs none.
    fn has_cluster(&self) -> bool {
        self.file.has("simulation") || self.file.section("ehos").has("cluster")
    }

    fn main_file(&self) -> Result<PathBuf, Error> {
        match self.sources.first() {
            Some(source) => Ok(source.path.clone()),
            None => Err(Diagnostic::general("no configuration file").into()),
        }
    }

    fn checked(self, env: &Environment, cluster: Option<&str>) -> Result<Config, Error> {
        let files = self.sources.iter().map(|source| source.path.clone());
        let mut files: Vec<PathBuf> = files.collect();
        let mut context = Diagnostics {
            env,
            sources: self.sources,
            more_files: Vec::new(),
            problems: self.problems,
            notes: self.notes,
        };
        let mut config = check::check(&mut context, &self.file, cluster);
        if !context.problems.is_empty() {
            // From top to bottom, as one corrects them.
            sorting::by_key(&mut context.problems, |problem| {
                (
                    problem.file.clone(),
                    problem.place.map(|p| (p.line, p.column)),
                )
            });
            return Err(Error {
                problems: context.problems,
            });
        }
        files.append(&mut context.more_files);
        config.files = files;
        config.notes = context.notes;
        config.notes.extend(unfilled(&config));
        config.notes.extend(endless(&config));
        Ok(config)
    }
}

/// What a template needs and this configuration does not give: found before the first node is to be made.
fn unfilled(config: &Config) -> Option<Diagnostic> {
    if config.condor.host_ip.is_some() {
        return None;
    }
    let needs = |cloud: &&CloudSettings| {
        // It was read a moment ago, and found to be a template.
        Template::load(&cloud.user_data_file).is_ok_and(|template| {
            let tags = template.tags();
            tags.contains("host_ip") || tags.contains("master_ip")
        })
    };
    let cloud = config.clouds.iter().find(needs)?;
    Some(Diagnostic::of_file(
        &cloud.user_data_file,
        (
            "needs condor.host_ip, which is not set: ehos cannot create nodes",
            "set it to the central manager's address, as nodes reach it",
        ),
    ))
}

/// A template whose nodes would never end, where they are to end by themselves.
fn endless(config: &Config) -> Option<Diagnostic> {
    config.condor.noclaim_shutdown?;
    let stays = |cloud: &&CloudSettings| {
        Template::load(&cloud.user_data_file)
            .is_ok_and(|template| !template.tags().contains("noclaim_shutdown"))
    };
    let cloud = config.clouds.iter().find(stays)?;
    Some(Diagnostic::of_file(
        &cloud.user_data_file,
        (
            "has no tag {noclaim_shutdown}, and condor.scale_down is self-shutdown: its nodes must shut themselves down in \
             another way",
            "take the shutdown over from ehos's own execute.yaml",
        ),
    ))
}

#[cfg(test)]
mod contained_tests;
#[cfg(test)]
mod reference_tests;
#[cfg(test)]
mod sdk_tests;
#[cfg(test)]
mod tests;
