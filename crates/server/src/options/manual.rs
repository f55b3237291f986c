//! The page about configuration, as Markdown.
//!
//! What an option means must not be said here but in its row. Invariant: `docs/configuration.md`
//! is what [`manual`] returns; a test compares them, and rewrites the file when
//! `NOCTULE_WRITE_DOCS=1` is set:
//!
//! ```text
//! NOCTULE_WRITE_DOCS=1 cargo test -p noctule-server the_page
//! ```

use super::spec::{OptionSpec, Section, Shape};
use super::table::{LISTENER, LISTENER_OPTIONS, OPTIONS, SECTIONS};

/// The whole page.
#[must_use]
pub fn manual() -> String {
    let mut out = String::from(OPENING);
    for section in SECTIONS {
        out.push_str(&heading(section));
        for spec in OPTIONS.iter().filter(|spec| spec.section == section.name) {
            out.push_str(&entry(spec));
        }
    }
    out.push_str(&listeners());
    out
}

const OPENING: &str = "\
<!-- Made from the option table in crates/server/src/options/table.rs; do not edit.
     NOCTULE_WRITE_DOCS=1 cargo test -p noctule-server the_page -->

# Configuration

The broker starts without a configuration file. What you want otherwise comes from these sources,
the later ones being stronger:

1. the defaults below,
2. the file named by `noctule broker --config FILE`; no file is read unasked,
3. environment variables `NOCTULE_…`,
4. flags.

`noctule broker --check-config` reads all of them, prints `configuration ok` and ends with exit
code 0, or prints every problem with its place and ends with exit code 1.
`noctule broker --print-config` prints the configuration that would be used, as a commented file
that can be read back.

The file is TOML. An unknown key is an error that names the nearest known one; an unknown variable
`NOCTULE_…` is a warning. Values with a unit are strings:

| kind | written | a bare number is |
|---|---|---|
| duration | `\"500ms\"`, `\"5s\"`, `\"2m\"`, `\"12h\"`, `\"7d\"` | seconds |
| size | `\"256KiB\"`, `\"1MiB\"`, `\"2MB\"` (1 MiB is 1,048,576 bytes, 1 MB is 1,000,000) | bytes |
| limit | as its kind says, or `\"unlimited\"` where that is listed; `0` never means that | |

In environment variables and flags everything is written without quotes, and lists with commas.

## Changes while the broker runs

The broker looks at the configuration file every two seconds, and at once when it gets SIGHUP. Of what has changed it
takes up the options that say so below, and says in one line for each of the others that it needs a
restart. A file with a problem changes nothing: the broker says what is wrong and goes on as before. What
variables and flags have said at the start stays stronger than the file. Certificates, revocation lists
and password files are read again in the same way.

Options that say who may come in (`allow_anonymous`, `password_file`, `certificate_user` and those for tokens) wait for
the restart, too, if the same change concerns where the broker listens or whose certificates it asks for: half of it could
open a door that neither configuration opens. So do all options of a listener that has another name and another place.

Limits that a client is told when it connects stay as it was told. A change of how many messages may be
in flight applies to a client from its next connection on.
";

fn heading(section: &Section) -> String {
    let title = match section.name {
        "" => "At the top of the file".to_owned(),
        name => format!("Section `[{name}]`"),
    };
    format!("\n## {title}\n\n{}\n", section.text())
}

fn entry(spec: &OptionSpec) -> String {
    format!(
        "\n### `{}`\n\n{}\n\n- Accepts: {}\n- Default: `{}`\n- Flag: {}\n- Variable: `{}`\n{}{}",
        spec.key,
        spec.text(),
        spec.expected(),
        spec.default_toml(),
        flags(spec),
        spec.variable(),
        if spec.is_per_listener() { "- Also in a `[[listener]]`\n" } else { "" },
        if spec.is_live() { "- Can be changed while the broker runs\n" } else { "" },
    )
}

fn listeners() -> String {
    let mut out = format!(
        "\n## Tables `[[{0}]]`\n\n{1}\n\nAs `[[{0}]]` is a table of its own, it stands behind the \
         options at the top of the file:\n\n{EXAMPLE}",
        LISTENER.name,
        LISTENER.text()
    );
    for spec in LISTENER_OPTIONS {
        out.push_str(&format!(
            "\n### `{}` of a listener\n\n{}\n\n- Accepts: {}\n- Default: `{}`\n",
            spec.name(),
            spec.text(),
            spec.expected(),
            spec.default_toml(),
        ));
    }
    let shared = OPTIONS.iter().filter(|spec| spec.is_per_listener());
    let shared: Vec<_> = shared.map(|spec| format!("[`{0}`](#{0})", spec.name())).collect();
    out.push_str(&format!("\n### The other options of a listener\n\n{}.\n", shared.join(", ")));
    out
}

const EXAMPLE: &str = "\
```toml
hello = \"never\"

[[listener]]
name = \"machines\"
bind = \"192.0.2.10\"
transport = \"tls\"
port = 8883
client_ca = \"/etc/noctule/machines-ca.pem\"

[[listener]]
name = \"here\"
bind = [\"127.0.0.1\", \"::1\"]
port = 1883
hello = \"waiting\"
protocol_versions = [\"3.1.1\", \"5\"]
```
";

fn flags(spec: &OptionSpec) -> String {
    let value = match spec.shape() {
        Shape::Switch => String::new(),
        Shape::Single | Shape::List => format!(" {}", spec.placeholder()),
    };
    let mut all: Vec<_> =
        spec.short().map(|short| format!("`-{short}{value}`")).into_iter().collect();
    all.extend(spec.flags().iter().map(|flag| format!("`--{flag}{value}`")));
    all.extend(spec.off_flags().iter().map(|flag| format!("`--{flag}`")));
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::{env, fs};

    use super::*;

    #[test]
    fn the_page_is_what_the_table_says() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
        if env::var_os("NOCTULE_WRITE_DOCS").is_some() {
            fs::write(&page, manual()).unwrap();
        }
        let written = fs::read_to_string(&page).unwrap_or_default();
        assert!(
            written == manual(),
            "docs/configuration.md is behind the option table; rewrite it with \
             NOCTULE_WRITE_DOCS=1 cargo test -p noctule-server the_page"
        );
    }

    #[test]
    fn an_entry_says_everything_about_its_option() {
        let spec = OPTIONS.iter().find(|spec| spec.key == "tls_port").unwrap();
        let entry = entry(spec);
        for part in [
            "### `tls_port`",
            "TCP port for MQTT over TLS.",
            "a whole number from 0 to 65535",
            "Default: `8883`",
            "`--tls-port NUMBER`, `--ssl-port NUMBER`",
            "`NOCTULE_TLS_PORT`",
        ] {
            assert!(entry.contains(part), "{part}");
        }
    }
}
