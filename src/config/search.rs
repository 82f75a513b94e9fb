//! Which files make the configuration.

use std::path::{Path, PathBuf};

use super::drop_in;
use super::error::{Diagnostic, Error};
use scaling::sorting;
use system::environment::Environment;
use userdata::builtin_templates;

/// The name of the site's file.
pub(super) const FILE: &str = "ehos.yaml";

/// The folders in which ehos.yaml and the templates are searched, in this order.
pub fn folders(env: &Environment) -> Vec<PathBuf> {
    [
        "etc/ehos",
        "usr/local/etc/ehos",
        "usr/share/ehos",
        "usr/local/share/ehos",
    ]
    .iter()
    .map(|folder| env.root.join(folder))
    .chain([env.working_directory.join("configs")])
    .collect()
}

/// The template `name` (`base.yaml`, `master.yaml`, `execute.yaml`) of the first folder that has one, else the one that
/// is built in ([`builtin_templates::read`]).
pub fn template(name: &str, env: &Environment) -> Option<PathBuf> {
    folders(env)
        .into_iter()
        .map(|folder| folder.join(name))
        .find(|path| path.exists())
        .or_else(|| builtin_templates::path(name))
}

/// The files of the configuration, in the order in which they are merged: `named` ones, else those of
/// `$EHOS_CONFIG`, else the site's; each followed by the files of its folder ([`drop_in::folder`]). The first is
/// a main file.
pub(super) fn files(named: &[PathBuf], env: &Environment) -> Result<Vec<PathBuf>, Error> {
    let main: Vec<PathBuf> = if !named.is_empty() {
        named.iter().map(|file| env.path(file)).collect()
    } else if let Some(list) = env.variable("EHOS_CONFIG") {
        std::env::split_paths(list)
            .filter(|file| !file.as_os_str().is_empty())
            .map(|file| env.path(&file))
            .collect()
    } else {
        template(FILE, env).into_iter().collect()
    };
    if main.is_empty() {
        let folders: Vec<String> = folders(env)
            .iter()
            .map(|folder| folder.display().to_string())
            .collect();
        return Err(Diagnostic::general((
            format!(
                "no configuration: there is no {FILE} in {}",
                folders.join(", ")
            ),
            "write one (ehos.yaml.example is a start), or name one with --config or $EHOS_CONFIG",
        ))
        .into());
    }
    let mut files = Vec::new();
    for file in main {
        let folder = drop_in::folder(&file);
        files.push(file);
        files.extend(drop_ins(&folder)?);
    }
    Ok(files)
}

/// Files beside those of the folders of `files` that are not read for the end of their names alone.
pub(super) fn left_out(files: &[PathBuf]) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for file in files {
        // A folder that cannot be read is an error elsewhere.
        let entries = std::fs::read_dir(drop_in::folder(file));
        let entries = entries.into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        all.extend(paths.filter(|path| path.extension().is_some_and(|ending| ending == "yml")));
    }
    sorting::ascending(&mut all);
    all
}

fn drop_ins(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |error: std::io::Error| Diagnostic::unreadable(folder, &error);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed(error).into()),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        // Editors and temporary files begin with a dot.
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden
            && path
                .extension()
                .is_some_and(|extension| extension == "yaml")
        {
            files.push(path);
        }
    }
    sorting::ascending(&mut files);
    Ok(files)
}
