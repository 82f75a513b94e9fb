//! A password that is typed.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Write};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use secrecy::SecretString;

/// Asks for a password on the terminal, which does not show it; `None` when there is no terminal.
///
/// # Errors
/// When the terminal cannot be read.
pub(super) fn ask(question: &str) -> std::io::Result<Option<SecretString>> {
    if !std::io::stdin().is_terminal() {
        return Ok(None);
    }
    let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
    let shown = tcgetattr(&terminal)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    hidden.local_modes.insert(LocalModes::ECHONL);
    write!(terminal, "{question}: ")?;
    tcsetattr(&terminal, OptionalActions::Flush, &hidden)?;
    let mut line = String::new();
    let read = BufReader::new(&terminal).read_line(&mut line);
    tcsetattr(&terminal, OptionalActions::Flush, &shown)?;
    read?;
    let password = line.trim_end_matches(['\n', '\r']);
    Ok((!password.is_empty()).then(|| SecretString::from(password)))
}
