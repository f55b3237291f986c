//! How the live view looks.

use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Paragraph, Row, Table};

use super::{Choice, Rows};

/// What is drawn.
pub(crate) struct Frame<'a> {
    pub(crate) rows: &'a Rows,
    pub(crate) now_ms: u64,
    /// The state of the connection.
    pub(crate) state: &'a str,
    pub(crate) paused: bool,
    /// Whether the filter is being typed.
    pub(crate) typing: bool,
}

/// Draws it.
pub(crate) fn draw(frame: &mut ratatui::Frame<'_>, what: &Frame<'_>, choice: &mut Choice) {
    let areas =
        Layout::vertical([Constraint::Length(1), Constraint::Min(1), Constraint::Length(1)])
            .split(frame.area());
    let height = usize::from(areas[1].height.saturating_sub(1));
    let (rows, count) = choice.select(what.rows, height, what.now_ms);
    let columns = columns(areas[1].width);
    let lines = rows.iter().map(|(name, row)| {
        let age_ms = what.now_ms.saturating_sub(row.last_ms);
        let fresh = if age_ms < FRESH_MS { Color::Green } else { Color::Reset };
        let cells = [
            Cell::from(super::rows::text(name.as_bytes())),
            Cell::from(row.value.as_str()).style(Style::default().fg(fresh)),
            Cell::from(age(age_ms)),
            Cell::from(format!("{:.1}/s", row.rate(what.now_ms))),
            Cell::from(row.count.to_string()),
            Cell::from(row.sparkline()).style(Style::default().fg(Color::Cyan)),
        ];
        Row::new(cells.into_iter().take(columns.len()))
    });
    let bold = Style::default().add_modifier(Modifier::BOLD);
    let header = Row::new(columns.iter().map(|column| column.name)).style(bold);
    let widths = columns.iter().map(|column| column.width);
    frame.render_widget(Paragraph::new(Line::from(what.state)), areas[0]);
    frame.render_widget(Table::new(lines, widths).header(header), areas[1]);
    let reversed = Style::default().add_modifier(Modifier::REVERSED);
    let bottom = Paragraph::new(bottom_line(what, choice, count)).style(reversed);
    frame.render_widget(bottom, areas[2]);
}

/// A column, and how wide the whole must be for it to be worth its place.
struct Column {
    name: &'static str,
    width: Constraint,
    whole_min: u16,
}

const COLUMNS: &[Column] = &[
    Column { name: "Topic", width: Constraint::Fill(3), whole_min: 0 },
    Column { name: "Value", width: Constraint::Fill(2), whole_min: 0 },
    Column { name: "Age", width: Constraint::Length(6), whole_min: 40 },
    Column { name: "Rate", width: Constraint::Length(10), whole_min: 56 },
    Column { name: "Count", width: Constraint::Length(9), whole_min: 72 },
    Column { name: "Numbers", width: Constraint::Length(24), whole_min: 104 },
];

/// Those that a view of this width has; topics and values are not squeezed for the others.
fn columns(whole: u16) -> Vec<&'static Column> {
    COLUMNS.iter().filter(|column| column.whole_min <= whole).collect()
}

fn bottom_line(what: &Frame<'_>, choice: &Choice, count: usize) -> String {
    if what.typing {
        return format!("filter: {}_  (Enter keeps it, Esc clears it)", choice.filter);
    }
    let paused = if what.paused { "PAUSED  " } else { "" };
    let filter = if choice.filter.is_empty() {
        String::new()
    } else {
        format!(", {:?} leaves {count}", choice.filter)
    };
    let left_out = match what.rows.left_out {
        0 => String::new(),
        number => format!(", {number} messages without room"),
    };
    format!(
        "{paused}{} rows{filter}, {} messages{left_out}  sorted by {}  [s]ort [/]filter [p]ause [q]uit ↑↓",
        what.rows.len(),
        what.rows.messages,
        choice.sort.name(),
    )
}

/// How long a value counts as new, in milliseconds.
const FRESH_MS: u64 = 1_500;

/// An age in few characters.
fn age(ms: u64) -> String {
    match ms / 1_000 {
        0 => "now".into(),
        seconds @ 1..100 => format!("{seconds} s"),
        seconds @ 100..6_000 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    #[test]
    fn the_view_shows_rows_state_and_keys() {
        let rows = Rows::default();
        let mut choice = Choice::default();
        let mut terminal = Terminal::new(TestBackend::new(120, 8)).unwrap();
        let what =
            Frame { rows: &rows, now_ms: 0, state: "connected", paused: true, typing: false };
        terminal.draw(|frame| draw(frame, &what, &mut choice)).unwrap();
        let text = terminal.backend().to_string();
        for wanted in ["connected", "Topic", "Numbers", "PAUSED", "0 rows", "[q]uit"] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
        choice.filter = "ab".into();
        let what = Frame { typing: true, ..what };
        terminal.draw(|frame| draw(frame, &what, &mut choice)).unwrap();
        assert!(terminal.backend().to_string().contains("filter: ab_"));
        let mut tiny = Terminal::new(TestBackend::new(1, 1)).unwrap();
        tiny.draw(|frame| draw(frame, &what, &mut choice)).unwrap();
    }

    #[test]
    fn a_narrow_view_has_fewer_columns_and_whole_topics() {
        let mut rows = Rows::default();
        rows.take("sensors/temperature", b"23.5", 0);
        let what = Frame { rows: &rows, now_ms: 0, state: "", paused: false, typing: false };
        for (width, last) in [(104, "Numbers"), (80, "Count"), (60, "Rate"), (40, "Age")] {
            let mut terminal = Terminal::new(TestBackend::new(width, 8)).unwrap();
            terminal.draw(|frame| draw(frame, &what, &mut Choice::default())).unwrap();
            let text = terminal.backend().to_string();
            let header = text.lines().nth(1).unwrap().trim_matches(['"', ' ']).to_owned();
            assert!(header.ends_with(last), "{width}: {text}");
            let whole = text.contains("sensors/temperature");
            assert!(whole || width == 40, "{width}: {text}");
        }
    }

    #[test]
    fn ages_are_short() {
        assert_eq!([age(999), age(1_000), age(99_999)], ["now", "1 s", "99 s"]);
        assert_eq!([age(100_000), age(5_999_000), age(6_000_000)], ["1 min", "99 min", "1 h"]);
    }
}
