//! What must hold of a `mosquitto.conf` whatever text it is. The fuzzer looks for text that breaks it; the
//! ordinary tests replay what it has found.

use noctule_server::mosquitto::{Note, Weight, translate_text};
use noctule_server::options::load_text;
use std::path::Path;

/// The whole is the text of a file.
pub(crate) fn mosquitto_conf(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match translate_text(&text, Some(1_884)) {
        Ok(translation) => {
            check_notes(&translation.notes, &text);
            assert!(translation.notes.iter().all(|note| note.weight != Weight::Refused));
            // What it says in our words can be read, and is read: what may be wrong are values.
            if let Err(problem) = translation.toml.parse::<toml::Table>() {
                panic!("{problem} in\n{}", translation.toml);
            }
            let _ = load_text(Path::new("translated"), &translation.toml);
            // What is left out is said in comments, and a comment of its own changes nothing.
            let again = translate_text(&format!("# mine\n{text}"), Some(1_884));
            let again = again.expect("a comment is no mistake");
            let values = |toml: &str| toml.parse::<toml::Table>().ok();
            assert_eq!(values(&again.toml), values(&translation.toml));
        }
        Err(notes) => {
            check_notes(&notes, &text);
            assert!(notes.iter().any(|note| note.weight == Weight::Refused));
        }
    }
}

/// Each is one line for people, about one that is there.
fn check_notes(notes: &[Note], text: &str) {
    let lines = text.lines().count();
    for note in notes {
        assert!(!note.text.is_empty() && !note.text.contains('\n'), "{note:?}");
        assert!(note.place.as_ref().is_none_or(|(_, line)| (1..=lines).contains(line)), "{note:?}");
    }
}
