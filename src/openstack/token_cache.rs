//! The token of the last tick, on disk: most ticks need no new one.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use log::{debug, warn};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::auth::Token;
use super::catalog::Catalog;
use system::json;
use system::own_file;

/// Where a token is kept, and whose it is.
pub struct TokenCache {
    path: PathBuf,
    /// Keystone's address, user and project: a token of any other is not taken.
    owner: String,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    owner: String,
    token: String,
    good_until: Timestamp,
    project_id: Option<String>,
    user_id: Option<String>,
    catalog: Catalog,
    /// One of an older ehos does not say it: it is as old as can be.
    #[serde(default)]
    got_at: Timestamp,
    #[serde(default)]
    refused: BTreeSet<String>,
}

impl TokenCache {
    /// The cache at `path` for tokens of `owner`.
    pub fn new(path: PathBuf, owner: String) -> TokenCache {
        TokenCache { path, owner }
    }

    /// The token kept, if it is this owner's. A file that is damaged, another's or readable by others is not used.
    pub fn load(&self) -> Option<Token> {
        let stored = match self.read() {
            Ok(stored) => stored?,
            Err(why) => {
                warn!("token cache {}: {why}; not used", self.path.display());
                return None;
            }
        };
        if stored.owner != self.owner {
            debug!(
                "token cache {}: of another user, project or cloud",
                self.path.display()
            );
            return None;
        }
        Some(Token {
            secret: SecretString::from(stored.token),
            good_until: stored.good_until,
            project_id: stored.project_id,
            user_id: stored.user_id,
            catalog: stored.catalog,
            password_expires_at: None,
            clock_ahead: None,
            roles: Vec::new(),
            got_at: stored.got_at,
            refused: stored.refused,
        })
    }

    fn read(&self) -> Result<Option<Stored>, String> {
        let metadata = match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| error.to_string())?,
        };
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err("others may read or write it".to_owned());
        }
        let text = own_file::read(&self.path).map_err(|error| error.to_string())?;
        // The error of serde_json could quote a part of the token.
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| format!("damaged at line {} column {}", error.line(), error.column()))
    }

    /// Keeps `token`, readable by this user alone. Without it the next tick asks for a new one, so a failure is
    /// a warning.
    pub fn save(&self, token: &Token) {
        if let Err(error) = self.write(token) {
            warn!(
                "token cache {}: cannot be written: {error}; the next tick asks for a new token",
                self.path.display()
            );
        }
    }

    fn write(&self, token: &Token) -> io::Result<()> {
        let stored = Stored {
            owner: self.owner.clone(),
            token: token.secret.expose_secret().to_owned(),
            good_until: token.good_until,
            project_id: token.project_id.clone(),
            user_id: token.user_id.clone(),
            catalog: token.catalog.clone(),
            got_at: token.got_at,
            refused: token.refused.clone(),
        };
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let mut file = tempfile::Builder::new()
            .prefix(tick::state_directory::new_file::CLOUD_TOKEN)
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(folder)?;
        json::write(&mut file, &stored)?;
        file.persist(&self.path)?;
        Ok(())
    }
}
