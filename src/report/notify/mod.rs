//! Notifications of problems by a command or a webhook: at most one message per tick about new, lasting and resolved problems.
//!
//! Notifications are the last step of a tick. They change neither its actions nor its exit code. The next tick repeats a
//! message that could not be delivered.

mod due;
mod message;
mod settings;

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use log::{debug, warn};
use secrecy::{ExposeSecret, SecretString};
use ureq::http::Uri;

use crate::TickReport;
use crate::text::count;
use due::{Memory, Notice};
pub use settings::Settings;
use system::child;
use system::deadline::Deadline;
use system::http_client;
use system::json;
use system::own_file;
use system::rights;

/// What is remembered of notices, in the state directory.
const FILE: &str = "notices.json";

fn path(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

/// Sends the due notices of a completed tick. The caller holds the lock.
pub fn tell(settings: &Settings, directory: &Path, snapshot: &TickReport) {
    let mut channels: Vec<(&str, Channel<'_>)> = Vec::new();
    if let Some((program, arguments)) = settings.command.split_first() {
        channels.push(("command", Channel::Command(program, arguments)));
    }
    if let Some(webhook) = &settings.webhook {
        channels.push(("webhook", Channel::Webhook(webhook)));
    }
    if channels.is_empty() {
        return;
    }
    let mut memory = load(directory);
    memory.look(snapshot, settings);
    for (name, channel) in channels {
        let notices = memory.due(name, snapshot.at, settings);
        if notices.is_empty() {
            continue;
        }
        let texts: Vec<&str> = notices.iter().map(|notice| notice.text.as_str()).collect();
        debug!("notify.{name}: {}", texts.join("; "));
        match deliver(&channel, snapshot, &notices, settings.timeout) {
            Ok(()) => {
                let notices = notices
                    .iter()
                    .map(|notice| (notice.key.clone(), notice.state));
                let notices = notices.collect();
                memory.told(name, snapshot.at, notices);
            }
            Err(why) => warn!(
                "notify.{name}: {} not sent, the next tick retries: {why}",
                count(texts.len() as u64, "notice")
            ),
        }
    }
    if let Err(error) = save(directory, &memory) {
        warn!(
            "{}: the record of sent notices could not be written, some may be sent again: {}",
            path(directory).display(),
            rights::told_in(directory, Some(directory), &error)
        );
    }
}

enum Channel<'a> {
    Command(&'a str, &'a [String]),
    Webhook(&'a SecretString),
}

/// Sends one message.
fn deliver(
    channel: &Channel<'_>,
    snapshot: &TickReport,
    notices: &[Notice<'_>],
    timeout: Duration,
) -> Result<(), String> {
    let message = message::json(snapshot, notices);
    match channel {
        Channel::Command(program, arguments) => run(program, arguments, message, timeout),
        Channel::Webhook(address) => post(address, message, timeout),
    }
}

fn run(
    program: &str,
    arguments: &[String],
    message: String,
    timeout: Duration,
) -> Result<(), String> {
    // One line, for `read` of a shell.
    let message = message + "\n";
    let mut command = Command::new(program);
    command.args(arguments);
    let deadline = Deadline::within(timeout);
    let ended = child::run(&mut command, message.into_bytes(), deadline, |_| {})
        .map_err(|error| format!("{program}: {error}"))?;
    if ended.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&ended.stderr);
    let line = stderr.lines().next().unwrap_or("no error output");
    Err(format!("{program}: {}: {}", ended.status, shortened(line)))
}

fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}

fn post(address: &SecretString, message: String, timeout: Duration) -> Result<(), String> {
    let agents = http_client::agents(timeout);
    let uri: Uri = address
        .expose_secret()
        .parse()
        .map_err(|_| "not a valid address".to_owned())?;
    let route = agents.route(&uri)?;
    let answer = route
        .agent
        .post(address.expose_secret())
        .header("Content-Type", "application/json")
        .send(message)
        // Some errors quote the address.
        .map_err(|error| match error {
            ureq::Error::BadUri(_) => "not a valid address".to_owned(),
            error => {
                let error = error.to_string().replace(address.expose_secret(), "***");
                http_client::told(error, route.proxy)
            }
        })?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    Err(format!("answer {status}"))
}

/// Without a readable record some notices are sent again.
fn load(directory: &Path) -> Memory {
    let text = own_file::read(&path(directory)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

fn save(directory: &Path, memory: &Memory) -> io::Result<()> {
    let mut file = tempfile::Builder::new()
        .prefix(tick::state_directory::new_file::NOTICES)
        .tempfile_in(directory)?;
    json::write(&mut file, memory)?;
    file.persist(path(directory)).map_err(|error| error.error)?;
    Ok(())
}
