//! Lines of a file or of standard input, within bounded memory.
//!
//! Owns: opening of inputs, and the longest line. Must not: know a format.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use super::WorkloadError;

/// Longest line. The longest one of a real job ad, its environment, is far shorter.
pub(super) const LINE_MAX: usize = 1 << 20;
/// Bytes that the recognition of a format looks at.
const SAMPLE_MAX: u64 = 64 << 10;
const BUFFER: usize = 256 << 10;

/// One line without its line break.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    Text(&'a [u8]),
    /// Longer than [`LINE_MAX`].
    TooLong,
}

/// An input that is read line by line.
pub(super) struct Source<'a> {
    /// Its name in messages.
    pub(super) place: String,
    reader: Box<dyn BufRead + 'a>,
    line: Vec<u8>,
    number: u64,
    ends_with_break: bool,
}

impl<'a> Source<'a> {
    /// Opens a file; `-` is standard input.
    pub(super) fn open(path: &Path) -> Result<Source<'a>, WorkloadError> {
        if path == Path::new("-") {
            return Ok(Source::new("standard input", io::stdin()));
        }
        let place = path.display().to_string();
        let unreadable = |cause| WorkloadError::Unreadable {
            place: place.clone(),
            cause,
        };
        let file = File::open(path).map_err(unreadable)?;
        if file.metadata().map_err(unreadable)?.is_dir() {
            return Err(WorkloadError::Directory { place });
        }
        Ok(Source::new(&place, file))
    }

    pub(super) fn new(place: &str, reader: impl Read + 'a) -> Source<'a> {
        Source {
            place: place.to_owned(),
            reader: Box::new(BufReader::with_capacity(BUFFER, reader)),
            line: Vec::new(),
            number: 0,
            ends_with_break: true,
        }
    }

    /// The beginning of the input, which stays in it.
    pub(super) fn sample(&mut self) -> Result<Vec<u8>, WorkloadError> {
        let mut sample = Vec::new();
        let read = (&mut self.reader).take(SAMPLE_MAX).read_to_end(&mut sample);
        read.map_err(|cause| self.unreadable(cause))?;
        let rest = std::mem::replace(&mut self.reader, Box::new(io::empty()));
        self.reader = Box::new(Cursor::new(sample.clone()).chain(rest));
        Ok(sample)
    }

    /// The next line and its number; none at the end.
    pub(super) fn next_line(&mut self) -> Result<Option<(u64, Line<'_>)>, WorkloadError> {
        self.line.clear();
        let (mut is_long, mut is_empty) = (false, true);
        loop {
            let available = match self.reader.fill_buf() {
                Ok(available) => available,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
                Err(cause) => return Err(self.unreadable(cause)),
            };
            if available.is_empty() {
                if is_empty {
                    return Ok(None);
                }
                self.ends_with_break = false;
                break;
            }
            is_empty = false;
            let end = memchr::memchr(b'\n', available);
            let (text, used) = match end {
                Some(end) => (available.get(..end), end + 1),
                None => (Some(available), available.len()),
            };
            let text = text.unwrap_or_default();
            if is_long || self.line.len() + text.len() > LINE_MAX {
                is_long = true;
                self.line.clear();
            } else {
                self.line.extend_from_slice(text);
            }
            self.reader.consume(used);
            if end.is_some() {
                break;
            }
        }
        self.number += 1;
        if is_long {
            return Ok(Some((self.number, Line::TooLong)));
        }
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        Ok(Some((self.number, Line::Text(&self.line))))
    }

    /// The next line that is not blank and its number, without one that is too long: such a line is empty; none at the end.
    pub(super) fn next_record(&mut self) -> Result<Option<(u64, &[u8])>, WorkloadError> {
        loop {
            let (number, is_blank) = match self.next_line()? {
                Some((number, Line::Text(text))) => (number, text.trim_ascii().is_empty()),
                Some((number, Line::TooLong)) => (number, false),
                None => return Ok(None),
            };
            if !is_blank {
                return Ok(Some((number, &self.line)));
            }
        }
    }

    /// The bytes that are next; none at the end.
    pub(super) fn chunk(&mut self) -> Result<&[u8], WorkloadError> {
        // Asked twice, since the borrow of an answer that is returned lasts.
        loop {
            match self.reader.fill_buf() {
                Ok(_) => break,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(self.unreadable(cause)),
            }
        }
        Ok(self.reader.fill_buf().unwrap_or_default())
    }

    /// Takes bytes of the chunk.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.reader.consume(bytes);
    }

    /// Whether the last line that was read has a line break. The last line of a file that was cut off has none.
    pub(super) fn is_line_whole(&self) -> bool {
        self.ends_with_break
    }

    fn unreadable(&self, cause: io::Error) -> WorkloadError {
        WorkloadError::Unreadable {
            place: format!("{}:{}", self.place, self.number + 1),
            cause,
        }
    }
}

/// A text for a message: on one line, and short.
pub(super) fn excerpt(text: &[u8]) -> String {
    const LENGTH: usize = 60;
    let start = text.get(..LENGTH * 4).unwrap_or(text);
    let text = String::from_utf8_lossy(start);
    let mut shown: String = (text.chars().take(LENGTH))
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(LENGTH).is_some() {
        shown.push('…');
    }
    shown
}
