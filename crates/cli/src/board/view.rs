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
    let lines = rows.iter().map(|(name, row)| {
        let age_ms = what.now_ms.saturating_sub(row.last_ms);
        let fresh = if age_ms < FRESH_MS { Color::Green } else { Color::Reset };
        Row::new([
            Cell::from(super::rows::text(name.as_bytes())),
            Cell::from(row.value.as_str()).style(Style::default().fg(fresh)),
            Cell::from(age(age_ms)),
            Cell::from(format!("{:.1}/s", row.rate(what.now_ms))),
            Cell::from(row.count.to_string()),
            Cell::from(row.sparkline()).style(Style::default().fg(Color::Cyan)),
        ])
    });
    let widths = [
        Constraint::Fill(3),
        Constraint::Fill(2),
        Constraint::Length(6),
        Constraint::Length(10),
        Constraint::Length(9),
        Constraint::Length(24),
    ];
    let bold = Style::default().add_modifier(Modifier::BOLD);
    let header = Row::new(["Topic", "Value", "Age", "Rate", "Count", "Numbers"]).style(bold);
    frame.render_widget(Paragraph::new(Line::from(what.state)), areas[0]);
    frame.render_widget(Table::new(lines, widths).header(header), areas[1]);
    let reversed = Style::default().add_modifier(Modifier::REVERSED);
    let bottom = Paragraph::new(bottom_line(what, choice, count)).style(reversed);
    frame.render_widget(bottom, areas[2]);
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
    fn ages_are_short() {
        assert_eq!([age(999), age(1_000), age(99_999)], ["now", "1 s", "99 s"]);
        assert_eq!([age(100_000), age(5_999_000), age(6_000_000)], ["1 min", "99 min", "1 h"]);
    }
}
