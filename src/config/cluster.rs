//! The id of the pool: random, made once, and kept in the configuration.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::drop_in;

/// A new id: 64 random bits.
pub(super) fn make() -> std::io::Result<String> {
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("pool-{:016x}", u64::from_ne_bytes(bytes)))
}

/// What can be an id: it stands in metadata, in ClassAds and in the reason of a drain.
pub(super) fn check(id: &str) -> Result<(), String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if id.len() <= 64 && id.chars().all(fine) {
        Ok(())
    } else {
        Err("must be at most 64 letters, digits, `-`, `_` or `.`".to_owned())
    }
}

/// Where the id is kept when the main file `file` has none.
pub(super) fn path(file: &Path) -> PathBuf {
    drop_in::folder(file).join("10-cluster.yaml")
}

/// Keeps `id` for the main file `file`, unless another process was quicker: the file appears whole or not at
/// all, and is never overwritten. So whoever reads it afterwards reads the one id.
pub(super) fn keep(file: &Path, id: &str) -> std::io::Result<()> {
    let path = path(file);
    drop_in::make_folder(&drop_in::folder(file))?;
    let text = format!(
        "# The id of this pool, made by ehos: each of its servers carries it, and ehos touches no others.\n\
         # Keep it, with the rest of the configuration. Another pool needs another one.\n\
         ehos:\n  cluster: {id}\n"
    );
    match drop_in::write_whole(&path, &text, 0o644, false) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_at_once_agree_on_one_id() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ehos.yaml");
        let read = || std::fs::read_to_string(path(&file)).unwrap();
        let seen: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        keep(&file, &make().unwrap()).unwrap();
                        read()
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(seen.iter().all(|text| *text == seen[0]), "{seen:?}");
        assert!(seen[0].contains("  cluster: pool-"));
        // Nothing else remains.
        let names = std::fs::read_dir(folder.path().join("ehos.d")).unwrap();
        assert_eq!(names.count(), 1);
    }

    #[test]
    fn ids_are_different_and_valid() {
        let (one, two) = (make().unwrap(), make().unwrap());
        assert_ne!(one, two);
        assert!(check(&one).is_ok());
        assert!(check("a b").is_err());
        assert!(check(&"a".repeat(65)).is_err());
    }
}
