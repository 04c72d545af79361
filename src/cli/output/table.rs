//! Plain text tables.

use std::fmt::Write;

/// On which side a column is flush.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::cli) enum Align {
    Left,
    Right,
}

/// Rows of cells under a header, columns as wide as they must be.
pub(in crate::cli) struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(in crate::cli) fn new<const N: usize>(columns: [(&str, Align); N]) -> Self {
        Self { columns: columns.map(|(name, align)| (name.to_owned(), align)).to_vec(), rows: Vec::new() }
    }

    pub(in crate::cli) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.to_vec());
    }

    /// The table, each line behind `indent`.
    pub(in crate::cli) fn render(&self, indent: &str) -> String {
        let header: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        let width = |c: usize| self.rows.iter().chain([&header]).map(|row| row[c].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut text = String::new();
        let untitled = header.iter().all(String::is_empty);
        for row in [&header].into_iter().filter(|_| !untitled).chain(&self.rows) {
            let mut line = indent.to_owned();
            for (c, cell) in row.iter().enumerate() {
                let pad = " ".repeat(widths[c] - cell.chars().count());
                let gap = if c == 0 { "" } else { "  " };
                match self.columns[c].1 {
                    Align::Left => line += &format!("{gap}{cell}{pad}"),
                    Align::Right => line += &format!("{gap}{pad}{cell}"),
                }
            }
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_by_characters_not_bytes() {
        let mut table = Table::new([("class", Align::Left), ("px", Align::Right)]);
        table.row(["blåbær".into(), "7".into()]);
        table.row(["å".into(), "1200".into()]);
        assert_eq!(table.render("  "), "  class     px\n  blåbær     7\n  å       1200\n");
    }
}
