//! Secrets that stand in files of their own.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::error::Diagnostic;
use super::text::BYTE_ORDER_MARK;
use system::advice::Advice;
use system::environment::Environment;
use system::rights;

/// The secret in the file `name`. A relative name is looked for in systemd's `$CREDENTIALS_DIRECTORY`
/// (`LoadCredential=`) first, then in the folder `beside`. With the path where it was found; the error says what
/// to do (`missing`, when there is no such file), and never the secret.
pub(super) fn read(
    name: &Path,
    beside: &Path,
    env: &Environment,
    missing: &str,
) -> Result<(SecretString, PathBuf), Advice> {
    let credential = env
        .variable("CREDENTIALS_DIRECTORY")
        .filter(|_| name.is_relative())
        .map(|folder| Path::new(folder).join(name))
        .filter(|path| path.exists());
    let path = match credential {
        Some(path) => path,
        None if name.starts_with("~") => env.path(name),
        None => env.path(&beside.join(name)),
    };
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let mut told = rights::told(&path, &error);
        if error.kind() == std::io::ErrorKind::NotFound {
            told.remedy = Some(missing.to_owned());
        }
        told.at(format_args!("cannot read the secret in {}", path.display()))
    })?;
    let secret = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&text);
    let secret = secret.trim_end_matches(['\n', '\r']);
    if secret.is_empty() {
        let problem = format!("{} is empty", path.display());
        return Err((problem, "write the secret into it").into());
    }
    if secret.contains(char::is_control) {
        let problem = format!("{} has more than one line", path.display());
        return Err((problem, "write only the secret into it").into());
    }
    Ok((SecretString::from(secret), path))
}

/// Whether users who do not own `path` and are not in its group can read it.
pub fn others_can_read(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

/// For a secret in a file that others can read.
pub(super) fn warning(path: &Path) -> Diagnostic {
    let remedy = format!("chmod o-r {}", path.display());
    Diagnostic {
        exposes_secret: true,
        ..Diagnostic::of_file(
            path,
            (
                "holds a secret, and every user of this machine can read it",
                remedy,
            ),
        )
    }
}
