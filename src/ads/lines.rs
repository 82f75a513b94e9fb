//! The lines of an answer, which comes in pieces.

/// A longer line is no answer of a tool of HTCondor.
pub const LINE_MAX: usize = 1024 * 1024;

/// Reads one line, or says what is wrong with all of the answer.
pub type Line<'l> = &'l mut dyn FnMut(&str) -> Result<(), String>;

/// The end of a line that was too long and was cut; no tool prints it.
pub const CUT: &str = "\t#cut";

/// Whether the line was longer than [`LINE_MAX`]: its end is missing.
pub fn is_cut(line: &str) -> bool {
    line.ends_with(CUT)
}

/// Cuts pieces into lines. A line that is longer than [`LINE_MAX`] is given cut off, and the others whole.
#[derive(Debug, Default)]
pub struct Lines {
    rest: Vec<u8>,
    /// The line that is being read is too long.
    cut: bool,
}

impl Lines {
    /// # Errors
    /// That of `line`.
    pub fn push(&mut self, mut piece: &[u8], line: Line<'_>) -> Result<(), String> {
        while let Some(end) = memchr::memchr(b'\n', piece) {
            let (head, tail) = piece.split_at(end);
            piece = tail.get(1..).unwrap_or_default();
            if self.rest.is_empty() && head.len() <= LINE_MAX {
                // Nearly every line is text, which is checked faster than it is mended.
                match str::from_utf8(head) {
                    Ok(text) => line(text)?,
                    Err(_) => line(&String::from_utf8_lossy(head))?,
                }
            } else {
                self.keep(head);
                self.give(line)?;
            }
        }
        self.keep(piece);
        Ok(())
    }

    fn keep(&mut self, piece: &[u8]) {
        let room = LINE_MAX.saturating_sub(self.rest.len());
        self.cut |= piece.len() > room;
        let piece = piece.get(..room.min(piece.len())).unwrap_or_default();
        self.rest.extend_from_slice(piece);
    }

    fn give(&mut self, line: Line<'_>) -> Result<(), String> {
        let mut text = String::from_utf8_lossy(&self.rest).into_owned();
        self.rest.clear();
        if std::mem::take(&mut self.cut) {
            text.push_str(CUT);
        }
        line(&text)
    }

    /// # Errors
    /// That of `line`.
    pub fn end(mut self, line: Line<'_>) -> Result<(), String> {
        if self.rest.is_empty() {
            return Ok(());
        }
        self.give(line)
    }
}
