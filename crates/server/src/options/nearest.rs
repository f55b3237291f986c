//! The known name that is nearest to an unknown one.
//!
//! Only names are compared here; how the answer is worded is the caller's matter.

/// The candidate most like `name`, which is compared without regard to case and kind of dash.
///
/// Of several that are equally near it is the first. `None` if there is no candidate.
pub(crate) fn nearest<T>(name: &str, candidates: impl Iterator<Item = (String, T)>) -> Option<T> {
    let name = normalized(name);
    let mut best = None;
    for (known, candidate) in candidates {
        let likeness = strsim::normalized_damerau_levenshtein(&name, &normalized(&known));
        if best.as_ref().is_none_or(|(most, _)| likeness > *most) {
            best = Some((likeness, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Comparing takes time with the square of the length, and the name is somebody else's.
const CHARACTERS_MAX: usize = 80;

fn normalized(name: &str) -> String {
    name.chars().take(CHARACTERS_MAX).map(normal).collect()
}

fn normal(c: char) -> char {
    if matches!(c, '-' | '.') { '_' } else { c.to_ascii_lowercase() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn among(name: &str, known: &[&'static str]) -> Option<&'static str> {
        nearest(name, known.iter().map(|known| ((*known).to_owned(), *known)))
    }

    #[test]
    fn the_nearest_name_wins_and_the_first_of_equals() {
        assert_eq!(among("prot", &["tls_port", "port", "bind"]), Some("port"));
        assert_eq!(among("TLS-Port", &["port", "tls_port"]), Some("tls_port"));
        assert_eq!(among("xx", &["ab", "cd"]), Some("ab"));
        assert_eq!(among("x", &[]), None);
        assert_eq!(among(&"x".repeat(1_000_000), &["a"]), Some("a"));
    }
}
