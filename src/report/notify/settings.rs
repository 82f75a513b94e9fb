//! The settings of notifications.

use std::time::Duration;

use secrecy::SecretString;

use keys::settings;

settings! {
    /// The receivers of notifications. A field with a key is that key of `notify:`.
    #[derive(Debug, Clone)]
    pub struct Settings {
        /// Program that gets the message as its standard input: a list of its whole path and its arguments. The environment
        /// has what programs need to run (such as PATH, HOME, LANG, TZ) and no `OS_*` variable.
        command [Machine]: Vec<String> = Vec::new(), "none";
        /// Address to which ehos posts the message (`POST`, JSON); a secret.
        webhook: Option<SecretString> = None, "none";
        /// A problem that can pass by itself is reported after this many ticks in a row; of ticks that are less than 45 s
        /// apart one counts.
        after_ticks [Positive]: u64 = 10;
        /// A lasting problem is reported again after this; one that comes and goes, at most this often.
        repeat [Positive]: Duration = Duration::from_secs(24 * 3600);
        /// Time limit of each delivery, at most 10 s.
        timeout [Positive, AtMost(10)]: Duration = Duration::from_secs(5);
    }
    beside {}
}
