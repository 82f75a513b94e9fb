//! Questions to the operator at a terminal.

use std::io::{self, BufRead, IsTerminal, Write};

/// Asks a question at the terminal, and returns the line that was typed; `None` without a terminal.
///
/// # Errors
/// The terminal cannot be written to or read.
pub fn line(question: &str) -> io::Result<Option<String>> {
    let (input, mut output) = (io::stdin(), io::stderr());
    if !input.is_terminal() || !output.is_terminal() {
        return Ok(None);
    }
    write!(output, "{question} ")?;
    output.flush()?;
    // Bytes that are no text are an answer too, and none that means yes.
    let mut answer = Vec::new();
    input.lock().read_until(b'\n', &mut answer)?;
    if !answer.ends_with(b"\n") {
        writeln!(output)?;
    }
    Ok(Some(String::from_utf8_lossy(&answer).trim().to_owned()))
}

/// Asks a question whose answer is yes or no; `None` without a terminal. Every other answer is no.
///
/// # Errors
/// As [`line()`].
pub fn yes(question: &str) -> io::Result<Option<bool>> {
    let answer = line(&format!("{question} [y/N]"))?;
    Ok(answer.map(|answer| matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes")))
}
