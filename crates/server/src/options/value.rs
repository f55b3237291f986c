//! What a value may be: the trait every option type implements, what a source gave, and the
//! types that need no module of their own (switches, counts, addresses, paths).
//!
//! Where a value came from must not matter here, except that TOML is typed and text is not:
//! a quoted number in the file is refused, the same text in the environment is not.
//! Invariant: what [`Value::to_toml`] writes, [`Value::read`] reads back as an equal value.

use std::fmt::Debug;
use std::net::IpAddr;
use std::path::PathBuf;

use super::quantity;

/// A type that an option can have.
pub(crate) trait Value: Sized + Debug {
    /// What stands for the value in `--help`.
    const PLACEHOLDER: &'static str;

    /// How a flag carries it.
    const SHAPE: Shape = Shape::Single;

    /// Whether `unlimited` is one of its values.
    const KNOWS_UNLIMITED: bool = false;

    /// Reads what a source gave, without looking at the range.
    fn read(given: &Given) -> Result<Self, Mismatch>;

    /// The value as TOML.
    fn to_toml(&self) -> String;

    /// What is accepted, in words that follow "expected".
    fn describe(range: Range) -> String;

    /// The value in its base unit (pieces, bytes, milliseconds) if a range applies to it.
    fn magnitude(&self) -> Option<u64> {
        None
    }

    /// Reads what a source gave and holds it against the range of its row.
    fn read_in(given: &Given, range: Range) -> Result<Self, Mismatch> {
        let value = Self::read(given)?;
        match value.magnitude() {
            Some(0) if range.min > 0 => Err(Mismatch::advice(Self::about_zero())),
            Some(magnitude) if !range.contains(magnitude) => Err(Mismatch::default()),
            _ => Ok(value),
        }
    }

    /// Zero is what other programs use for "no limit"; here it is never that.
    fn about_zero() -> &'static str {
        if Self::KNOWS_UNLIMITED {
            "0 does not mean without limit: write \"unlimited\" for that"
        } else {
            "0 does not mean without limit, and this option has to have one"
        }
    }
}

/// How a flag carries a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A flag that is there or not, with other flags for the opposite.
    Switch,
    /// A flag with one value; the last one given counts.
    Single,
    /// A flag with values separated by commas, which may be given several times.
    List,
}

/// What is accepted, in the base unit of the type. A `max` of `u64::MAX` is no upper end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// Smallest accepted value.
    pub(crate) min: u64,
    /// Largest accepted value.
    pub(crate) max: u64,
}

impl Range {
    /// Accepts everything.
    pub(crate) const ANY: Self = Self { min: 0, max: u64::MAX };

    /// Whether the value lies within.
    pub(crate) fn contains(self, value: u64) -> bool {
        (self.min..=self.max).contains(&value)
    }

    /// The range in words, each end written by `show`.
    pub(crate) fn in_words(self, show: impl Fn(u64) -> String) -> String {
        match self {
            Self::ANY => String::new(),
            Self { min, max: u64::MAX } => format!(" of at least {}", show(min)),
            Self { min, max } => format!(" from {} to {}", show(min), show(max)),
        }
    }
}

/// A value as its source wrote it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Given {
    /// Text of a flag or of the environment, which has no types.
    Words(String),
    /// A TOML string.
    Text(String),
    /// A TOML integer, in decimal.
    Integer(String),
    /// A TOML float.
    Float(String),
    /// A TOML boolean.
    Switch(bool),
    /// A TOML array of strings.
    List(Vec<String>),
    /// Any other TOML value, by its name.
    Other(&'static str),
}

impl Given {
    /// The text, be it quoted or not.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Words(text) | Self::Text(text) => Some(text.trim()),
            _ => None,
        }
    }

    /// What was found, in words that follow "found".
    pub(crate) fn found(&self) -> String {
        match self {
            Self::Words(text) => format!("{:?}", shortened(text)),
            Self::Text(text) => format!("the string {:?}", shortened(text)),
            Self::Integer(text) | Self::Float(text) => format!("the number {}", shortened(text)),
            Self::Switch(on) => on.to_string(),
            Self::List(items) => format!("a list of {}", items.len()),
            Self::Other(name) => (*name).to_owned(),
        }
    }
}

/// Why a value was not accepted, beyond what was expected and what was found.
#[derive(Debug, Default)]
pub(crate) struct Mismatch {
    /// What to do about it, where that is more than following the expectation.
    pub(crate) advice: Option<String>,
}

impl Mismatch {
    /// A mismatch with something to say.
    pub(crate) fn advice(text: impl Into<String>) -> Self {
        Self { advice: Some(text.into()) }
    }
}

impl Value for bool {
    const PLACEHOLDER: &'static str = "true|false";
    const SHAPE: Shape = Shape::Switch;

    fn read(given: &Given) -> Result<Self, Mismatch> {
        match given {
            Given::Switch(on) => Ok(*on),
            Given::Words(text) => match text.trim() {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err(Mismatch::default()),
            },
            Given::Text(text) if matches!(text.trim(), "true" | "false") => {
                Err(Mismatch::advice("write it without quotes"))
            }
            _ => Err(Mismatch::default()),
        }
    }

    fn to_toml(&self) -> String {
        self.to_string()
    }

    fn describe(_: Range) -> String {
        "`true` or `false`".to_owned()
    }
}

impl Value for u16 {
    const PLACEHOLDER: &'static str = "NUMBER";

    fn read(given: &Given) -> Result<Self, Mismatch> {
        count(given)?.try_into().map_err(|_| Mismatch::default())
    }

    fn to_toml(&self) -> String {
        quantity::grouped((*self).into())
    }

    fn describe(range: Range) -> String {
        describe_count(range)
    }

    fn magnitude(&self) -> Option<u64> {
        Some((*self).into())
    }
}

impl Value for u32 {
    const PLACEHOLDER: &'static str = "NUMBER";

    fn read(given: &Given) -> Result<Self, Mismatch> {
        count(given)?.try_into().map_err(|_| Mismatch::default())
    }

    fn to_toml(&self) -> String {
        quantity::grouped((*self).into())
    }

    fn describe(range: Range) -> String {
        describe_count(range)
    }

    fn magnitude(&self) -> Option<u64> {
        Some((*self).into())
    }
}

impl Value for String {
    const PLACEHOLDER: &'static str = "TEXT";

    fn read(given: &Given) -> Result<Self, Mismatch> {
        match given {
            // What a packet's text can hold and should.
            Given::Words(text) | Given::Text(text)
                if !text.contains(char::is_control) && text.len() <= usize::from(u16::MAX) =>
            {
                Ok(text.clone())
            }
            _ => Err(Mismatch::default()),
        }
    }

    fn to_toml(&self) -> String {
        quoted(self)
    }

    fn describe(_: Range) -> String {
        "a text of at most 65,535 bytes without control characters".to_owned()
    }
}

impl Value for PathBuf {
    const PLACEHOLDER: &'static str = "PATH";

    fn read(given: &Given) -> Result<Self, Mismatch> {
        match given {
            Given::Words(text) | Given::Text(text) if text.contains('\0') => {
                Err(Mismatch::default())
            }
            // Not trimmed: a blank at the end of a directory's name is part of the name.
            Given::Words(text) | Given::Text(text) if !text.is_empty() => Ok(text.into()),
            _ => Err(Mismatch::default()),
        }
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string_lossy())
    }

    fn describe(_: Range) -> String {
        "a path".to_owned()
    }
}

impl Value for Vec<IpAddr> {
    const PLACEHOLDER: &'static str = "ADDRESS";
    const SHAPE: Shape = Shape::List;

    fn read(given: &Given) -> Result<Self, Mismatch> {
        let addresses: Result<Vec<_>, _> = match given {
            Given::List(items) => items.iter().map(|item| address(item)).collect(),
            _ => given.text().ok_or_else(Mismatch::default)?.split(',').map(address).collect(),
        };
        distinct(addresses?)
    }

    fn to_toml(&self) -> String {
        let items: Vec<_> = self.iter().map(|address| format!("\"{address}\"")).collect();
        format!("[{}]", items.join(", "))
    }

    fn describe(_: Range) -> String {
        "one or more IP addresses (such as 127.0.0.1 or ::1)".to_owned()
    }
}

/// A TOML string with its quotes.
pub(crate) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// Text that a message may show: what somebody else wrote has no end of its own.
fn shortened(text: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn count(given: &Given) -> Result<u64, Mismatch> {
    match given {
        Given::Integer(text) | Given::Words(text) => {
            quantity::whole_number(text.trim()).ok_or_else(Mismatch::default)
        }
        Given::Text(text) if quantity::whole_number(text.trim()).is_some() => {
            Err(Mismatch::advice("write it without quotes"))
        }
        _ => Err(Mismatch::default()),
    }
}

fn describe_count(range: Range) -> String {
    format!("a whole number{}", range.in_words(|number| number.to_string()))
}

/// One address; brackets as in a URL are allowed, a port or a name is not.
fn address(text: &str) -> Result<IpAddr, Mismatch> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().map_err(|_| match text.parse::<std::net::SocketAddr>() {
        Ok(_) => Mismatch::advice(format!("{text} carries a port: that is the option `port`")),
        Err(_) if text == "localhost" => Mismatch::advice("write 127.0.0.1 and ::1 for localhost"),
        Err(_) => Mismatch::advice(format!("{:?} is not an IP address", shortened(text))),
    })
}

/// The same address twice could only end in "address in use".
fn distinct(addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, Mismatch> {
    if addresses.is_empty() {
        return Err(Mismatch::advice("without an address nobody could connect"));
    }
    for (place, address) in addresses.iter().enumerate() {
        if addresses[..place].contains(address) {
            return Err(Mismatch::advice(format!("{address} is there twice")));
        }
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words<T: Value>(text: &str) -> Result<T, Option<String>> {
        T::read(&Given::Words(text.to_owned())).map_err(|mismatch| mismatch.advice)
    }

    #[test]
    fn a_count_may_be_grouped_and_nothing_else() {
        assert_eq!(words::<u32>("100_000"), Ok(100_000));
        assert_eq!(words::<u32>(" 7 "), Ok(7));
        for wrong in ["", "-1", "+1", "1.5", "_1", "1_", "1k", "4294967296", "99999999999999999999"]
        {
            assert_eq!(words::<u32>(wrong), Err(None), "{wrong}");
        }
        assert_eq!(words::<u16>("65536"), Err(None));
    }

    #[test]
    fn a_quoted_number_in_the_file_is_told_to_drop_its_quotes() {
        let advice = u16::read(&Given::Text("1883".into())).unwrap_err().advice;
        assert_eq!(advice.as_deref(), Some("write it without quotes"));
    }

    #[test]
    fn addresses_come_as_a_list_or_with_commas_or_in_brackets() {
        let both: Vec<IpAddr> = vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
        assert_eq!(words::<Vec<IpAddr>>("127.0.0.1,::1"), Ok(both.clone()));
        assert_eq!(words::<Vec<IpAddr>>("127.0.0.1, [::1]"), Ok(both.clone()));
        let list = Given::List(vec!["127.0.0.1".into(), "::1".into()]);
        assert_eq!(Vec::<IpAddr>::read(&list).unwrap(), both);
    }

    #[test]
    fn an_address_that_is_none_says_which_and_why() {
        let advice = |text| words::<Vec<IpAddr>>(text).unwrap_err().unwrap();
        assert!(advice("127.0.0.1:1883").contains("the option `port`"));
        assert!(advice("[::1]:1883").contains("the option `port`"));
        assert!(advice("localhost").contains("127.0.0.1 and ::1"));
        assert_eq!(advice("::1, broker.example"), "\"broker.example\" is not an IP address");
        assert_eq!(advice("::1,0:0::1"), "::1 is there twice");
        assert_eq!(advice(""), "\"\" is not an IP address");
        let none = Vec::<IpAddr>::read(&Given::List(vec![])).unwrap_err().advice.unwrap();
        assert_eq!(none, "without an address nobody could connect");
    }

    #[test]
    fn what_was_found_is_escaped_and_shortened() {
        let found = Given::Words(format!("\u{1b}[31m{}", "x".repeat(500))).found();
        assert!(found.starts_with("\"\\u{1b}[31m"), "{found}");
        assert!(found.chars().count() < 80, "{found}");
    }

    #[test]
    fn a_path_keeps_its_blanks_and_is_never_empty() {
        assert_eq!(words::<PathBuf>("a b "), Ok(PathBuf::from("a b ")));
        assert_eq!(words::<PathBuf>(""), Err(None));
        assert_eq!(words::<PathBuf>("a\0b"), Err(None));
    }
}
