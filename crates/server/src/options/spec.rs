//! A row of the option table as the rest of the program sees it, and the macro that makes the
//! typed structs and the rows out of one declaration.
//!
//! No option is named here. Invariant: every field of the configuration has exactly one row.

use super::table::Config;
use super::value::{Given, Mismatch, Range, Value};

pub use super::value::Shape;

/// One option: where it is written, what it accepts and what it means.
#[derive(Debug)]
pub struct OptionSpec {
    pub(crate) section: &'static str,
    pub(crate) name: &'static str,
    pub(crate) key: &'static str,
    pub(crate) doc: &'static [&'static str],
    pub(crate) kind: Kind,
    pub(crate) row: Row,
    pub(crate) read: fn(&mut Config, &Given, Range) -> Result<(), Mismatch>,
    pub(crate) show: fn(&Config) -> String,
    /// Takes the value from the second one over.
    pub(crate) copy: fn(&mut Config, &Config),
}

impl OptionSpec {
    /// Its place in the configuration file, such as `port` or `limits.packet_bytes_max`.
    #[must_use]
    pub fn key(&self) -> &'static str {
        self.key
    }

    /// The table of the configuration file that it belongs to; empty for the top of the file.
    #[must_use]
    pub fn section(&self) -> &'static str {
        self.section
    }

    /// Its name within its section.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The environment variable that sets it.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.key.replace('.', "_").to_uppercase())
    }

    /// Long flags without dashes, the main one first. Of a switch: those that turn it on.
    #[must_use]
    pub fn flags(&self) -> &'static [&'static str] {
        self.row.flags
    }

    /// The long flags that turn a switch, or what the option is about, off; the main one first.
    #[must_use]
    pub fn off_flags(&self) -> &'static [&'static str] {
        self.row.off_flags
    }

    /// The value that the flags of [`off_flags`](Self::off_flags) stand for.
    #[must_use]
    pub fn off_word(&self) -> &'static str {
        self.row.off_word
    }

    /// Its one-letter flag.
    #[must_use]
    pub fn short(&self) -> Option<char> {
        self.row.short
    }

    /// How its flag carries the value.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.kind.shape
    }

    /// What stands for the value in `--help`.
    #[must_use]
    pub fn placeholder(&self) -> &'static str {
        self.kind.placeholder
    }

    /// The first sentence of its documentation.
    #[must_use]
    pub fn summary(&self) -> &'static str {
        self.doc.first().map_or("", |line| line.trim())
    }

    /// Whether a `[[listener]]` may say it for itself.
    #[must_use]
    pub fn is_per_listener(&self) -> bool {
        self.row.per_listener
    }

    /// Whether a change of it is taken up while the broker runs.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.row.live
    }

    /// All of its documentation, without line breaks.
    #[must_use]
    pub fn text(&self) -> String {
        joined(self.doc)
    }

    /// What it accepts, in words that follow "expected".
    #[must_use]
    pub fn expected(&self) -> String {
        (self.kind.describe)(self.row.range)
    }

    /// Its default as TOML.
    #[must_use]
    pub fn default_toml(&self) -> String {
        self.to_toml(&Config::default())
    }

    /// Its default as a flag or an environment variable would say it.
    #[must_use]
    pub fn default_text(&self) -> String {
        // No default holds one of these characters itself; a test reads every default back.
        self.default_toml().replace(['"', '[', ']'], "").replace(", ", ",")
    }

    /// Its value in `config` as TOML.
    #[must_use]
    pub fn to_toml(&self, config: &Config) -> String {
        (self.show)(config)
    }

    /// Whether the text of a flag or of the environment is a value of this option.
    ///
    /// # Errors
    /// What was expected and what was found, as one line.
    pub fn check(&self, text: &str) -> Result<(), String> {
        self.apply(&mut Config::default(), &Given::Words(text.to_owned()))
    }

    /// Sets the option in `config`, or says what was expected and what was found.
    pub(crate) fn apply(&self, config: &mut Config, given: &Given) -> Result<(), String> {
        (self.read)(config, given, self.row.range).map_err(|mismatch| {
            let (expected, found) = (self.expected(), given.found());
            let advice = mismatch.advice.map_or_else(String::new, |advice| format!("; {advice}"));
            format!("expected {expected}, found {found}{advice}")
        })
    }
}

/// A table of the configuration file.
#[derive(Debug)]
pub struct Section {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static [&'static str],
}

impl Section {
    /// Its name between the brackets; empty for the top of the file.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its documentation, without line breaks.
    #[must_use]
    pub fn text(&self) -> String {
        joined(self.doc)
    }
}

/// What every environment variable of ours begins with.
pub(crate) const VARIABLE_PREFIX: &str = "NOCTULE_";

/// What the type of an option says about it.
#[derive(Debug)]
pub(crate) struct Kind {
    placeholder: &'static str,
    shape: Shape,
    describe: fn(Range) -> String,
}

impl Kind {
    /// The kind of options of type `T`.
    pub(crate) const fn of<T: Value>() -> Self {
        Self { placeholder: T::PLACEHOLDER, shape: T::SHAPE, describe: T::describe }
    }
}

/// What a row says besides name, type, default and documentation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) flags: &'static [&'static str],
    pub(crate) off_flags: &'static [&'static str],
    /// What the off flags stand for.
    pub(crate) off_word: &'static str,
    pub(crate) short: Option<char>,
    pub(crate) range: Range,
    pub(crate) per_listener: bool,
    pub(crate) live: bool,
}

impl Row {
    /// Gives the one-letter flag.
    pub(crate) const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    /// A listener may say it for itself.
    pub(crate) const fn per_listener(mut self) -> Self {
        self.per_listener = true;
        self
    }

    /// A change is taken up while the broker runs.
    pub(crate) const fn live(mut self) -> Self {
        self.live = true;
        self
    }

    /// Gives the flags that turn a switch off.
    pub(crate) const fn off(mut self, flags: &'static [&'static str]) -> Self {
        self.off_flags = flags;
        self
    }

    /// Gives flags that stand for one word of an option that is no switch.
    pub(crate) const fn off_as(
        mut self,
        word: &'static str,
        flags: &'static [&'static str],
    ) -> Self {
        self.off_flags = flags;
        self.off_word = word;
        self
    }

    /// Accepts `min` to `max`, in the base unit of the type.
    pub(crate) const fn range(mut self, min: u64, max: u64) -> Self {
        self.range = Range { min, max };
        self
    }

    /// Accepts `min` and more, in the base unit of the type.
    pub(crate) const fn at_least(self, min: u64) -> Self {
        self.range(min, u64::MAX)
    }
}

/// A row with these long flags, the main one first.
pub(crate) const fn flags(flags: &'static [&'static str]) -> Row {
    Row {
        flags,
        off_flags: &[],
        off_word: "false",
        short: None,
        range: Range::ANY,
        per_listener: false,
        live: false,
    }
}

fn joined(doc: &[&str]) -> String {
    let lines: Vec<_> = doc.iter().map(|line| line.trim()).collect();
    lines.join(" ")
}

/// Declares the configuration: its structs with their defaults, `OPTIONS`, `SECTIONS`, and what only a
/// `[[listener]]` has.
///
/// A row is `field: Type = default => flags(&["flag"]);` and its documentation comment, whose
/// first line is one sentence, is what `--help` and the manual print.
macro_rules! option_table {
    (
        $(#[doc = $config_doc:literal])+
        $config:ident {
            $(
                $(#[doc = $doc:literal])+
                $name:ident: $type:ty = $default:expr => $row:expr;
            )+
        }
        $(#[doc = $listener_doc:literal])+
        [[$listener:ident]] $listener_type:ident {
            $(
                $(#[doc = $own_doc:literal])+
                $own_name:ident: $own_type:ty = $own_default:expr => $own_row:expr;
            )+
        }
        $(
            $(#[doc = $section_doc:literal])+
            [$section:ident] $section_type:ident {
                $(
                    $(#[doc = $inner_doc:literal])+
                    $inner_name:ident: $inner_type:ty = $inner_default:expr => $inner_row:expr;
                )+
            }
        )+
    ) => {
        $(#[doc = $config_doc])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $config {
            $( $(#[doc = $doc])+ pub $name: $type, )+
            $( $(#[doc = $section_doc])+ pub $section: $section_type, )+
            /// What a listener has besides; of the configuration as a whole these are the defaults.
            pub $listener: $listener_type,
            /// The tables `[[listener]]`, in their order.
            pub listeners: Vec<ListenerTable>,
        }

        impl Default for $config {
            fn default() -> Self {
                Self {
                    $( $name: $default, )+
                    $( $section: $section_type::default(), )+
                    $listener: $listener_type::default(),
                    listeners: Vec::new(),
                }
            }
        }

        $(
            $(#[doc = $section_doc])+
            #[derive(Clone, Debug, PartialEq)]
            pub struct $section_type {
                $( $(#[doc = $inner_doc])+ pub $inner_name: $inner_type, )+
            }

            impl Default for $section_type {
                fn default() -> Self {
                    Self { $( $inner_name: $inner_default, )+ }
                }
            }
        )+

        $(#[doc = $listener_doc])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $listener_type {
            $( $(#[doc = $own_doc])+ pub $own_name: $own_type, )+
        }

        impl Default for $listener_type {
            fn default() -> Self {
                Self { $( $own_name: $own_default, )+ }
            }
        }

        /// What only a listener has; the rest are the options of [`OPTIONS`] that say so.
        pub static LISTENER_OPTIONS: &[OptionSpec] = &[
            $(
                OptionSpec {
                    section: stringify!($listener),
                    name: stringify!($own_name),
                    key: concat!(stringify!($listener), ".", stringify!($own_name)),
                    doc: &[$($own_doc),+],
                    kind: Kind::of::<$own_type>(),
                    row: $own_row,
                    read: |config, given, range| {
                        config.$listener.$own_name = Value::read_in(given, range)?;
                        Ok(())
                    },
                    show: |config| Value::to_toml(&config.$listener.$own_name),
                    copy: |config, from| config.$listener.$own_name = from.$listener.$own_name.clone(),
                },
            )+
        ];

        /// What a `[[listener]]` is.
        pub static LISTENER: Section =
            Section { name: stringify!($listener), doc: &[$($listener_doc),+] };

        /// Every option, in the order in which they are printed.
        pub static OPTIONS: &[OptionSpec] = &[
            $(
                OptionSpec {
                    section: "",
                    name: stringify!($name),
                    key: stringify!($name),
                    doc: &[$($doc),+],
                    kind: Kind::of::<$type>(),
                    row: $row,
                    read: |config, given, range| {
                        config.$name = Value::read_in(given, range)?;
                        Ok(())
                    },
                    show: |config| Value::to_toml(&config.$name),
                    copy: |config, from| config.$name = from.$name.clone(),
                },
            )+
            $($(
                OptionSpec {
                    section: stringify!($section),
                    name: stringify!($inner_name),
                    key: concat!(stringify!($section), ".", stringify!($inner_name)),
                    doc: &[$($inner_doc),+],
                    kind: Kind::of::<$inner_type>(),
                    row: $inner_row,
                    read: |config, given, range| {
                        config.$section.$inner_name = Value::read_in(given, range)?;
                        Ok(())
                    },
                    show: |config| Value::to_toml(&config.$section.$inner_name),
                    copy: |config, from| config.$section.$inner_name = from.$section.$inner_name.clone(),
                },
            )+)+
        ];

        /// Every table of the configuration file; the first is the top of the file.
        pub static SECTIONS: &[Section] = &[
            Section { name: "", doc: &[$($config_doc),+] },
            $( Section { name: stringify!($section), doc: &[$($section_doc),+] }, )+
        ];
    };
}

pub(crate) use option_table;
