//! The file of the host keys that this machine has learnt, each under the UUID of its server.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use crate::boot::MAX_VALUE;

/// The file, which need not be there.
fn read(file: &Path) -> io::Result<String> {
    match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        text => text,
    }
}

/// Whether a host key is known under this name.
pub(super) fn knows(file: &Path, alias: &str) -> io::Result<bool> {
    Ok(read(file)?.lines().any(|line| is_of(line, alias)))
}

/// A host key that is known under this name and short enough for metadata; one of Ed25519 before others.
pub(super) fn short_host_key(file: &Path, alias: &str) -> io::Result<Option<String>> {
    let text = read(file)?;
    let keys = text.lines().filter(|line| is_of(line, alias));
    let keys = keys.map(|line| {
        line.split_whitespace()
            .skip(1)
            .collect::<Vec<_>>()
            .join(" ")
    });
    Ok(keys
        .filter(|key| key.len() <= MAX_VALUE)
        .min_by_key(|key| !key.starts_with("ssh-ed25519 ")))
}

fn is_of(line: &str, alias: &str) -> bool {
    line.split_whitespace().next() == Some(alias)
}

/// Keeps these host keys under this name, in the place of others of it.
pub(super) fn keep_host_keys(file: &Path, alias: &str, keys: &[String]) -> io::Result<()> {
    let old = read(file)?;
    let others = old.lines().filter(|line| !is_of(line, alias));
    let ours = keys.iter().map(|key| format!("{alias} {key}"));
    let lines: Vec<String> = others.map(str::to_owned).chain(ours).collect();
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    writeln!(new, "{}", lines.join("\n"))?;
    new.persist(file).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_keys_of_a_server_take_the_place_of_its_old_ones_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known_hosts");
        assert!(!knows(&file, "one").unwrap());
        keep_host_keys(&file, "one", &["ssh-ed25519 AAAAold".to_owned()]).unwrap();
        keep_host_keys(&file, "two", &["ssh-ed25519 AAAAtwo".to_owned()]).unwrap();
        keep_host_keys(&file, "one", &["ssh-ed25519 AAAAnew".to_owned()]).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(text, "two ssh-ed25519 AAAAtwo\none ssh-ed25519 AAAAnew\n");
        assert!(knows(&file, "one").unwrap());
        assert!(!knows(&file, "on").unwrap());
        let rsa = format!("ssh-rsa AAAA{}", "x".repeat(300));
        let keys = [
            rsa,
            "ecdsa-sha2-nistp256 AAAAec".to_owned(),
            "ssh-ed25519 AAAAed".to_owned(),
        ];
        keep_host_keys(&file, "three", &keys).unwrap();
        let short = |alias| short_host_key(&file, alias).unwrap();
        assert_eq!(short("three").as_deref(), Some("ssh-ed25519 AAAAed"));
        keep_host_keys(&file, "three", &keys[..2]).unwrap();
        assert_eq!(
            short("three").as_deref(),
            Some("ecdsa-sha2-nistp256 AAAAec")
        );
        keep_host_keys(&file, "three", &keys[..1]).unwrap();
        assert_eq!(short("three"), None);
    }
}
