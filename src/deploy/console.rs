//! What a server's console tells of its first boot: how far it is, its SSH host keys, and the user that cloud-init made.

use scaling::console::{FAILED, is_failure, is_own_final_message, told};

/// How far a server has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// It is still at it; the last line that it printed, if any.
    Running(Option<String>),
    /// The final message is there, and nothing failed.
    Finished,
    /// Something failed: the line that says so.
    Failed(String),
}

/// Reads a whole console log. The final message has `final_message` in it (the fixed part of the template's), or is
/// cloud-init's own. Other lines may follow it: buffered output of children, the login prompt. cloud-init's own final
/// message where another one is waited for is a failure: it has not used the user data.
pub fn boot(console: &str, final_message: Option<&str>) -> Boot {
    if let Some(at) = console.find(FAILED) {
        let line = console.get(at..).and_then(|rest| rest.lines().next());
        return Boot::Failed(line.unwrap_or(FAILED).trim().to_owned());
    }
    if let Some(line) = console.lines().find(|line| is_failure(line)) {
        return Boot::Failed(told(line));
    }
    let own = console.lines().find(|line| is_own_final_message(line));
    let finished = match (final_message, own) {
        (Some(message), _) if console.lines().any(|line| line.contains(message)) => true,
        (Some(_), Some(line)) => {
            return Boot::Failed(format!(
                "cloud-init did not use the user data: {}",
                told(line)
            ));
        }
        (Some(_), None) => false,
        (None, own) => own.is_some(),
    };
    if finished {
        return Boot::Finished;
    }
    let last = console.lines().rfind(|line| !line.trim().is_empty());
    Boot::Running(last.map(told))
}

/// What cloud-init warned of that is no failure, each once: a key that it does not know, a network that came late.
pub fn warnings(console: &str) -> Vec<String> {
    let mut warnings: Vec<String> = Vec::new();
    for line in console.lines() {
        if let Some((_, warning)) = line.split_once("[WARNING]: ")
            && !is_failure(line)
            && !warnings.iter().any(|known| known == warning.trim())
        {
            warnings.push(warning.trim().to_owned());
        }
    }
    warnings
}

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
pub fn login_user(console: &str) -> Option<ConsoleLogin> {
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
        (!name.is_empty()).then_some(ConsoleLogin { name, has_key })
    })
}

/// A user of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleLogin {
    pub name: String,
    /// It has a key that it may log in with.
    pub has_key: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Option<&str> = Some("The EHOS vm is up after");

    /// A console of a machine with Debian 13, recorded.
    fn recorded(name: &str) -> String {
        let file = format!(
            "{}/../../tests/fixtures/console/{name}.txt",
            env!("CARGO_MANIFEST_DIR")
        );
        std::fs::read_to_string(file).unwrap()
    }

    fn failure(name: &str) -> String {
        match boot(&recorded(name), OURS) {
            Boot::Failed(why) => why,
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn a_good_boot() {
        let console = recorded("debian-13-base");
        assert_eq!(boot(&console, OURS), Boot::Finished);
        assert!(warnings(&console).is_empty());
        let other = recorded("default-message");
        assert_eq!(boot(&other, None), Boot::Finished);
    }

    #[test]
    fn every_prefix_of_a_good_boot_is_running() {
        let console = recorded("debian-13-base");
        let end = console.find("The EHOS vm is up after").unwrap();
        for (at, _) in console.match_indices('\n').filter(|(at, _)| *at < end) {
            let so_far = &console[..at];
            assert!(matches!(boot(so_far, OURS), Boot::Running(_)), "{so_far}");
        }
        assert_eq!(boot("", OURS), Boot::Running(None));
        assert_eq!(
            boot(
                "\nlogin: [   42.9] cloud-init[105]: Fetched 9819 kB\n\n",
                OURS
            ),
            Boot::Running(Some("Fetched 9819 kB".to_owned()))
        );
    }

    #[test]
    fn what_fails_is_told_although_the_final_message_comes() {
        insta::assert_snapshot!(failure("runcmd-fails"), @"Failed to run module scripts-user (scripts in /var/lib/cloud/instance/scripts)");
        insta::assert_snapshot!(failure("package-missing"), @"Failure when attempting to install packages: ['no-such-package-at-all']");
        insta::assert_snapshot!(failure("module-fails"), @"Running module write-files failed");
        insta::assert_snapshot!(failure("schema-violated"), @"Running module ntp failed");
        insta::assert_snapshot!(failure("yaml-broken"), @r#"Failed loading yaml blob. Invalid format at line 4 column 5: "mapping values are not allowed here"#);
        insta::assert_snapshot!(failure("powered-off"), @"EHOS: FAILED: this server cannot become an image, see the lines above");
    }

    #[test]
    fn cloud_init_judges_the_last_command_of_a_runcmd_only() {
        let console = recorded("runcmd-fails-in-the-middle");
        assert_eq!(boot(&console, OURS), Boot::Finished);
    }

    #[test]
    fn user_data_that_was_not_used() {
        let why = match boot(&recorded("default-message"), OURS) {
            Boot::Failed(why) => why,
            other => panic!("{other:?}"),
        };
        insta::assert_snapshot!(why, @"cloud-init did not use the user data: Cloud-init v. 25.1.4 finished at Sun, 22 Nov 2026 15:46:17 +0000. Datasource DataSourceOpenStackLocal [net,ver=2].  Up 34.06 seconds");
    }

    #[test]
    fn older_systems_say_it_in_their_way() {
        for line in [
            // CentOS 7.
            "[   60.1] cloud-init[1105]: 2021-02-03 04:05:06,789 - util.py[WARNING]: Failed running \
             /var/lib/cloud/instance/scripts/runcmd [3]",
            "[FAILED] Failed to start Execute cloud user/final scripts.",
            "[[0;1;31mFAILED[0m] Failed to start Initial cloud-init job (metadata service crawler).",
        ] {
            assert!(matches!(boot(line, OURS), Boot::Failed(_)), "{line}");
        }
        for line in [
            "[FAILED] Failed to start Postfix Mail Transport Agent.",
            "E: Failed to run module 7",
        ] {
            assert!(matches!(boot(line, OURS), Boot::Running(_)), "{line}");
        }
    }

    #[test]
    fn warnings_are_no_failures() {
        let warned = warnings(&recorded("schema-violated"));
        assert_eq!(warned.len(), 1, "{warned:?}");
        assert!(warned[0].starts_with("cloud-config failed schema validation!"));
    }

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
        let login = ConsoleLogin {
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
        let login = ConsoleLogin {
            name: "almalinux".to_owned(),
            has_key: false,
        };
        assert_eq!(login_user(console), Some(login));
        assert_eq!(login_user("login: "), None);
    }
}
