//! What a server's console tells those who want to log in: its SSH host keys, so that nobody has to be believed on the
//! way, and the user whom cloud-init made.

/// What cloud-init prints around the public host keys (`emit_keys_to_console`, on by default).
const BEGIN: &str = "-----BEGIN SSH HOST KEY KEYS-----";
const END: &str = "-----END SSH HOST KEY KEYS-----";

/// The types of keys that OpenSSH has (ssh-keygen(1)).
const TYPES: [&str; 5] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
];

/// The public host keys, each as `TYPE BASE64`; none when the console does not tell them. Of several boots the last one
/// counts.
pub fn host_keys(console: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut block: Option<Vec<String>> = None;
    for line in console.lines() {
        if line.contains(BEGIN) {
            block = Some(Vec::new());
        } else if line.contains(END) {
            // A block whose beginning the console has lost may lack keys: an older, whole one is no better.
            keys = block.take().unwrap_or_default();
        } else if let Some(block) = &mut block {
            block.extend(key(line));
        }
    }
    keys
}

/// The key in a line, which may begin with the kernel's time or a program's name.
fn key(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let kind = words.find(|word| TYPES.contains(word))?;
    let key = words.next()?;
    let base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    (key.starts_with("AAAA") && key.chars().all(base64)).then(|| format!("{kind} {key}"))
}

/// The user that cloud-init made, and whether a key leads to it; `None` when the console does not tell.
pub fn login_user(console: &str) -> Option<Login> {
    console.lines().rev().find_map(|line| {
        let with_key = line
            .split_once("Authorized keys from ")
            .and_then(|(_, rest)| rest.split_once(" for user "));
        let without = line.split_once("no authorized SSH keys fingerprints found for user ");
        let (has_key, (_, rest)) = match (with_key, without) {
            (Some(found), _) => (true, found),
            (None, Some(found)) => (false, found),
            (None, None) => return None,
        };
        let name: String = rest
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c))
            .collect();
        (!name.is_empty()).then_some(Login { name, has_key })
    })
}

/// A user of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Its name.
    pub name: String,
    /// It has a key that it may log in with.
    pub has_key: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The console of a machine of the testbed (Debian 13, cloud-init 25.1) on its first boot.
    const DEBIAN: &str = include_str!("../../tests/fixtures/console/host-keys-debian-13.txt");

    #[test]
    fn a_real_console_tells_keys_and_user() {
        let keys = host_keys(DEBIAN);
        let types: Vec<&str> = keys
            .iter()
            .filter_map(|key| key.split_whitespace().next())
            .collect();
        assert_eq!(types, ["ecdsa-sha2-nistp256", "ssh-ed25519", "ssh-rsa"]);
        assert_eq!(
            keys[1],
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICdAqLt19cF327jZ+DyCiyShB7HtY3pUC3yPCLvZ98jv"
        );
        let login = Login {
            name: "debian".to_owned(),
            has_key: true,
        };
        assert_eq!(login_user(DEBIAN), Some(login));
    }

    #[test]
    fn times_and_names_before_a_key_do_not_hide_it() {
        let console = format!(
            "[   9.1] cloud-init[105]: {BEGIN}\n[   9.2] cloud-init[105]: ssh-ed25519 AAAAC3Nz root@m\n\
             [   9.3] cloud-init[105]: {END}\n"
        );
        assert_eq!(host_keys(&console), ["ssh-ed25519 AAAAC3Nz"]);
    }

    #[test]
    fn of_several_boots_the_last_one_counts() {
        let console = format!(
            "{BEGIN}\nssh-ed25519 AAAAold root@m\n{END}\nx\n{BEGIN}\nssh-ed25519 AAAAnew root@m\n{END}\n"
        );
        assert_eq!(host_keys(&console), ["ssh-ed25519 AAAAnew"]);
    }

    #[test]
    fn only_what_stands_in_the_block_is_a_host_key() {
        // The keys of users, other words, and a block that is cut off.
        let console = format!(
            "ssh-ed25519 AAAAuser me@home\n{BEGIN}\nssh-ed25519 not-a-key\nssh-ed25519\nother AAAAx\n{END}\n"
        );
        assert!(host_keys(&console).is_empty());
        assert!(host_keys(&format!("{BEGIN}\nssh-ed25519 AAAAcut")).is_empty());
        assert!(host_keys("").is_empty());
    }

    #[test]
    fn a_user_without_a_key_is_told_apart() {
        let console =
            "ci-info: no authorized SSH keys fingerprints found for user almalinux.\nlogin: \n";
        let login = Login {
            name: "almalinux".to_owned(),
            has_key: false,
        };
        assert_eq!(login_user(console), Some(login));
        assert_eq!(login_user("login: "), None);
    }
}
