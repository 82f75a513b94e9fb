//! `ehos frontend`: the page that shows the pool.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use log::warn;

use crate::cli::Frontend;
use crate::config::{self, Environment, Origin};
use crate::exit::Exit;
use crate::frontend::{self, History, Hosts, Site};
use crate::{history, rights, state};

/// The key that says where the state is.
const STATE_DIR: &str = "daemon.state_dir";

/// Serves the page until it is stopped, or writes it to a file.
///
/// # Errors
/// No place for the state, a port that is taken, a history that cannot be read, a file that cannot be written.
pub fn run(
    args: &Frontend,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let folder = folder(args, environment)?;
    if let Err(error) = std::fs::read_dir(&folder) {
        warn!(
            "no history in {}: {}; the first tick makes it, and --state-dir or --history says where it is",
            folder.display(),
            rights::told_in(&folder, folder.parent(), &error)
        );
    }
    let site = Site::new(History::new(folder));
    if let Some(file) = &args.once {
        let html = frontend::html(&site)?;
        if file.as_os_str() == "-" {
            out.write_all(html.as_bytes())
                .context("the page could not be printed")?;
        } else {
            let file = environment.working_directory.join(file);
            write(&file, &html).map_err(|error| {
                anyhow!(
                    "{} cannot be written; its folder must be there, and writable: {}",
                    file.display(),
                    rights::told(file.parent().unwrap_or(&file), &error)
                )
            })?;
        }
        return Ok(Exit::Done);
    }
    let listener = frontend::bind(args.listen)?;
    let address = listener
        .local_addr()
        .context("the port that was taken is not told")?;
    if !frontend::is_loopback(address.ip()) {
        warn!(
            "whoever reaches {address} sees the page: there is no login. Keep it to 127.0.0.1 behind a web server that asks \
             for one (docs/frontend.md)"
        );
    }
    writeln!(out, "listening on http://{address}").context("nothing can be printed")?;
    out.flush().context("nothing can be printed")?;
    frontend::serve(&listener, Hosts::new(address, &args.hosts), site)
}

/// Where the history is.
fn folder(args: &Frontend, environment: &Environment) -> Result<PathBuf, state::Error> {
    let here = &environment.working_directory;
    if let Some(folder) = &args.history {
        return Ok(here.join(folder));
    }
    if let Some(directory) = &args.common.state_dir {
        return Ok(history::folder(&here.join(directory)));
    }
    // A configuration that this user cannot read, or that will not do, says nothing here.
    let settings = config::settings(&args.common.config, environment);
    let configured = settings
        .iter()
        .find(|setting| setting.key == STATE_DIR && setting.origin != Origin::Default);
    let directory = match configured {
        Some(setting) => environment.path(Path::new(&setting.value)),
        None => {
            let of = |name: &str| environment.variables.get(name).cloned();
            let system = history::folder(Path::new(state::SYSTEM_DIRECTORY));
            // What its ticks have written is for all to read.
            let readable = state::owns_system_directory() || system.is_dir();
            state::default_directory(of, readable)?
        }
    };
    Ok(history::folder(&directory))
}

/// Writes the file beside its place and renames it: whoever reads it meanwhile has the old one.
fn write(file: &Path, html: &str) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    let mut new = tempfile::Builder::new()
        .prefix(".ehos-")
        .tempfile_in(folder)?;
    new.write_all(html.as_bytes())?;
    new.as_file()
        .set_permissions(Permissions::from_mode(0o644))?;
    new.persist(file).map_err(|error| error.error)?;
    Ok(())
}
