//! The lines of a `mosquitto.conf` and of the files it includes.

use super::{Note, Weight};
use std::fs;
use std::path::{Path, PathBuf};

/// An option and its value.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) file: PathBuf,
    /// From one.
    pub(super) number: usize,
    pub(super) name: String,
    /// Without the spaces around it.
    pub(super) value: String,
}

/// Reads a file, and at each `include_dir` those of the directory whose names end with `.conf`, in
/// the order of their names, of which only the last resort is whether a letter is a capital.
pub(super) fn read(file: &Path, notes: &mut Vec<Note>) -> Vec<Line> {
    let mut lines = Vec::new();
    read_into(file, None, &mut lines, notes);
    lines
}

/// The lines of a text that includes nothing.
pub(super) fn of_text(text: &str, notes: &mut Vec<Note>) -> Vec<Line> {
    let mut lines = Vec::new();
    for entry in entries(Path::new("the text"), text) {
        match entry {
            Entry::Option(line) => lines.push(line),
            Entry::Include(_, place) => {
                let text = "include_dir in a text that is no file is not followed".to_owned();
                refuse(Some(place), text, notes);
            }
        }
    }
    lines
}

/// What a line says.
enum Entry {
    Option(Line),
    /// The files of this directory, and where that stands.
    Include(PathBuf, (PathBuf, usize)),
}

fn refuse(place: Option<(PathBuf, usize)>, text: String, notes: &mut Vec<Note>) {
    notes.push(Note { place, weight: Weight::Refused, text });
}

fn read_into(
    file: &Path,
    included: Option<(PathBuf, usize)>,
    lines: &mut Vec<Line>,
    notes: &mut Vec<Note>,
) {
    let text = match fs::read(file) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(_) => {
                return refuse(included, format!("{}: is not UTF-8 text", file.display()), notes);
            }
        },
        Err(error) => {
            return refuse(included, format!("{}: cannot be read: {error}", file.display()), notes);
        }
    };
    for entry in entries(file, &text) {
        match entry {
            Entry::Option(line) => lines.push(line),
            Entry::Include(_, place) if included.is_some() => {
                let text = "include_dir in an included file is not followed".to_owned();
                refuse(Some(place), text, notes);
            }
            Entry::Include(directory, place) => include(&directory, place, lines, notes),
        }
    }
}

/// What the lines of a text say, but for empty ones and comments.
fn entries(file: &Path, text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (index, line) in text.trim_start_matches('\u{FEFF}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let (number, value) = (index + 1, value.trim());
        let file = file.to_owned();
        entries.push(if name == "include_dir" {
            Entry::Include(value.into(), (file, number))
        } else {
            Entry::Option(Line { file, number, name: name.to_owned(), value: value.to_owned() })
        });
    }
    entries
}

fn include(
    directory: &Path,
    place: (PathBuf, usize),
    lines: &mut Vec<Line>,
    notes: &mut Vec<Note>,
) {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            let text = format!("include_dir {}: cannot be read: {error}", directory.display());
            return refuse(Some(place), text, notes);
        }
    };
    let is_conf = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "conf");
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(is_conf).collect();
    // As Mosquitto does it: which listener a line is about depends on it.
    files.sort_by_key(|file| (file.to_string_lossy().to_lowercase(), file.clone()));
    for file in files {
        read_into(&file, Some(place.clone()), lines, notes);
    }
}
