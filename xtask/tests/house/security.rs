//! The table of `docs/security.md`: what it says is enforced and tested is there.

use std::fs;

use crate::root;

/// How many classes of mistakes there are.
const CLASSES: usize = 25;

#[test]
fn what_the_page_about_security_names_exists() {
    let page = fs::read_to_string(root().join("docs/security.md")).expect("the page");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| |"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let numbers: Vec<_> = rows.iter().map(|row| row[0].to_owned()).collect();
    let expected: Vec<_> = (1..=CLASSES).map(|number| number.to_string()).collect();
    assert_eq!(numbers, expected, "each class has its row");
    let mut wrong = Vec::new();
    for row in rows {
        let [number, .., places, tests] = row[..] else { panic!("{row:?} lacks a column") };
        let (places, tests) = (quoted(places), quoted(tests));
        if places.is_empty() || tests.is_empty() {
            wrong.push(format!("{number}: nothing enforces or proves it"));
        }
        for place in places {
            if !root().join("crates").join(place).is_file() {
                wrong.push(format!("{number}: there is no {place}"));
            }
        }
        wrong.extend(
            tests.iter().filter_map(|test| complaint(test)).map(|it| format!("{number}: {it}")),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_test_that_is_not_there_or_is_none_is_noticed() {
    let here = "../xtask/tests/house/security.rs";
    assert_eq!(complaint(&format!("{here}::what_the_page_about_security_names_exists")), None);
    assert!(complaint(&format!("{here}::nothing_of_that_name")).is_some());
    assert!(complaint(&format!("{here}::complaint")).is_some_and(|it| it.contains("is no test")));
    assert!(complaint("nowhere.rs::x").is_some());
    assert!(complaint("nowhere.rs").is_some());
}

/// What is wrong with `path::name`, if it is no test.
fn complaint(test: &str) -> Option<String> {
    let Some((path, name)) = test.split_once("::") else {
        return Some(format!("{test} is no path::name"));
    };
    let Ok(text) = fs::read_to_string(root().join("crates").join(path)) else {
        return Some(format!("there is no {path}"));
    };
    let lines: Vec<&str> = text.lines().collect();
    let is_it = |line: &&str| line.trim_start().starts_with(&format!("fn {name}("));
    let Some(at) = lines.iter().position(is_it) else {
        return Some(format!("{path} has no {name}"));
    };
    let mut above = lines[..at].iter().rev().take_while(|line| !line.trim().is_empty());
    let is_test = above.any(|line| line.contains("#[test]"));
    (!is_test).then(|| format!("{name} in {path} is no test"))
}

fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}
