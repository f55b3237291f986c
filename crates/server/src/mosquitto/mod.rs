//! `mosquitto.conf`, said in our words: the text of a configuration file of ours, and what the
//! operator should hear about the lines that have no counterpart.
//!
//! Nothing is run here, and no value is checked that our own reader checks: what comes out is read
//! like any other configuration file. `lines` reads the file and those it includes, `options` knows
//! what each option means here, `draft` is the configuration that is being written, `manual` shows all of it to
//! people. Invariant: an
//! option whose absence would let somebody in, lose a message or change what clients see is never
//! left out in silence: the translation is [refused](Weight::Refused).
//!
//! What Mosquitto's options mean is from its manual, mosquitto.conf(5), versions 2.0 and 2.1.

mod draft;
mod lines;
mod manual;
mod options;

use self::draft::Draft;
use self::lines::Line;
pub use self::manual::manual;
use self::options::{OPTIONS, Scope, Treatment};
use std::fmt;
use std::path::{Path, PathBuf};

/// A `mosquitto.conf` in our words.
#[derive(Debug)]
pub struct Translation {
    /// A configuration file of ours.
    pub toml: String,
    /// What to tell the operator, in the order of the lines.
    pub notes: Vec<Note>,
    /// Where the process is to write its number.
    pub pid_file: Option<PathBuf>,
    /// Whether it says as which user to go on.
    pub names_user: bool,
}

/// What is to be said of a line, or of the file as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Where it was written, if it was.
    pub place: Option<(PathBuf, usize)>,
    /// How much it matters.
    pub weight: Weight,
    /// In words, one line.
    pub text: String,
}

/// How much a note matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// It has no effect, and nothing is missing without it.
    Harmless,
    /// It means something else here.
    Different,
    /// It cannot be done without, so the broker must not start.
    Refused,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((file, line)) = &self.place {
            write!(f, "{}:{line}: ", file.display())?;
        }
        f.write_str(&self.text)
    }
}

/// Translates the file, or what Mosquitto does without one. `port` is that of the command line, for
/// the listener that has none of its own.
///
/// # Errors
/// What could not be read, and what cannot be done without.
pub fn translate(file: Option<&Path>, port: Option<u16>) -> Result<Translation, Vec<Note>> {
    let mut notes = Vec::new();
    let lines = match file {
        Some(file) => lines::read(file, &mut notes),
        None => Vec::new(),
    };
    translate_lines(&lines, port, notes)
}

/// Translates the text of a file, without the files that it would include: to name some is refused.
///
/// # Errors
/// As [`translate`].
pub fn translate_text(text: &str, port: Option<u16>) -> Result<Translation, Vec<Note>> {
    let mut notes = Vec::new();
    let lines = lines::of_text(text, &mut notes);
    translate_lines(&lines, port, notes)
}

fn translate_lines(
    lines: &[Line],
    port: Option<u16>,
    mut notes: Vec<Note>,
) -> Result<Translation, Vec<Note>> {
    let mut draft = Draft::new(port);
    // In one file, whatever is said of all listeners concerns those before it, too.
    let mut said = lines.iter().filter(|line| line.name == "per_listener_settings");
    draft.per_listener = said.next_back().is_some_and(|line| matches!(&*line.value, "true" | "1"));
    for line in lines {
        take(line, &mut draft, &mut notes);
    }
    let names_user = draft.names_user;
    let (toml, pid_file) = draft.finish(&mut notes);
    notes.sort_by_key(|note| note.place.as_ref().map(|(_, line)| *line));
    if notes.iter().any(|note| note.weight == Weight::Refused) {
        return Err(notes);
    }
    Ok(Translation { toml, notes, pid_file, names_user })
}

fn take(line: &Line, draft: &mut Draft, notes: &mut Vec<Note>) {
    let name = &*line.name;
    draft.begin_line();
    let mut note = |draft: &mut Draft, weight, text: String| {
        let place = Some((line.file.clone(), line.number));
        let note = Note { place, weight, text };
        draft.remark(note.to_string());
        notes.push(note);
    };
    let Some(option) = OPTIONS.iter().find(|option| option.name == name) else {
        let known = options::nearest_name(name).map(|near| format!("; did you mean {near}?"));
        let known = known.unwrap_or_default();
        return note(draft, Weight::Refused, format!("{name} is no option of Mosquitto's{known}"));
    };
    match option.treatment {
        Treatment::Harmless(why) => {
            note(draft, Weight::Harmless, format!("{name} has no effect: {why}"));
        }
        Treatment::Missing(why) => {
            note(draft, Weight::Refused, format!("{name} is not there: {why}"));
        }
        Treatment::Taken(scope, _, translate) => {
            match scope {
                Scope::Security if draft.per_listener => draft.enter_listener(),
                Scope::Listener => draft.enter_listener(),
                Scope::All | Scope::Security => draft.enter_all(),
            }
            match translate(draft, &line.value) {
                Ok(differs) => {
                    if let Some(differs) = differs {
                        note(draft, Weight::Different, format!("{name}: {differs}"));
                    }
                    if options::makes_listener(name, &line.value) {
                        draft.note_listener();
                    }
                }
                Err(wrong) => note(draft, Weight::Refused, format!("{name}: {wrong}")),
            }
        }
    }
}

#[cfg(test)]
mod tests;
