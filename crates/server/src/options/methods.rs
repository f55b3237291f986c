//! Ways to find out who a client is, as an option: which of them, in which order.
//!
//! What a way needs besides must not be known here. Invariant: none is there twice, and there is at
//! least one, or `auto`.

use super::value::{Given, Mismatch, Range, Shape, Value};

/// A way to find out who a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// By the certificate that it shows.
    Certificate,
    /// By a token.
    Jwt,
    /// By the password file.
    PasswordFile,
    /// By asking somebody over HTTP.
    Http,
    /// Not at all.
    Anonymous,
}

/// Which ways there are, in the order in which they are asked; none is `auto`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct AuthMethods(Vec<AuthMethod>);

/// In the order in which `auto` asks them.
const WORDS: [(&str, AuthMethod); 5] = [
    ("certificate", AuthMethod::Certificate),
    ("jwt", AuthMethod::Jwt),
    ("password-file", AuthMethod::PasswordFile),
    ("http", AuthMethod::Http),
    ("anonymous", AuthMethod::Anonymous),
];

const AUTO: &str = "auto";

impl AuthMethod {
    /// All, in the order in which they are asked unless a listener has its own.
    pub(crate) const ALL: [Self; 5] =
        [Self::Certificate, Self::Jwt, Self::PasswordFile, Self::Http, Self::Anonymous];

    /// As it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        WORDS.iter().find(|(_, method)| *method == self).map_or(AUTO, |(word, _)| word)
    }
}

impl AuthMethods {
    /// Those that are written, if they are; otherwise what else is configured says which they are.
    #[must_use]
    pub fn written(&self) -> Option<&[AuthMethod]> {
        (!self.0.is_empty()).then_some(&self.0)
    }

    /// Whether one is written.
    #[must_use]
    pub fn names(&self, method: AuthMethod) -> bool {
        self.0.contains(&method)
    }
}

impl Value for AuthMethods {
    const PLACEHOLDER: &'static str = "METHOD";
    const SHAPE: Shape = Shape::List;

    fn read(given: &Given) -> Result<Self, Mismatch> {
        let words: Vec<&str> = match given {
            Given::List(items) => items.iter().map(String::as_str).collect(),
            _ => given.text().ok_or_else(Mismatch::default)?.split(',').collect(),
        };
        let words: Vec<&str> = words.into_iter().map(str::trim).collect();
        if words == [AUTO] {
            return Ok(Self::default());
        }
        let mut methods = Vec::new();
        for word in words {
            let known = WORDS.iter().find(|(known, _)| *known == word);
            let (_, method) = known.ok_or_else(Mismatch::default)?;
            if methods.contains(method) {
                return Err(Mismatch::advice(format!("`{word}` is there twice")));
            }
            methods.push(*method);
        }
        let none = || Mismatch::advice("without a method nobody could connect");
        if methods.is_empty() { Err(none()) } else { Ok(Self(methods)) }
    }

    fn to_toml(&self) -> String {
        let Some(methods) = self.written() else {
            return format!("\"{AUTO}\"");
        };
        let words: Vec<_> = methods.iter().map(|it| format!("\"{}\"", it.word())).collect();
        format!("[{}]", words.join(", "))
    }

    fn describe(_: Range) -> String {
        "`auto`, or one or more of `certificate`, `jwt`, `password-file`, `http` and `anonymous`"
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<AuthMethod>, Option<String>> {
        let read = AuthMethods::read(&Given::Words(text.to_owned()));
        read.map(|methods| methods.0).map_err(|mismatch| mismatch.advice)
    }

    #[test]
    fn the_order_is_kept_and_nothing_comes_twice() {
        use AuthMethod::{Anonymous, Http, PasswordFile};
        assert_eq!(read("http, password-file,anonymous"), Ok(vec![Http, PasswordFile, Anonymous]));
        assert_eq!(read("auto"), Ok(Vec::new()));
        assert_eq!(read("jwt,jwt"), Err(Some("`jwt` is there twice".into())));
        assert_eq!(read("passwords"), Err(None));
        assert!(read("auto,jwt").is_err());
        let none = AuthMethods::read(&Given::List(Vec::new())).unwrap_err().advice.unwrap();
        assert!(none.contains("nobody could connect"));
    }

    #[test]
    fn every_method_has_a_word_and_a_place_in_the_usual_order() {
        let in_order: Vec<_> = WORDS.iter().map(|(_, method)| *method).collect();
        assert_eq!(in_order, AuthMethod::ALL);
        for method in AuthMethod::ALL {
            assert_eq!(read(method.word()), Ok(vec![method]));
        }
    }
}
