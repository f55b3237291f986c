//! What a new configuration changes, and what of it can be taken up while the broker runs.
//!
//! How a change is carried out must not be known here. Invariant: a configuration that was taken up
//! differs from the one before in options that are marked as live in the table, and in no others.

use super::listener::{ListenerTable, listener_options};
use super::spec::OptionSpec;
use super::table::{Config, OPTIONS};

/// An option that a new configuration changes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Which, with its listener if it is of one.
    pub(crate) what: String,
    /// As TOML, or in words.
    pub(crate) before: String,
    pub(crate) after: String,
    /// Whether it is taken up now; otherwise it needs a restart.
    pub(crate) is_live: bool,
}

/// What is different in `new`, in the order of the table.
pub(crate) fn changes(old: &Config, new: &Config) -> Vec<Change> {
    let of_all = OPTIONS.iter().filter_map(|spec| {
        change(format!("`{}`", spec.key()), spec, spec.to_toml(old), spec.to_toml(new))
    });
    of_all.chain(of_listeners(old, new)).collect()
}

/// `old` with those changes of `new` that need no restart.
pub(crate) fn take_up(old: &Config, new: &Config) -> Config {
    let mut config = old.clone();
    for spec in OPTIONS.iter().filter(|spec| spec.is_live()) {
        (spec.copy)(&mut config, new);
    }
    if old.listeners.len() == new.listeners.len() {
        let both = old.listeners.iter().zip(&new.listeners).zip(are_same(old, new));
        let taken = both.map(
            |((old, new), is_same)| {
                if is_same { old.with_live_of(new) } else { old.clone() }
            },
        );
        config.listeners = taken.collect();
    }
    config
}

/// For each listener in the order of the file whether the one of `new` may be taken for it.
fn are_same(old: &Config, new: &Config) -> Vec<bool> {
    let both = old.all_listeners().into_iter().zip(new.all_listeners());
    both.map(|(old, new)| old.is_same(&new)).collect()
}

fn of_listeners(old: &Config, new: &Config) -> Vec<Change> {
    let (before, after) = (old.listeners.len(), new.listeners.len());
    if before != after {
        let what = "the number of listeners".to_owned();
        let (before, after) = (before.to_string(), after.to_string());
        return vec![Change { what, before, after, is_live: false }];
    }
    let mut found = Vec::new();
    let numbered = old.all_listeners().into_iter().zip(old.listeners.iter().zip(&new.listeners));
    for ((listener, (before, after)), is_same) in numbered.zip(are_same(old, new)) {
        let label = listener.label().unwrap_or_default();
        if !is_same {
            let after = "another one that the file has in its place".to_owned();
            let (what, before) = (label, "as it is".to_owned());
            found.push(Change { what, before, after, is_live: false });
            continue;
        }
        for spec in listener_options() {
            let what = format!("{label}: `{}`", spec.name());
            found.extend(change(what, spec, said(before, spec), said(after, spec)));
        }
    }
    found
}

fn change(what: String, spec: &OptionSpec, before: String, after: String) -> Option<Change> {
    (before != after).then(|| Change { what, before, after, is_live: spec.is_live() })
}

fn said(table: &ListenerTable, spec: &OptionSpec) -> String {
    let own = || spec.to_toml(&table.over(&Config::default()));
    if table.says(spec) { own() } else { "that of the top of the file".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::file::read_text;
    use super::super::walks::changed_everywhere;
    use super::*;
    use std::path::Path;

    fn config(text: &str) -> Config {
        let mut config = Config::default();
        assert_eq!(read_text(Path::new("n.toml"), text, &mut config), []);
        config
    }

    #[test]
    fn of_all_options_those_are_taken_up_that_are_marked() {
        let (old, new) = (Config::default(), changed_everywhere());
        let config = take_up(&old, &new);
        for spec in OPTIONS {
            let expected = if spec.is_live() { &new } else { &old };
            assert_eq!(spec.to_toml(&config), spec.to_toml(expected), "{}", spec.key());
        }
        let changed = changes(&old, &new);
        assert_eq!(
            changed.iter().filter(|change| !change.what.contains("listener")).count(),
            OPTIONS.len()
        );
        assert_eq!(changes(&new, &new), []);
    }

    #[test]
    fn a_listener_takes_up_what_is_marked_and_keeps_its_port() {
        let old = config("[[listener]]\nname = \"a\"\nport = 1\nhello = \"never\"\n");
        let new = config("hello = \"always\"\n[[listener]]\nname = \"a\"\nport = 2\n");
        let found: Vec<_> = changes(&old, &new)
            .into_iter()
            .map(|change| {
                format!("{} {} {} {}", change.what, change.before, change.after, change.is_live)
            })
            .collect();
        assert_eq!(
            found,
            [
                "`hello` \"waiting\" \"always\" true",
                "listener \"a\": `port` 1 2 false",
                "listener \"a\": `hello` \"never\" that of the top of the file true",
            ]
        );
        let listeners = take_up(&old, &new).all_listeners();
        assert_eq!(listeners[0].config.port, 1);
        assert_eq!(listeners[0].config.hello, super::super::Hello::Always);
    }

    #[test]
    fn listeners_that_change_places_do_not_get_each_others_rules() {
        let inside = "[[listener]]\nport = 1\nallow_anonymous = true\n";
        let outside = "[[listener]]\nport = 2\nbind = \"0.0.0.0\"\npassword_file = \"p\"\n";
        let old = config(&format!("{inside}{outside}"));
        let new = config(&format!("{outside}{inside}"));
        assert_eq!(take_up(&old, &new), old);
        let found = changes(&old, &new);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().all(|change| !change.is_live), "{found:?}");
        // Nor does one that has come get those of one that has gone.
        let new = config(&format!("{inside}[[listener]]\nport = 3\nallow_anonymous = true\n"));
        assert_eq!(take_up(&old, &new), old);
    }

    #[test]
    fn another_number_of_listeners_needs_a_restart_and_changes_none() {
        let old = config("[[listener]]\nport = 1\n");
        let new = config("[[listener]]\nport = 1\nhello = \"never\"\n[[listener]]\nport = 2\n");
        let found = changes(&old, &new);
        assert_eq!(found.len(), 1);
        assert_eq!((&*found[0].before, &*found[0].after, found[0].is_live), ("1", "2", false));
        assert_eq!(take_up(&old, &new), old);
    }
}
