//! What keys do: sort, filter, pause, scroll and leave. What is seen of it is the view's matter.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::Choice;

/// What a person has chosen by keys.
#[derive(Debug, Default)]
pub(crate) struct Controls {
    pub(crate) choice: Choice,
    pub(crate) paused: bool,
    /// Whether the filter is being typed, so that letters are no orders.
    pub(crate) typing: bool,
}

/// So many rows does a key for pages scroll.
const PAGE: usize = 20;

impl Controls {
    /// A key was pressed; false if it is to leave.
    pub(crate) fn on_key(&mut self, key: KeyEvent) -> bool {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return key.code != KeyCode::Char('c');
        }
        if self.typing {
            self.on_filter_key(key.code);
            return true;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return false,
            KeyCode::Char('s') => self.choice.sort = self.choice.sort.next(),
            KeyCode::Char('p') => self.paused = !self.paused,
            KeyCode::Char('/') => self.typing = true,
            code => self.scroll(code),
        }
        true
    }

    /// The lower end is the view's to keep: it knows how many rows there are.
    fn scroll(&mut self, code: KeyCode) {
        let offset = &mut self.choice.offset;
        *offset = match code {
            KeyCode::Up => offset.saturating_sub(1),
            KeyCode::Down => *offset + 1,
            KeyCode::PageUp => offset.saturating_sub(PAGE),
            KeyCode::PageDown => *offset + PAGE,
            KeyCode::Home => 0,
            _ => *offset,
        };
    }

    fn on_filter_key(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.choice.filter.clear();
                self.typing = false;
            }
            KeyCode::Backspace => drop(self.choice.filter.pop()),
            KeyCode::Char(letter) => self.choice.filter.push(letter),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::choice::Sort;
    use super::*;

    fn press(controls: &mut Controls, codes: &[KeyCode]) -> bool {
        codes.iter().all(|code| controls.on_key(KeyEvent::from(*code)))
    }

    #[test]
    fn letters_are_orders_unless_a_filter_is_typed() {
        let mut controls = Controls::default();
        let letters = |text: &str| text.chars().map(KeyCode::Char).collect::<Vec<_>>();
        assert!(press(&mut controls, &letters("sp/spq")));
        assert_eq!((controls.choice.sort, controls.paused), (Sort::Age, true));
        assert!(press(&mut controls, &[KeyCode::Backspace, KeyCode::Enter]));
        assert_eq!(controls.choice.filter, "sp");
        assert!(press(&mut controls, &[KeyCode::Char('/'), KeyCode::Esc]));
        assert_eq!(controls.choice.filter, "");
        assert!(!press(&mut controls, &letters("q")) && !press(&mut controls, &[KeyCode::Esc]));
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert!(!controls.on_key(interrupt));
    }

    #[test]
    fn scrolling_ends_at_the_first_row() {
        let mut controls = Controls::default();
        press(&mut controls, &[KeyCode::PageDown, KeyCode::Down, KeyCode::Up, KeyCode::Up]);
        assert_eq!(controls.choice.offset, PAGE - 1);
        press(&mut controls, &[KeyCode::PageUp, KeyCode::PageUp]);
        assert_eq!(controls.choice.offset, 0);
        press(&mut controls, &[KeyCode::Down, KeyCode::Home]);
        assert_eq!(controls.choice.offset, 0);
    }
}
