//! Tables of text: the first column to the left, figures to the right.

/// A table that grows row by row.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
    left_columns: usize,
}

impl Table {
    /// A table with these headings, the first `left_columns` of which hold words.
    pub fn new(headings: &[&str], left_columns: usize) -> Self {
        Self { rows: vec![headings.iter().map(|word| (*word).into()).collect()], left_columns }
    }

    /// Adds a row; missing cells are empty.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table with columns as wide as their widest cell.
    pub fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<_> = (0..columns).map(|column| self.width(column)).collect();
        let mut text = String::new();
        for row in &self.rows {
            let line: Vec<_> = row
                .iter()
                .zip(&widths)
                .enumerate()
                .map(|(column, (cell, &width))| {
                    if column < self.left_columns {
                        format!("{cell:<width$}")
                    } else {
                        format!("{cell:>width$}")
                    }
                })
                .collect();
            text.push_str(line.join("  ").trim_end());
            text.push('\n');
        }
        text
    }

    fn width(&self, column: usize) -> usize {
        self.rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    }
}

/// A figure with about three significant digits, or a dash for none.
pub fn figure(value: Option<f64>) -> String {
    match value {
        None => "–".into(),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) if value.abs() >= 1.0 => format!("{value:.2}"),
        Some(value) => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["broker", "µs", "faults"], 1);
        table.row(vec!["a".into(), "12.5".into()]);
        table.row(vec!["mosquitto".into(), "–".into(), "none".into()]);
        assert_eq!(
            table.text(),
            "broker       µs  faults\na          12.5\nmosquitto     –    none\n"
        );
    }

    #[test]
    fn a_figure_has_three_digits() {
        let values = [Some(1234.5), Some(12.34), Some(1.234), Some(0.0656), None];
        let expected = ["1234", "12.3", "1.23", "0.066", "–"];
        assert_eq!(values.map(figure), expected);
    }
}
