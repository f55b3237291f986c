//! Origins of web pages as an option: which pages may connect.
//!
//! How a request is compared with them must not be known here.

use super::value::{Given, Mismatch, Range, Shape, Value, quoted};

/// Origins as browsers write them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// All.
    Any,
    /// These.
    Listed(Vec<String>),
}

const ANY: &str = "any";
/// What browsers say for pages that come from nowhere in particular, such as files.
const NULL: &str = "null";

impl Value for Origins {
    const PLACEHOLDER: &'static str = "ORIGIN";
    const SHAPE: Shape = Shape::List;

    fn read(given: &Given) -> Result<Self, Mismatch> {
        let origins: Result<Vec<_>, _> = match given {
            Given::List(items) => items.iter().map(|item| origin(item)).collect(),
            _ => match given.text().ok_or_else(Mismatch::default)? {
                ANY => return Ok(Self::Any),
                text => text.split(',').map(origin).collect(),
            },
        };
        let origins = origins?;
        if origins.is_empty() {
            return Err(Mismatch::advice("without an origin no page could connect"));
        }
        Ok(Self::Listed(origins))
    }

    fn to_toml(&self) -> String {
        match self {
            Self::Any => format!("\"{ANY}\""),
            Self::Listed(origins) => {
                let items: Vec<_> = origins.iter().map(|origin| quoted(origin)).collect();
                format!("[{}]", items.join(", "))
            }
        }
    }

    fn describe(_: Range) -> String {
        format!("origins (such as https://example.org), or `{ANY}`")
    }
}

/// One origin: what the header says, which has a scheme and no path, or is `null` for pages without one.
fn origin(text: &str) -> Result<String, Mismatch> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Mismatch::default());
    }
    match text.split_once("://") {
        Some((scheme, rest)) => match rest.split_once('/') {
            Some((host, _)) => {
                let advice = format!("an origin has no path: write {scheme}://{host}");
                Err(Mismatch::advice(advice))
            }
            None if scheme.is_empty() || rest.is_empty() => Err(Mismatch::default()),
            None => Ok(text.to_owned()),
        },
        None if text == NULL => Ok(text.to_owned()),
        None if matches!(text, ANY | "auto") => {
            Err(Mismatch::advice(format!("`{text}` stands alone")))
        }
        None => Err(Mismatch::advice(format!("an origin has a scheme: write https://{text}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::limit::Auto;
    use super::*;

    fn read(text: &str) -> Result<Auto<Origins>, Option<String>> {
        Value::read(&Given::Words(text.to_owned())).map_err(|mismatch: Mismatch| mismatch.advice)
    }

    #[test]
    fn origins_are_listed_or_a_word() {
        assert_eq!(read("auto"), Ok(Auto::Auto));
        assert_eq!(read("any"), Ok(Auto::Set(Origins::Any)));
        let listed = |origins: &[&str]| {
            Ok(Auto::Set(Origins::Listed(origins.iter().map(|one| (*one).to_owned()).collect())))
        };
        assert_eq!(read("https://example.org"), listed(&["https://example.org"]));
        assert_eq!(
            read("https://a.example:8443, http://[::1]:80,null"),
            listed(&["https://a.example:8443", "http://[::1]:80", "null"])
        );
    }

    #[test]
    fn what_is_no_origin_is_told_why() {
        let advice = |text| read(text).unwrap_err();
        let write = "an origin has no path: write https://example.org".to_owned();
        assert_eq!(advice("https://example.org/"), Some(write.clone()));
        assert_eq!(advice("https://example.org/page"), Some(write));
        assert_eq!(advice("https://a,any"), Some("`any` stands alone".to_owned()));
        assert_eq!(advice(""), None);
        assert_eq!(advice("a b"), None);
        assert_eq!(advice("https://"), None);
        let scheme = "an origin has a scheme: write https://example.org".to_owned();
        assert_eq!(advice("example.org"), Some(scheme));
        assert!(<Origins as Value>::read(&Given::List(vec![])).is_err());
    }
}
