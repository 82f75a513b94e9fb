//! A password that is typed.

use std::fs::File;
use std::io::{Error, ErrorKind, IsTerminal, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};
use secrecy::SecretString;

/// The longest line that a terminal gives (`MAX_CANON` of Linux's terminals).
const LONGEST: usize = 4096;

/// Asks for a password on the terminal, which does not show it; `None` when there is no terminal.
///
/// There are no signal handlers, and a signal would leave the terminal without echo. So none comes from the keyboard
/// meanwhile: the character that interrupts ends the line instead, and is an error here.
///
/// # Errors
/// When the terminal cannot be read, or the answer is the character that interrupts.
pub(super) fn ask(question: &str) -> std::io::Result<Option<SecretString>> {
    if !std::io::stdin().is_terminal() {
        return Ok(None);
    }
    let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
    let shown = tcgetattr(&terminal)?;
    let interrupt = shown.special_codes[SpecialCodeIndex::VINTR];
    let mut hidden = shown.clone();
    hidden
        .local_modes
        .remove(LocalModes::ECHO | LocalModes::ISIG);
    hidden
        .local_modes
        .insert(LocalModes::ECHONL | LocalModes::ICANON);
    hidden.special_codes[SpecialCodeIndex::VEOL] = interrupt;
    write!(terminal, "{question}: ")?;
    tcsetattr(&terminal, OptionalActions::Flush, &hidden)?;
    let mut line = vec![0; LONGEST];
    let read = terminal.read(&mut line);
    tcsetattr(&terminal, OptionalActions::Flush, &shown)?;
    line.truncate(read?);
    if line.last() == Some(&interrupt) {
        writeln!(terminal)?;
        return Err(Error::new(ErrorKind::Interrupted, "interrupted"));
    }
    let line = String::from_utf8(line).map_err(|_| {
        Error::new(
            ErrorKind::InvalidData,
            "what was typed is not UTF-8: give it in $OS_PASSWORD",
        )
    })?;
    let password = line.trim_end_matches(['\n', '\r']);
    Ok((!password.is_empty()).then(|| SecretString::from(password)))
}
