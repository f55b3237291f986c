//! The command line before it is read: saved options are put in, and what one `-D` takes is joined.
//!
//! Saved options are a file with one option per line, such as `-h broker.example`: the one that
//! `-o FILE` names, else `noctule/COMMAND` below the user's configuration directory, else what
//! mosquitto's own command has saved there (`mosquitto_pub`, `mosquitto_sub`, `mosquitto_rr`). The
//! line itself comes after it and is stronger.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::CLIENT_COMMANDS;
use super::property::{SEPARATOR, value_count};

/// The line with saved options, ready to be read. Lines of other commands are left alone.
///
/// # Errors
/// A file that was named cannot be read.
pub(crate) fn prepared(line: Vec<OsString>) -> Result<Vec<OsString>, String> {
    let command = line.get(1).and_then(|word| word.to_str());
    let known = CLIENT_COMMANDS.iter().find(|(name, _)| Some(*name) == command);
    let Some((name, mosquittos)) = known else { return Ok(line) };
    let mut rest = line;
    let own = rest.split_off(2);
    let (own, named) = take_options_file(own);
    let saved = match named {
        Some(path) => read(Path::new(&path))?,
        None => configuration(name, *mosquittos, std::env::var_os("XDG_CONFIG_HOME"), home())?,
    };
    rest.extend(joined(saved.into_iter().map(OsString::from).chain(own)));
    Ok(rest)
}

fn home() -> Option<OsString> {
    std::env::var_os("HOME")
}

/// The saved options of the user, if there are any.
fn configuration(
    name: &str,
    mosquittos: Option<&str>,
    directory: Option<OsString>,
    home: Option<OsString>,
) -> Result<Vec<String>, String> {
    let below_home = || home.map(|home| PathBuf::from(home).join(".config"));
    let Some(directory) = directory.map(PathBuf::from).or_else(below_home) else {
        return Ok(Vec::new());
    };
    let own = directory.join("noctule").join(name);
    let mut files = [Some(own), mosquittos.map(|name| directory.join(name))].into_iter().flatten();
    match files.find(|file| file.is_file()) {
        Some(file) => read(&file),
        None => Ok(Vec::new()),
    }
}

/// One option per line, its value behind the first blank; `#` begins a comment.
fn read(path: &Path) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read the options in {}: {error}", path.display()))?;
    let mut words = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once([' ', '\t']) {
            // The parts of a property are words of their own.
            Some((flag @ ("-D" | "--property"), value)) => {
                words.push(flag.to_owned());
                words.extend(value.split_whitespace().map(str::to_owned));
            }
            Some((flag, value)) => words.extend([flag.to_owned(), value.trim_start().to_owned()]),
            None => words.push(line.to_owned()),
        }
    }
    Ok(words)
}

/// Takes `-o FILE` out.
fn take_options_file(line: Vec<OsString>) -> (Vec<OsString>, Option<OsString>) {
    let mut kept = Vec::new();
    let mut file = None;
    let mut words = line.into_iter();
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("-o" | "--options-file") => file = words.next(),
            _ => kept.push(word),
        }
    }
    (kept, file)
}

/// Joins `-D PACKET PROPERTY VALUE` into two words.
pub(crate) fn joined(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut out = Vec::new();
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        let is_property = matches!(word.to_str(), Some("-D" | "--property"));
        out.push(word);
        if !is_property {
            continue;
        }
        let mut parts: Vec<_> = words.by_ref().take(2).collect();
        let property = parts.get(1).and_then(|name| name.to_str()).unwrap_or_default();
        parts.extend(words.by_ref().take(value_count(property)));
        let texts: Vec<_> = parts.iter().map(|part| part.to_string_lossy()).collect();
        out.push(texts.join(&SEPARATOR.to_string()).into());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn what_a_property_takes_is_one_word() {
        let line = words("-D publish user-property a -b -t x -D connect receive-maximum 5");
        let joined = joined(line.into_iter());
        assert_eq!(joined[1], "publish\u{1f}user-property\u{1f}a\u{1f}-b");
        assert_eq!(joined[2..4], ["-t", "x"]);
        assert_eq!(joined[5], "connect\u{1f}receive-maximum\u{1f}5");
        assert_eq!(super::joined(words("-D publish").into_iter())[1], "publish");
    }

    #[test]
    fn lines_of_other_commands_are_left_alone() {
        let line = words("noctule broker -o file -D");
        assert_eq!(prepared(line.clone()).unwrap(), line);
    }

    #[test]
    fn saved_options_come_before_those_of_the_line() {
        let directory = std::env::temp_dir().join(format!("noctule-saved-{}", std::process::id()));
        std::fs::create_dir_all(directory.join("noctule")).unwrap();
        let file = directory.join("options");
        std::fs::write(&file, "# mine\n-h  broker.test\n\n-D connect user-property a b\n-c\n")
            .unwrap();
        let line = format!("noctule sub -t x -o {}", file.display());
        let prepared = prepared(words(&line)).unwrap();
        let property = "connect\u{1f}user-property\u{1f}a\u{1f}b";
        assert_eq!(prepared[2..], ["-h", "broker.test", "-D", property, "-c", "-t", "x"]);

        let find = || {
            let directory = Some(directory.clone().into_os_string());
            configuration("sub", Some("mosquitto_sub"), directory, None).unwrap()
        };
        assert!(find().is_empty());
        std::fs::write(directory.join("mosquitto_sub"), "-p 1").unwrap();
        assert_eq!(find(), ["-p", "1"]);
        std::fs::write(directory.join("noctule/sub"), "-p 2").unwrap();
        assert_eq!(find(), ["-p", "2"], "our own come first");
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(super::prepared(words(&line)).unwrap_err().contains("cannot read the options"));
    }
}
