//! The crate graph: an arrow that is not in [`ARROWS`] is not allowed, and the core crates depend on
//! nothing from outside but what [`CORE_MAY_USE`] names.
//!
//! A new crate gets a row here, with the reason in the commit that adds it.

use std::process::Command;

use serde_json::Value;

use crate::output_of;

struct Arrow {
    from: &'static str,
    to: &'static [&'static str],
}

const ARROWS: &[Arrow] = &[
    Arrow {
        from: "noctule",
        to: &["server", "client", "load", "conformance", "store", "auth", "acl", "cert", "mqtt"],
    },
    Arrow {
        from: "noctule-server",
        to: &["broker", "session", "mqtt", "net", "store", "auth", "acl", "cert", "heap"],
    },
    Arrow { from: "noctule-client", to: &["session", "mqtt", "scram", "ws"] },
    Arrow { from: "noctule-load", to: &["session", "mqtt", "ws"] },
    Arrow { from: "noctule-conformance", to: &["mqtt", "ws"] },
    Arrow { from: "noctule-acl", to: &["mqtt"] },
    Arrow { from: "noctule-auth", to: &["mqtt", "scram"] },
    Arrow { from: "noctule-store", to: &["broker"] },
    Arrow { from: "noctule-broker", to: &["session", "mqtt"] },
    Arrow { from: "noctule-session", to: &["mqtt"] },
    Arrow { from: "noctule-mqtt", to: &[] },
    Arrow { from: "noctule-net", to: &["ws"] },
    Arrow { from: "noctule-cert", to: &[] },
    Arrow { from: "noctule-scram", to: &[] },
    Arrow { from: "noctule-ws", to: &[] },
    Arrow { from: "noctule-heap", to: &[] },
    Arrow { from: "noctule-testkit", to: &["broker", "session", "mqtt"] },
    Arrow { from: "noctule-benches", to: &["broker", "load", "mqtt", "session"] },
    Arrow { from: "xtask", to: &[] },
];

/// For tests alone, and for everybody's.
const TESTKIT: &str = "noctule-testkit";

const CORE: &[&str] = &["noctule-mqtt", "noctule-session", "noctule-broker"];

/// Data structures and arithmetic: nothing here opens, waits or knows the time.
const CORE_MAY_USE: &[&str] = &[
    "bytes",
    "compact_str",
    "foldhash",
    "hashbrown",
    "indexmap",
    "memchr",
    "rand_chacha",
    "slab",
    "smallvec",
    "triomphe",
];

#[test]
fn every_arrow_between_our_crates_is_an_allowed_one() {
    let complaints = complaints(&workspace());
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn the_graph_that_is_read_is_ours() {
    let packages = workspace();
    let names: Vec<_> = packages.iter().map(|package| package.name.as_str()).collect();
    for name in CORE.iter().chain(&["noctule", "noctule-server", "xtask"]) {
        assert!(names.contains(name), "{name} is missing from {names:?}");
    }
    let server = packages.iter().find(|package| package.name == "noctule-server");
    assert!(server.is_some_and(|server| server.needs.iter().any(|need| need.on == "noctule-mqtt")));
}

#[test]
fn a_forbidden_arrow_is_found() {
    assert_eq!(
        complaints(&[package("noctule-mqtt", &[("noctule-session", Kind::Normal)])]),
        ["noctule-mqtt may not depend on noctule-session"]
    );
    assert_eq!(
        complaints(&[package("noctule-net", &[("noctule-mqtt", Kind::Dev)])]),
        ["noctule-net may not depend on noctule-mqtt, not even in its tests"]
    );
    assert_eq!(
        complaints(&[package("noctule-session", &[("noctule-broker", Kind::Build)])]),
        ["noctule-session may not depend on noctule-broker"]
    );
}

#[test]
fn the_testkit_is_for_tests_alone() {
    assert!(complaints(&[package("noctule-mqtt", &[(TESTKIT, Kind::Dev)])]).is_empty());
    assert_eq!(
        complaints(&[package("noctule-server", &[(TESTKIT, Kind::Normal)])]),
        ["noctule-server may not depend on noctule-testkit"]
    );
}

#[test]
fn an_allowed_arrow_is_allowed() {
    let needs = [("noctule-session", Kind::Normal), ("slab", Kind::Normal)];
    assert!(complaints(&[package("noctule-broker", &needs)]).is_empty());
}

#[test]
fn the_core_takes_nothing_from_outside_that_is_not_listed() {
    assert_eq!(
        complaints(&[package("noctule-session", &[("tokio", Kind::Normal)])]),
        ["noctule-session is core and may not use tokio"]
    );
    let in_tests = [("proptest", Kind::Dev)];
    assert!(complaints(&[package("noctule-mqtt", &in_tests)]).is_empty());
    assert!(complaints(&[package("noctule-net", &[("mio", Kind::Normal)])]).is_empty());
}

#[test]
fn a_crate_nobody_drew_is_found() {
    assert_eq!(
        complaints(&[package("noctule-attic", &[])]),
        ["noctule-attic has no row in the table of arrows"]
    );
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Normal,
    Build,
    Dev,
}

struct Need {
    on: String,
    kind: Kind,
}

struct Package {
    name: String,
    needs: Vec<Need>,
}

fn complaints(packages: &[Package]) -> Vec<String> {
    packages.iter().flat_map(complaints_about).collect()
}

fn complaints_about(package: &Package) -> Vec<String> {
    let Some(row) = ARROWS.iter().find(|row| row.from == package.name) else {
        return vec![format!("{} has no row in the table of arrows", package.name)];
    };
    package.needs.iter().filter_map(|need| complaint(row, need)).collect()
}

fn complaint(row: &Arrow, need: &Need) -> Option<String> {
    let (from, on) = (row.from, need.on.as_str());
    if !is_ours(on) {
        let outside = CORE.contains(&from) && need.kind != Kind::Dev && !CORE_MAY_USE.contains(&on);
        return outside.then(|| format!("{from} is core and may not use {on}"));
    }
    let listed = on.strip_prefix("noctule-").is_some_and(|short| row.to.contains(&short));
    let by_tests = need.kind == Kind::Dev;
    if listed || (by_tests && on == TESTKIT) {
        return None;
    }
    let tests_too = if by_tests { ", not even in its tests" } else { "" };
    Some(format!("{from} may not depend on {on}{tests_too}"))
}

fn is_ours(name: &str) -> bool {
    name == "xtask" || name == "noctule" || name.starts_with("noctule-")
}

/// The members of the workspace with what each asks for in its Cargo.toml.
fn workspace() -> Vec<Package> {
    let mut cargo = Command::new(env!("CARGO"));
    let text = output_of(cargo.args(["metadata", "--format-version=1", "--no-deps"]));
    let metadata: Value = serde_json::from_str(&text).expect("cargo metadata is JSON");
    metadata["packages"].as_array().expect("a list of packages").iter().map(read_package).collect()
}

fn read_package(package: &Value) -> Package {
    let needs = package["dependencies"].as_array().expect("a list of dependencies");
    Package { name: text(&package["name"]), needs: needs.iter().map(read_need).collect() }
}

fn read_need(need: &Value) -> Need {
    let kind = match need["kind"].as_str() {
        None => Kind::Normal,
        Some("build") => Kind::Build,
        Some("dev") => Kind::Dev,
        Some(other) => panic!("cargo knows a kind of dependency that we do not: {other}"),
    };
    // The package's own name: a renamed dependency stays visible.
    Need { on: text(&need["name"]), kind }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").into()
}

fn package(name: &str, needs: &[(&str, Kind)]) -> Package {
    let needs = needs.iter().map(|(on, kind)| Need { on: (*on).into(), kind: *kind }).collect();
    Package { name: name.into(), needs }
}
