//! What a new configuration changes, and what of it can be taken up while the broker runs.
//!
//! How a change is carried out must not be known here. Invariant: a configuration that was taken up
//! differs from the one before in options that are marked as live in the table, and in no others. Who
//! may come in is not changed as long as it was meant for other places than those that are listened on.

use super::listener::{Listener, ListenerTable, listener_options};
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

/// Options that say who may come in, and who is believed the name that it says.
const ENTRY: &[&str] = &[
    "acl_trust_claimed_names",
    "allow_anonymous",
    "auth_methods",
    "certificate_user",
    "http_auth_ca",
    "http_auth_cache",
    "http_auth_format",
    "http_auth_requests_max",
    "http_auth_timeout",
    "http_auth_url",
    "jwt_acl_claim",
    "jwt_audience",
    "jwt_client_id_claim",
    "jwt_issuer",
    "jwt_keys",
    "jwt_user_claim",
    "password_file",
];

/// What of a new configuration is taken up.
#[derive(Debug, Clone, Copy)]
struct Taken {
    /// Not who may come in: the new configuration is to be reached from elsewhere, or asks for other
    /// certificates, which takes a restart. Half of it could let in whom neither of both would.
    but_entry: bool,
}

impl Taken {
    fn of(old: &Config, new: &Config) -> Self {
        let reach = |config: &Config| -> Vec<_> {
            let of_one = |listener: Listener| {
                let transport = listener.transport();
                let Config { bind, unix, client_ca, client_auth, .. } = listener.config;
                (bind, unix, transport, client_ca, client_auth)
            };
            config.all_listeners().into_iter().map(of_one).collect()
        };
        Self { but_entry: reach(old) != reach(new) }
    }

    fn takes(self, spec: &OptionSpec) -> bool {
        spec.is_live() && !(self.but_entry && ENTRY.contains(&spec.key))
    }
}

/// What is different in `new`, in the order of the table.
pub(crate) fn changes(old: &Config, new: &Config) -> Vec<Change> {
    let taken = Taken::of(old, new);
    let of_all = OPTIONS.iter().filter_map(|spec| {
        change(format!("`{}`", spec.key()), taken.takes(spec), spec.to_toml(old), spec.to_toml(new))
    });
    of_all.chain(of_listeners(old, new, taken)).collect()
}

/// `old` with those changes of `new` that need no restart.
pub(crate) fn take_up(old: &Config, new: &Config) -> Config {
    let taken = Taken::of(old, new);
    let mut config = old.clone();
    for spec in OPTIONS.iter().filter(|spec| taken.takes(spec)) {
        (spec.copy)(&mut config, new);
    }
    if old.listeners.len() == new.listeners.len() {
        let both = old.listeners.iter().zip(&new.listeners).zip(are_same(old, new));
        let tables = both.map(|((old, new), is_same)| {
            if is_same { old.with_those_of(new, |spec| taken.takes(spec)) } else { old.clone() }
        });
        config.listeners = tables.collect();
    }
    config
}

/// For each listener in the order of the file whether the one of `new` may be taken for it.
fn are_same(old: &Config, new: &Config) -> Vec<bool> {
    let both = old.all_listeners().into_iter().zip(new.all_listeners());
    both.map(|(old, new)| old.is_same(&new)).collect()
}

fn of_listeners(old: &Config, new: &Config, taken: Taken) -> Vec<Change> {
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
            found.extend(change(what, taken.takes(spec), said(before, spec), said(after, spec)));
        }
    }
    found
}

fn change(what: String, is_live: bool, before: String, after: String) -> Option<Change> {
    (before != after).then_some(Change { what, before, after, is_live })
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
            // It is to listen elsewhere, too.
            let is_taken = spec.is_live() && !ENTRY.contains(&spec.key);
            let expected = if is_taken { &new } else { &old };
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
    fn who_may_come_in_changes_only_together_with_where_from() {
        let entry = OPTIONS.iter().filter(|spec| ENTRY.contains(&spec.key));
        assert_eq!(entry.filter(|spec| spec.is_live()).count(), ENTRY.len());
        let open = "allow_anonymous = true\nhello = \"never\"\n";
        for (at, table) in
            [("", ""), ("[[listener]]\nname = \"a\"\n", "[[listener]]\nname = \"a\"\n")]
        {
            let old = config(&format!("{at}bind = \"0.0.0.0\"\npassword_file = \"p\"\n"));
            // Both are safe, and half of the one with half of the other is not.
            let inside = config(&format!("{table}bind = \"127.0.0.1\"\n{open}"));
            let listener = take_up(&old, &inside).all_listeners().remove(0).config;
            assert!(!listener.allow_anonymous && listener.password_file.get().is_some());
            assert_eq!(listener.hello, super::super::Hello::Never);
            let waits =
                |change: &&Change| change.what.contains("allow_anonymous") && !change.is_live;
            assert_eq!(changes(&old, &inside).iter().filter(waits).count(), 1);
            let outside = config(&format!("{table}bind = \"0.0.0.0\"\n{open}"));
            let listener = take_up(&old, &outside).all_listeners().remove(0).config;
            assert!(listener.allow_anonymous && listener.password_file.get().is_none());
        }
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
