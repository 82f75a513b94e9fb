//! Text in the columns of a terminal. No line is ever wider than it is told to be, whatever is in it.

use unicode_width::UnicodeWidthChar;

use system::plain::clean;

/// Between two columns.
const GAP: usize = 2;

/// What a column keeps of what is too wide for it.
const MIN_WIDTH: usize = 3;

/// How a text is shown where there are colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    #[default]
    Plain,
    /// A heading.
    Bold,
    /// Of less interest.
    Dim,
    /// Well.
    Good,
    /// Something is under way, or is to be looked at.
    Warn,
    /// Wrong.
    Bad,
}

/// `text` in its style; as it is without `colour`.
pub fn paint(style: Style, text: &str, colour: bool) -> String {
    let code = match style {
        Style::Bold => "1",
        Style::Dim => "2",
        Style::Good => "32",
        Style::Warn => "33",
        Style::Bad => "31",
        Style::Plain => "",
    };
    if !colour || code.is_empty() || text.is_empty() {
        return text.to_owned();
    }
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// The columns that `text` takes at most.
pub fn width(text: &str) -> usize {
    text.chars().map(of_char).sum()
}

fn of_char(c: char) -> usize {
    c.width().unwrap_or_default()
}

/// As much of `text` as there is room for, with `…` for the rest.
pub fn cut(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    if room == 0 {
        return String::new();
    }
    let (head, _) = split(text, room - 1);
    format!("{head}…")
}

/// What fits, and the rest.
fn split(text: &str, room: usize) -> (&str, &str) {
    let mut used = 0;
    let end = text.char_indices().find(|(_, c)| {
        used += of_char(*c);
        used > room
    });
    text.split_at(end.map_or(text.len(), |(index, _)| index))
}

/// The words of `text` in lines of at most `room` columns; a word that is longer is broken.
pub fn wrap(text: &str, room: usize) -> Vec<String> {
    let room = room.max(2);
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let space = usize::from(!line.is_empty());
        if width(&line) + space + width(word) <= room {
            if space > 0 {
                line.push(' ');
            }
            line.push_str(word);
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        let mut rest = word;
        while width(rest) > room {
            let (head, tail) = split(rest, room);
            lines.push(head.to_owned());
            rest = tail;
        }
        line.push_str(rest);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// `label` and `text` beside it, wrapped, the later lines under the first word of the text.
pub fn labelled(label: &str, text: &str, room: usize) -> Vec<String> {
    let indent = width(label);
    let empty = " ".repeat(indent);
    let lines = wrap(text, room.saturating_sub(indent));
    lines
        .into_iter()
        .enumerate()
        .map(|(index, line)| {
            let head = if index == 0 { label } else { &empty };
            format!("{head}{line}")
        })
        .collect()
}

/// One field of a table.
#[derive(Debug, Clone, Default)]
pub struct Cell {
    text: String,
    style: Style,
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell::styled(text, Style::Plain)
    }
}

impl Cell {
    /// With a style.
    pub fn styled(text: impl AsRef<str>, style: Style) -> Cell {
        Cell {
            text: clean(text.as_ref()),
            style,
        }
    }
}

/// The lines of a table, one for each row, and how wide they are. Columns that are too wide for the room are cut, the
/// widest first.
pub fn columns(rows: &[Vec<Cell>], room: usize, colour: bool) -> (Vec<String>, usize) {
    let count = rows.iter().map(Vec::len).max().unwrap_or_default();
    let of_column = |index: usize| {
        let cells = rows.iter().filter_map(|row| row.get(index));
        cells
            .map(|cell| width(&cell.text))
            .max()
            .unwrap_or_default()
    };
    let mut widths: Vec<usize> = (0..count).map(of_column).collect();
    let gaps = GAP * count.saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > room {
        match widths.iter_mut().max() {
            Some(widest) if *widest > MIN_WIDTH => *widest -= 1,
            _ => break,
        }
    }
    let line = |row: &Vec<Cell>| {
        let mut line = String::new();
        let mut missing = 0;
        for (cell, &room) in row.iter().zip(&widths) {
            let text = cut(&cell.text, room);
            if !text.is_empty() {
                line.push_str(&" ".repeat(missing));
                missing = 0;
            }
            missing += room - width(&text) + GAP;
            line.push_str(&paint(cell.style, &text, colour));
        }
        line
    };
    let total = widths.iter().sum::<usize>() + gaps;
    (rows.iter().map(line).collect(), total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use unicode_width::UnicodeWidthStr;

    #[test]
    fn words_are_wrapped_and_long_ones_broken() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(wrap("名前名前", 5), ["名前", "名前"]);
        assert_eq!(wrap(" \n", 5), [""; 0]);
        assert_eq!(labelled("  a  ", "b c", 6), ["  a  b", "     c"]);
    }

    #[test]
    fn columns_are_cut_where_the_room_ends() {
        let rows = [
            vec![Cell::from("NAME"), Cell::from("N")],
            vec![Cell::from("a-long-name"), Cell::styled("1", Style::Bad)],
        ];
        assert_eq!(
            columns(&rows, 80, false).0,
            ["NAME         N", "a-long-name  1"]
        );
        assert_eq!(columns(&rows, 9, false).0, ["NAME    N", "a-lon…  1"]);
        let painted = columns(&rows, 80, true).0;
        assert_eq!(painted[1], "a-long-name  \u{1b}[31m1\u{1b}[0m");
    }

    #[test]
    fn nothing_gets_out_of_its_line() {
        assert_eq!(clean("a\u{1b}[2Jb\n\u{202e}c\td"), "a [2Jb c d");
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_its_room(text in "\\PC{0,60}", room in 2usize..60) {
            let text = clean(&text);
            for line in wrap(&text, room) {
                prop_assert!(line.width() <= room, "{line:?}");
            }
            prop_assert!(cut(&text, room).width() <= room);
        }
    }
}
