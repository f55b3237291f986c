//! Values that may also be a word: `unlimited` for a limit, `auto` for what the broker works out,
//! `none` for what need not be there.
//!
//! What `auto` comes to must not be decided here: the part that needs the number asks the machine.
//! Invariant: no word has a number, so no range applies to it and zero never stands for it.

use super::value::{Given, Mismatch, Range, Shape, Value};

/// A limit that can be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit<T> {
    /// No more than this.
    At(T),
    /// No limit; written `unlimited`.
    Unlimited,
}

impl<T> Limit<T> {
    /// The limit, if there is one.
    #[must_use]
    pub fn get(self) -> Option<T> {
        match self {
            Self::At(value) => Some(value),
            Self::Unlimited => None,
        }
    }

    /// The limit, or `greatest` for [`Limit::Unlimited`].
    #[must_use]
    pub fn or(self, greatest: T) -> T {
        self.get().unwrap_or(greatest)
    }
}

/// A value that the broker can work out by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auto<T> {
    /// Worked out at start; written `auto`.
    Auto,
    /// Chosen by the operator.
    Set(T),
}

impl<T> Auto<T> {
    /// The chosen value, or what `work_out` says.
    #[must_use]
    pub fn or_else(self, work_out: impl FnOnce() -> T) -> T {
        match self {
            Self::Auto => work_out(),
            Self::Set(value) => value,
        }
    }
}

/// A value that need not be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Optional<T> {
    /// It is not; written `none`.
    None,
    /// Chosen by the operator.
    Set(T),
}

impl<T> Optional<T> {
    /// The value, if there is one.
    #[must_use]
    pub fn get(&self) -> Option<&T> {
        match self {
            Self::None => None,
            Self::Set(value) => Some(value),
        }
    }
}

impl<T: Value> Value for Limit<T> {
    const PLACEHOLDER: &'static str = T::PLACEHOLDER;
    const SHAPE: Shape = T::SHAPE;
    const KNOWS_UNLIMITED: bool = true;

    fn read(given: &Given) -> Result<Self, Mismatch> {
        match given.text() {
            Some(UNLIMITED) => Ok(Self::Unlimited),
            _ => T::read(given).map(Self::At),
        }
    }

    fn to_toml(&self) -> String {
        match self {
            Self::At(value) => value.to_toml(),
            Self::Unlimited => format!("\"{UNLIMITED}\""),
        }
    }

    fn describe(range: Range) -> String {
        format!("{}, or `{UNLIMITED}`", T::describe(range))
    }

    fn magnitude(&self) -> Option<u64> {
        match self {
            Self::At(value) => value.magnitude(),
            Self::Unlimited => None,
        }
    }
}

impl<T: Value> Value for Auto<T> {
    const PLACEHOLDER: &'static str = T::PLACEHOLDER;
    const SHAPE: Shape = T::SHAPE;
    const KNOWS_UNLIMITED: bool = T::KNOWS_UNLIMITED;

    fn read(given: &Given) -> Result<Self, Mismatch> {
        match given.text() {
            Some(AUTO) => Ok(Self::Auto),
            _ => T::read(given).map(Self::Set),
        }
    }

    fn to_toml(&self) -> String {
        match self {
            Self::Auto => format!("\"{AUTO}\""),
            Self::Set(value) => value.to_toml(),
        }
    }

    fn describe(range: Range) -> String {
        format!("{}, or `{AUTO}`", T::describe(range))
    }

    fn magnitude(&self) -> Option<u64> {
        match self {
            Self::Auto => None,
            Self::Set(value) => value.magnitude(),
        }
    }
}

impl<T: Value> Value for Optional<T> {
    const PLACEHOLDER: &'static str = T::PLACEHOLDER;
    const SHAPE: Shape = T::SHAPE;

    fn read(given: &Given) -> Result<Self, Mismatch> {
        match given.text() {
            Some(NONE) => Ok(Self::None),
            _ => T::read(given).map(Self::Set),
        }
    }

    fn to_toml(&self) -> String {
        match self {
            Self::None => format!("\"{NONE}\""),
            Self::Set(value) => value.to_toml(),
        }
    }

    fn describe(range: Range) -> String {
        format!("{}, or `{NONE}`", T::describe(range))
    }

    fn magnitude(&self) -> Option<u64> {
        self.get().and_then(T::magnitude)
    }
}

const NONE: &str = "none";
const UNLIMITED: &str = "unlimited";
const AUTO: &str = "auto";

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: Range = Range { min: 1, max: 10 };

    fn read<T: Value>(text: &str) -> Result<T, String> {
        T::read_in(&Given::Words(text.to_owned()), SOME).map_err(|m| m.advice.unwrap_or_default())
    }

    #[test]
    fn the_words_are_values_outside_every_range() {
        assert_eq!(read("unlimited"), Ok(Limit::<u32>::Unlimited));
        assert_eq!(read("auto"), Ok(Auto::<Limit<u32>>::Auto));
        assert_eq!(read("unlimited"), Ok(Auto::Set(Limit::<u32>::Unlimited)));
        assert_eq!(read("10"), Ok(Auto::Set(Limit::At(10_u32))));
        assert_eq!(read::<Auto<Limit<u32>>>("11"), Err(String::new()));
        assert_eq!(read("none"), Ok(Optional::<u32>::None));
        assert_eq!(read("10"), Ok(Optional::Set(10_u32)));
        assert!(read::<Limit<u32>>("auto").is_err());
        assert!(read::<Auto<u32>>("unlimited").is_err());
        assert!(read::<Limit<u32>>("Unlimited").is_err());
    }

    #[test]
    fn zero_is_told_to_write_unlimited_where_that_exists() {
        let write = "0 does not mean without limit: write \"unlimited\" for that";
        assert_eq!(read::<Limit<u32>>("0"), Err(write.into()));
        assert_eq!(read::<Auto<Limit<u32>>>("0"), Err(write.into()));
        assert!(read::<u32>("0").unwrap_err().ends_with("has to have one"));
    }

    #[test]
    fn the_reader_of_a_value_gets_a_number() {
        assert_eq!(Limit::At(3).or(9), 3);
        assert_eq!(Limit::Unlimited.or(9), 9);
        assert_eq!(Auto::Set(3).or_else(|| 9), 3);
        assert_eq!(Auto::Auto.or_else(|| 9), 9);
    }
}
