//! Permissions of a file as an option.

use super::value::{Given, Mismatch, Range, Value};

/// Permissions as `chmod` takes them, from `000` to `777`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(pub u32);

impl Value for FileMode {
    const PLACEHOLDER: &'static str = "MODE";

    fn read(given: &Given) -> Result<Self, Mismatch> {
        if matches!(given, Given::Integer(_)) {
            // 660 would be read as a decimal number.
            return Err(Mismatch::advice("write it in quotes"));
        }
        let digits = given.text().ok_or_else(Mismatch::default)?;
        let is_octal = digits.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
        let mode = if is_octal { u32::from_str_radix(digits, 8).ok() } else { None };
        mode.filter(|mode| *mode <= 0o777).map(Self).ok_or_else(Mismatch::default)
    }

    fn to_toml(&self) -> String {
        format!("\"{:03o}\"", self.0)
    }

    fn describe(_: Range) -> String {
        "permissions in octal (such as `660`)".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_octal_digits() {
        let read = |text: &str| FileMode::read(&Given::Words(text.into())).ok();
        assert_eq!(read("660"), Some(FileMode(0o660)));
        assert_eq!(read("0777"), Some(FileMode(0o777)));
        assert_eq!(read("7"), Some(FileMode(0o007)));
        for wrong in ["", "8", "1777", "u+w", "-1", "0o660", "+660"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        let advice = FileMode::read(&Given::Integer("660".into())).unwrap_err().advice;
        assert_eq!(advice.as_deref(), Some("write it in quotes"));
    }
}
