//! What the configuration says, key by key, and where: to be looked at, also when it is not valid.

use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;

use super::document::{self, Entry, Item, Section, Step};
use super::table::FILE;
use super::{address, clouds, clouds_yaml, search};
use keys::{Kind, Value};
use scaling::sorting;

/// What stands in the place of a secret.
pub(super) const MASK: &str = "***";
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
    let mut merged = Section::default();
    let mut texts: Vec<(PathBuf, String)> = Vec::new();
    // That there is no file is an error that `load` tells.
    for path in search::files(files, env).unwrap_or_default() {
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        let Ok(found) = document::read(&path, &text, texts.len()) else {
            continue;
        };
        merged.merge(found.keys);
        texts.push((path, text));
    }
    let mut all = All::default();
    all.add(&merged, &[], |key, entry| match texts.get(entry.file) {
        Some((path, text)) => in_file(path, text, key),
        None => Origin::Default,
    });
    let mut clouds: Vec<(String, Section)> = Vec::new();
    for (name, cloud) in merged.section("clouds").sections() {
        clouds.push((name.to_owned(), cloud.clone()));
    }
    let simulated = merged.has("simulation");
    if clouds.is_empty()
        && !simulated
        && let Some((name, found)) = clouds::of_environment(env)
    {
        all.add(&found.cloud, &["clouds", &name], |key, _| {
            let field = key.last().copied().unwrap_or_default();
            Origin::Variable(format!("OS_{}", field.to_ascii_uppercase()))
        });
        clouds.push((name, found.cloud));
    }
    for (name, cloud) in clouds {
        if let Some(entry) = cloud.text("cloud") {
            all.add_entry(&name, entry, env);
        }
    }
    all.add_defaults(simulated, env);
    all.sorted()
}

fn in_file(path: &Path, text: &str, key: &[&str]) -> Origin {
    Origin::File {
        file: path.to_owned(),
        line: yaml::find(text, key).map(|place| place.line),
    }
}

/// A value for people to read.
fn value_text(name: &str, value: &Value) -> String {
    match value {
        Value::Secret(_) => MASK.to_owned(),
        Value::Address(url) => address::shown(url.expose_secret()),
        Value::Text(url) if name == "auth_url" && address::has_user(url) => MASK.to_owned(),
        Value::List(items) => match items.as_slice() {
            [only] => only.clone(),
            several => yaml::list(several),
        },
        value => match (value.text(), value.entries()) {
            (Some(text), _) => text,
            (None, entries) => {
                let entries = entries.unwrap_or_default().into_iter();
                let pairs: Vec<String> = entries.map(|(k, v)| format!("{k}: {v}")).collect();
                format!("{{{}}}", pairs.join(", "))
            }
        },
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
    /// Adds the values of `section`, which stands at `above`, where nothing is said yet. Of two spellings that mean the same
    /// the shorter path counts.
    fn add(
        &mut self,
        section: &Section,
        above: &[&str],
        origin: impl Fn(&[&str], &Entry) -> Origin,
    ) {
        let mut above = above.iter().map(|name| Step::of(name)).collect();
        section.visit(&mut above, &mut |path, entry| {
            let written: Vec<&str> = path.iter().map(|step| step.written.as_str()).collect();
            let mut means: Vec<String> = path.iter().map(|step| step.name.clone()).collect();
            // What stands beside `auth:` goes over what stands in it, in whichever file.
            let in_auth = means.len() == 4 && means.get(2).is_some_and(|key| key == "auth");
            if in_auth {
                means.remove(2);
            }
            let new = Known {
                value: match &entry.item {
                    Item::Value(value) => value_text(&entry.name, value),
                    Item::Unused => "(not used)".to_owned(),
                    Item::World(_) => "a simulated world".to_owned(),
                    Item::Wrong | Item::Section(_) | Item::List(_) => "(not usable)".to_owned(),
                },
                origin: origin(&written, entry),
                path: written.into_iter().map(str::to_owned).collect(),
                means,
            };
            match self.0.iter_mut().find(|known| known.means == new.means) {
                Some(known) if known.path.len() > new.path.len() => *known = new,
                Some(_) => {}
                None => self.0.push(new),
            }
        });
    }

    /// Adds the entry of clouds.yaml under what the cloud says itself.
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
        self.add(&found.cloud, &["clouds", cloud], |key, _| {
            let mut in_entry = key.to_vec();
            if let Some(name) = in_entry.get_mut(1) {
                *name = entry;
            }
            let mut above = in_entry.as_slice();
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
    }

    fn add_defaults(&mut self, simulated: bool, env: &Environment) {
        let mut defaults = vec![("ehos", "project_prefix", "ehos-v1".to_owned())];
        let template = search::template("execute.yaml", env).filter(|_| !simulated);
        defaults.extend(template.map(|path| ("ehos", "userdata_file", path.display().to_string())));
        for section in FILE.keys() {
            // What is said for all clouds under `ehos:` has its defaults in each of them.
            let Kind::Table(table) = section.kind else {
                continue;
            };
            for key in table.keys().filter(|_| section.name != "ehos") {
                let value = (key.default)().map(|value| value_text(key.name, &value));
                let value = value.filter(|text| !["[]", "{}"].contains(&text.as_str()));
                defaults.extend(value.map(|value| (section.name, key.name, value)));
            }
        }
        defaults.push(("condor", "universes", "5".to_owned()));
        for (section, key, value) in defaults {
            let path = vec![section.to_owned(), key.to_owned()];
            let given = |known: &Known| {
                // The original's older files have some under `ehos:`, and the template under another name.
                let last = known.means.get(1).map(String::as_str);
                known.means == path
                    || (known.means.len() == 2 && last == Some(key) && section == "daemon")
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
                FILE.keys().position(|key| key.name == first),
                cloud.filter(|_| first == "clouds"),
            )
        };
        let mut all = self.0;
        sorting::by_key(&mut all, rank);
        all.into_iter()
            .map(|known| Setting {
                key: known.path.join("."),
                value: known.value,
                origin: known.origin,
            })
            .collect()
    }
}
