//! `ehos frontend`: serves the page that shows the pool, or writes it to a file.

use std::fs::Permissions;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use log::warn;

use crate::cli::Frontend;
use config::{self, Origin};
use frontend::token::{self, Token};
use frontend::{self, History, Hosts, Router as Site};
use report::{history, status};
use system::environment::Environment;
use system::exit::Exit;
use system::rights;
use tick::state_directory;

/// The key that says where the state is.
const STATE_DIR: &str = "daemon.state_dir";

/// Serves the page until it is stopped, or writes it to a file.
///
/// # Errors
/// No state directory, a port in use, an unreadable history, or a file that cannot be written.
pub fn run(
    args: &Frontend,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let folder = folder(args, environment)?;
    if args.url {
        let token = kept(args, environment, &folder)?;
        writeln!(out, "{}", address_with(args.listen, &token))
            .context("standard output cannot be written")?;
        return Ok(Exit::Done);
    }
    if let Err(error) = std::fs::read_dir(&folder) {
        warn!(
            "{}: no history: {}; run a first tick, or give the place by --state-dir or --history",
            folder.display(),
            rights::told_in(&folder, folder.parent(), &error)
        );
    }
    // A page of a layout that this program does not know could show anything.
    if let Err(error @ status::Error::Newer { .. }) = status::last(&folder) {
        return Err(error.into());
    }
    let site = Site::new(History::new(folder.clone()));
    if let Some(file) = &args.once {
        let html = frontend::html(&site)?;
        if file.as_os_str() == "-" {
            out.write_all(html.as_bytes())
                .context("the page cannot be printed")?;
        } else {
            let file = environment.working_directory.join(file);
            write(&file, &html).map_err(|error| {
                anyhow!(
                    "{}: cannot be written: {}; create its folder and make it writable",
                    file.display(),
                    rights::told(file.parent().unwrap_or(&file), &error)
                )
            })?;
        }
        return Ok(Exit::Done);
    }
    let terminal = std::io::stdout().is_terminal();
    let token = match (args.no_token, terminal) {
        (true, _) => None,
        (false, true) => Some(kept(args, environment, &folder).or_else(|error| {
            warn!("{error}; this run uses a token of its own");
            Token::random().context("no random number from /dev/urandom")
        })?),
        (false, false) => Some(kept(args, environment, &folder)?),
    };
    let listener = frontend::bind(args.listen)?;
    let address = listener.local_addr().context("the local port is unknown")?;
    match (&token, frontend::is_loopback(address.ip())) {
        (Some(_), true) => {}
        (Some(_), false) => warn!(
            "{address}: token and page cross the network unencrypted; put a web server with TLS in front (docs/security.md)"
        ),
        (None, true) => warn!("--no-token: every user of this machine sees the page"),
        (None, false) => warn!(
            "--no-token: every host that reaches {address} sees the page without a login; listen on 127.0.0.1 behind a web \
             server that asks for one (docs/security.md)"
        ),
    }
    let words = match &token {
        // A token does not belong into a log.
        Some(token) if terminal => format!("listening on {}", address_with(address, token)),
        Some(_) => {
            format!(
                "listening on http://{address}\nthe page asks for a token: `ehos frontend --url` prints its address"
            )
        }
        None => format!("listening on http://{address}"),
    };
    out.write_all((words + "\n").as_bytes())
        .context("standard output cannot be written")?;
    out.flush().context("standard output cannot be written")?;
    let hosts = Hosts::new(address, &args.hosts);
    frontend::serve(&listener, hosts, site.asking_for(token))
}

/// The address that opens the page.
fn address_with(address: SocketAddr, token: &Token) -> String {
    format!("http://{address}/?token={}", token.expose())
}

/// The token of the page: of --token-file, of the unit's credential (systemd.exec(5), `LoadCredential=`), or of the state
/// directory.
fn kept(args: &Frontend, environment: &Environment, history: &Path) -> anyhow::Result<Token> {
    let remedy = "give --token-file FILE, or --no-token if a web server in front asks for a login";
    let credentials = environment.variables.get("CREDENTIALS_DIRECTORY");
    let credential = credentials.map(|folder| Path::new(folder).join(token::FILE));
    let given = match &args.token_file {
        Some(file) => Some(environment.working_directory.join(file)),
        None => credential.filter(|file| file.exists()),
    };
    if let Some(file) = given {
        return Token::read(&file)
            .map_err(|error| anyhow!("token {}: {error}; {remedy}", file.display()));
    }
    let directory = history.parent().unwrap_or(history);
    let root = rustix::process::geteuid().is_root();
    let others = root && std::fs::metadata(directory).is_ok_and(|folder| folder.uid() != 0);
    let file = directory.join(token::FILE);
    // Root creates no file in a directory of another user.
    let found = if others {
        Token::read(&file)
    } else {
        Token::kept(directory)
    };
    found.map_err(|error| {
        let told = rights::told_in(&file, Some(directory), &error);
        anyhow!(
            "token {}: {told}; run a tick, which creates it, or {remedy}",
            file.display()
        )
    })
}

/// The folder of the history.
fn folder(args: &Frontend, environment: &Environment) -> Result<PathBuf, state_directory::Error> {
    let here = &environment.working_directory;
    if let Some(folder) = &args.history {
        return Ok(here.join(folder));
    }
    if let Some(directory) = &args.common.state_dir {
        return Ok(history::folder(&here.join(directory)));
    }
    // An unreadable or invalid configuration is ignored here.
    let settings = config::settings(&args.common.config, environment);
    let configured = settings
        .iter()
        .find(|setting| setting.key == STATE_DIR && setting.origin != Origin::Default);
    let directory = match configured {
        Some(setting) => environment.path(Path::new(&setting.value)),
        None => {
            let of = |name: &str| environment.variables.get(name).cloned();
            let system = history::folder(Path::new(system::rights::SYSTEM_DIRECTORY));
            // Every user can read the history of the system.
            let readable = state_directory::owns_system_directory() || system.is_dir();
            state_directory::default_directory(of, readable)?
        }
    };
    Ok(history::folder(&directory))
}

/// Writes a temporary file and renames it: a reader has the old file or the new one.
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
