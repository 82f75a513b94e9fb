//! What the configuration says, key by key, and where: to be looked at, also when it is not valid.

use std::fmt;
use std::path::{Path, PathBuf};

use super::access::has_user;
use super::file::{Cloud, Field, File, Finding, Section};
use super::given::{self, MASK};
use super::{clouds, clouds_yaml, file, position, public, search};
use crate::deadline::Timeouts;
use crate::metrics::MetricsSettings;
use crate::scaling::policy::Policy;
use system::environment::Environment;

/// A key, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The key path, with dots.
    pub key: String,
    /// Its value for people to read; of a secret only that there is one.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It stands in a file.
    File {
        /// Which.
        file: PathBuf,
        /// In which line, from 1.
        line: Option<usize>,
    },
    /// An environment variable.
    Variable(String),
    /// Nothing says otherwise.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { file, line: None } => write!(f, "{}", file.display()),
            Origin::File {
                file,
                line: Some(line),
            } => write!(f, "{}:{line}", file.display()),
            Origin::Variable(name) => write!(f, "${name}"),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// Each value that counts in the merged configuration of `files` (as [`super::load`] finds them), with that of
/// clouds.yaml and of variables, and then the defaults. A file that cannot be read or parsed says nothing here.
pub fn settings(files: &[PathBuf], env: &Environment) -> Vec<Setting> {
    let mut all = All::default();
    let mut clouds: Vec<(String, Option<String>)> = Vec::new();
    // That there is no file is an error that `load` tells.
    for path in search::files(files, env).unwrap_or_default() {
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        let Ok(parsed) = file::parse(&path, &text) else {
            continue;
        };
        all.add(&parsed, &mut Vec::new(), |key| in_file(&path, &text, key));
        for (name, cloud) in parsed.clouds.iter().flat_map(|clouds| &clouds.0) {
            let entry = cloud.as_ref().and_then(entry_name);
            match clouds.iter_mut().find(|(there, _)| there == name) {
                Some((_, known)) => *known = entry.or(known.take()),
                None => clouds.push((name.clone(), entry)),
            }
        }
    }
    let simulated = all.has("simulation");
    if clouds.is_empty()
        && !simulated
        && let Some((name, found)) = clouds::of_environment(env)
    {
        let mut path = vec!["clouds".to_owned(), name.clone()];
        let entry = entry_name(&found.cloud);
        all.add(&found.cloud, &mut path, |key| {
            let field = key.last().copied().unwrap_or_default();
            Origin::Variable(format!("OS_{}", field.to_ascii_uppercase()))
        });
        clouds.push((name, entry));
    }
    for (name, entry) in clouds {
        if let Some(entry) = entry {
            all.add_entry(&name, &entry, env);
        }
    }
    all.add_defaults(env);
    all.sorted()
}

fn entry_name(cloud: &Cloud) -> Option<String> {
    cloud.cloud.value().or_else(|| cloud.os_cloud.value())
}

fn in_file(path: &Path, text: &str, key: &[&str]) -> Origin {
    Origin::File {
        file: path.to_owned(),
        line: position::find(text, key).map(|place| place.line),
    }
}

/// A value, and what it would be called had its key only one spelling and one place.
struct Known {
    /// As it is written.
    path: Vec<String>,
    /// In its one spelling.
    means: Vec<String>,
    value: String,
    origin: Origin,
}

#[derive(Default)]
struct All(Vec<Known>);

impl All {
    /// Puts what is given in `section`, which stands at `path`, over what is there.
    fn add(
        &mut self,
        section: &impl Field,
        path: &mut Vec<String>,
        origin: impl Fn(&[&str]) -> Origin,
    ) {
        section.visit(path, &mut |path, finding| {
            let value = match finding {
                Finding::Value(url)
                    if path.last().is_some_and(|key| key == "auth_url") && has_user(&url) =>
                {
                    MASK.to_owned()
                }
                Finding::Value(value) => value,
                Finding::Secret => MASK.to_owned(),
                Finding::Obsolete => "(not used)".to_owned(),
                Finding::Wrong(_) => "(not usable)".to_owned(),
            };
            let keys: Vec<&str> = path.iter().map(String::as_str).collect();
            let new = Known {
                path: path.to_vec(),
                means: means(path),
                value,
                origin: origin(&keys),
            };
            match self.0.iter_mut().find(|known| known.means == new.means) {
                // What stands beside `auth:` goes over what stands in it, in whichever file.
                Some(known) if known.path.len() < new.path.len() => {}
                Some(known) => *known = new,
                None => self.0.push(new),
            }
        });
    }

    /// Puts the entry of clouds.yaml under what the cloud says itself.
    fn add_entry(&mut self, cloud: &str, entry: &str, env: &Environment) {
        // What is wrong with it is told by `load`.
        let Ok(found) = clouds_yaml::entry(entry, None, env) else {
            return;
        };
        let texts: Vec<(PathBuf, String)> = found
            .files
            .into_iter()
            .filter_map(|path| Some((path.clone(), std::fs::read_to_string(path).ok()?)))
            .collect();
        let mut of_entry = All::default();
        let mut path = vec!["clouds".to_owned(), entry.to_owned()];
        of_entry.add(&found.cloud, &mut path, |key| {
            let mut above = key;
            // A key that is called otherwise there is somewhere in its entry.
            while !above.is_empty() {
                for (path, text) in texts.iter().rev() {
                    if let origin @ Origin::File { line: Some(_), .. } = in_file(path, text, above)
                    {
                        return origin;
                    }
                }
                above = above.split_last().map_or(&[], |(_, rest)| rest);
            }
            Origin::Default
        });
        for mut new in of_entry.0 {
            for path in [&mut new.path, &mut new.means] {
                if let Some(name) = path.get_mut(1) {
                    cloud.clone_into(name);
                }
            }
            if !self.0.iter().any(|known| known.means == new.means) {
                self.0.push(new);
            }
        }
    }

    fn add_defaults(&mut self, env: &Environment) {
        let policy = Policy::new("");
        let mut defaults = vec![("ehos", "project_prefix", policy.prefix.clone())];
        if !self.has("simulation")
            && let Some(template) = search::template("execute.yaml", env)
        {
            defaults.push(("ehos", "userdata_file", template.display().to_string()));
        }
        let daemon = public::daemon(&policy, &Timeouts::default());
        defaults.extend(
            daemon
                .into_iter()
                .map(|(key, value)| ("daemon", key, value)),
        );
        let timeout = given::duration_text(MetricsSettings::default().timeout);
        defaults.push(("metrics", "timeout", timeout));
        defaults.push(("condor", "universes", "5".to_owned()));
        for (section, key, value) in defaults {
            let path = vec![section.to_owned(), key.to_owned()];
            let given = |known: &Known| {
                // The original's older files have some under `ehos:`, and the template under another name.
                let last = known.means.get(1).map(String::as_str);
                known.means == path
                    || (known.means.len() == 2 && last == Some(key))
                    || (key == "userdata_file" && last == Some("execute_config"))
            };
            if !self.0.iter().any(given) {
                self.0.push(Known {
                    means: path.clone(),
                    path,
                    value,
                    origin: Origin::Default,
                });
            }
        }
    }

    fn has(&self, section: &str) -> bool {
        self.0
            .iter()
            .any(|known| known.path.first().is_some_and(|first| first == section))
    }

    /// By section, and among the clouds by cloud; what is given before what is not.
    fn sorted(self) -> Vec<Setting> {
        let mut clouds: Vec<String> = Vec::new();
        for known in &self.0 {
            if let [section, name, ..] = known.path.as_slice()
                && section == "clouds"
                && !clouds.contains(name)
            {
                clouds.push(name.clone());
            }
        }
        let rank = |known: &Known| {
            let first = known.path.first().map(String::as_str).unwrap_or_default();
            let cloud = known
                .path
                .get(1)
                .and_then(|name| clouds.iter().position(|cloud| cloud == name));
            (
                known.origin == Origin::Default,
                File::KEYS.iter().position(|key| *key == first),
                cloud.filter(|_| first == "clouds"),
            )
        };
        let mut all = self.0;
        all.sort_by_key(rank);
        all.into_iter()
            .map(|known| Setting {
                key: known.path.join("."),
                value: known.value,
                origin: known.origin,
            })
            .collect()
    }
}

/// The path of the key whose value it is, in its one spelling and one place.
fn means(path: &[String]) -> Vec<String> {
    let mut means = path.to_vec();
    if means.first().is_some_and(|section| section == "clouds")
        && means.len() == 4
        && means.get(2).is_some_and(|key| key == "auth")
    {
        means.remove(2);
    }
    if let Some(last) = means.last_mut() {
        let one = match last.as_str() {
            "flavor" => "flavors",
            "network" => "networks",
            "os_cloud" => "cloud",
            other => other,
        };
        *last = one.to_owned();
    }
    means
}
