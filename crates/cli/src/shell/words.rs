//! A line as words: blanks separate, quotes and backslashes keep them.

/// Splits a line.
///
/// # Errors
/// A quote without its end.
pub(crate) fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), letter) if open == letter => quote = None,
            (Some('"') | None, '\\') => {
                word.get_or_insert_default().push(letters.next().unwrap_or('\\'));
            }
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, letter) if letter.is_whitespace() => words.extend(word.take()),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    if let Some(open) = quote {
        return Err(format!("the quote {open} has no end"));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_keep_blanks() {
        let words = split(r#"pub  a/b '{"x": 1}' "two words" a\ b ''"#).unwrap();
        assert_eq!(words, ["pub", "a/b", r#"{"x": 1}"#, "two words", "a b", ""]);
        assert_eq!(split(r#""a\"b" 'a\b'"#).unwrap(), ["a\"b", "a\\b"]);
        assert!(split("  ").unwrap().is_empty());
        assert!(split("pub 'x").unwrap_err().contains('\''));
    }
}
