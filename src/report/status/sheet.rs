//! A text of labelled entries, headings and items for a terminal. Every text here may be text of others, so each passes through
//! `clean`, and no line exceeds the room.

use super::layout::{Style, labelled, paint, width, wrap};
use system::plain::clean;

/// The indent of the lines below a heading.
pub const ITEM: usize = 2;

/// Lines of text so far.
#[derive(Debug, Clone)]
pub struct Sheet {
    /// Columns of the terminal.
    pub room: usize,
    pub colour: bool,
    /// Columns of the labels of entries.
    pub label: usize,
    pub text: String,
}

impl Sheet {
    pub fn new(room: usize, colour: bool, label: usize) -> Sheet {
        Sheet {
            room,
            colour,
            label,
            text: String::new(),
        }
    }

    pub fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// A label with a sentence beside it.
    pub fn entry(&mut self, label: &str, text: &str, style: Style) {
        let head = format!("{label:room$}", room = self.label);
        for (index, line) in labelled(&head, &clean(text), self.room).iter().enumerate() {
            let line = match line.strip_prefix(&head) {
                Some(rest) if index == 0 => {
                    let of_head = match style {
                        Style::Plain => Style::Bold,
                        style => style,
                    };
                    let painted = paint(of_head, label, self.colour);
                    let space = " ".repeat(self.label.saturating_sub(width(label)));
                    format!("{painted}{space}{}", paint(style, rest, self.colour))
                }
                _ => paint(style, line, self.colour),
            };
            self.line(&line);
        }
    }

    /// A heading below an empty line.
    pub fn heading(&mut self, heading: &str) {
        self.line("");
        for line in wrap(&clean(heading), self.room) {
            self.line(&paint(Style::Bold, &line, self.colour));
        }
    }

    /// An item of a list, with a hanging indent.
    pub fn item(&mut self, text: &str, style: Style) {
        self.wrapped(text, ITEM, ITEM + 2, style);
    }

    /// A text with an indent of its first line, and one of the later lines.
    pub fn wrapped(&mut self, text: &str, first: usize, later: usize, style: Style) {
        for (index, line) in wrap(&clean(text), self.room - later).iter().enumerate() {
            let indent = " ".repeat(if index == 0 { first } else { later });
            self.line(&format!("{indent}{}", paint(style, line, self.colour)));
        }
    }
}
