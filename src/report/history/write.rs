//! Adds a tick to the history.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use rustix::fs::OFlags;

use super::{DAY, Day, LAST, Previous, Record, STEPS, folder, read, rollup};
use crate::TickReport;
use system::json;
use system::plain::{self, JsonWriter};

/// What the name of the last tick's file begins with while it is written.
const NEW: &str = "last.json.new-";

/// Adds a tick that is over: a line in the file of its day (UTC), the whole of it in `last.json`, and days that are older
/// than `keep_days` go. With 0 days only `last.json` is written.
///
/// # Errors
/// When it cannot be written. A line is then missing, or the last tick shown is an older one; nothing else depends on it.
pub fn write(state_directory: &Path, now: &mut TickReport, keep_days: u64) -> io::Result<()> {
    let folder = folder(state_directory);
    match fs::create_dir(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    // The unit's umask lets nobody else read; a page may be served by another user. A link would give a folder elsewhere away.
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::DIRECTORY).bits().cast_signed())
        .open(&folder)?;
    opened.set_permissions(Permissions::from_mode(0o755))?;
    // Of what cannot be read nothing is known.
    let before = Previous::load(&folder).unwrap_or_default();
    now.keep_since(before.as_ref());
    let days = read::days(&folder)?;
    if keep_days > 0 {
        let line = json::text(&Record::of(now, before.as_ref()))? + "\n";
        append(&folder.join(format!("{}{DAY}", day(now.at))), line)?;
        rollup::roll_up(&folder, &days, before.map(|before| before.at), now.at);
    }
    replace(&folder, now)?;
    prune(&folder, &days, now.at, keep_days)
}

/// Replaces the last tick, where it was written already: its line stays.
///
/// # Errors
/// The folder is missing, or cannot be written to.
pub fn write_last(state_directory: &Path, last: &TickReport) -> io::Result<()> {
    replace(&folder(state_directory), last)
}

/// The day of a tick, in UTC: no day has two names, or 25 hours.
fn day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// Adds whole lines of JSON to a file.
pub(super) fn append(path: &Path, lines: String) -> io::Result<()> {
    let mut lines = plain::json(&lines).into_owned().into_bytes();
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        // No link of another user leads an append elsewhere.
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)?;
    if torn(&mut file)? {
        lines.insert(0, b'\n');
    } else if file.metadata()?.len() == 0 {
        file.set_permissions(Permissions::from_mode(0o644))?;
    }
    file.write_all(&lines)
}

/// Whether the last line has no end: its tick was killed.
fn torn(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

fn replace(folder: &Path, now: &TickReport) -> io::Result<()> {
    let file = tempfile::Builder::new()
        .prefix(NEW)
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(folder)?;
    // What is written at once ends between two of serde_json's pieces, so that each part of it is text.
    json::write(&mut JsonWriter(file.as_file()), now)?;
    // It is not asked for by its umask, but set.
    file.as_file()
        .set_permissions(Permissions::from_mode(0o644))?;
    file.persist(folder.join(LAST))
        .map_err(|error| error.error)?;
    Ok(())
}

/// Removes days that are older than `keep_days`, and unfinished files of killed ticks. If every day but this one were too
/// old, the clock may be wrong, and nothing is removed.
fn prune(folder: &Path, days: &[Day], at: Timestamp, keep_days: u64) -> io::Result<()> {
    let today = day(at);
    let oldest = i64::try_from(keep_days)
        .ok()
        .and_then(|days| Span::new().try_days(days).ok())
        .and_then(|days| today.checked_sub(days).ok());
    let recent = |day: Date| day < today && oldest.is_some_and(|oldest| day >= oldest);
    let sure = keep_days == 0 || days.iter().any(|one| recent(one.date));
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let old = || {
            let stem = name.strip_suffix(DAY).or_else(|| name.strip_suffix(STEPS));
            let day: Option<Date> = stem.and_then(|day| day.parse().ok());
            sure && day.zip(oldest).is_some_and(|(day, oldest)| day < oldest)
        };
        if name.starts_with(NEW) || old() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
