//! Aligned columns, for people.

use std::io::{self, Write};

/// Rows of text under a heading; numbers stand to the right.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(heading: &[&str]) -> Self {
        Self {
            rows: vec![heading.iter().map(|&text| text.to_owned()).collect()],
        }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.rows[0].len());
        self.rows
            .push(cells.iter().map(|cell| printable(cell)).collect());
    }

    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let columns = self.rows[0].len();
        let width = |column: usize| {
            self.rows
                .iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        let numeric = |column: usize| {
            self.rows[1..]
                .iter()
                .all(|row| row[column].bytes().all(|byte| byte.is_ascii_digit()))
        };
        let numeric: Vec<_> = (0..columns).map(numeric).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = widths[column];
                if numeric[column] {
                    line += &format!("{cell:>width$}  ");
                } else {
                    line += &format!("{cell:<width$}  ");
                }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// The text with what would steer a terminal made visible.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || is_bidi_control(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Characters that turn the direction of the text around them (Unicode Annex 9).
fn is_bidi_control(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_numbers_stand_to_the_right() {
        let mut table = Table::new(&["ID", "EVENT", "ABOUT"]);
        table.row(vec!["7".into(), "E_é".into(), String::new()]);
        table.row(vec!["12".into(), "E_LONGER".into(), "a\x1b[31mb".into()]);
        let mut out = Vec::new();
        table.print(&mut out).unwrap();
        let expected = "ID  EVENT     ABOUT\n 7  E_é\n12  E_LONGER  a\\u{1b}[31mb\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
