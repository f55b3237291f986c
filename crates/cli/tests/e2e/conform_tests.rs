//! `noctule conform`: our broker passes everything, what is printed, and the exit codes.

use serde_json::Value;

use crate::broker::{Broker, noctule};
use crate::login::guarded;
use crate::mosquitto_broker::free_port;
use crate::program::{Finished, Program};

fn conform(arguments: &[&str]) -> Finished {
    Program::start(noctule().arg("conform").args(arguments)).finish()
}

fn findings(broker: &Broker, arguments: &[&str]) -> Value {
    let port = broker.port();
    // A machine that is busy is no fault of the broker's.
    let fixed = ["127.0.0.1", "-p", &port, "--json", "--timeout", "20s"];
    let finished = conform(&[&fixed, arguments].concat());
    serde_json::from_str(&finished.lines.join("\n")).expect("JSON")
}

/// Names and reasons of the checks with this outcome.
fn with_outcome<'v>(findings: &'v Value, outcome: &str) -> Vec<&'v Value> {
    let checks = findings["checks"].as_array().expect("a list");
    checks.iter().filter(|check| check["outcome"] == outcome).collect()
}

fn passes(broker: &Broker, version: &str) {
    let findings = findings(broker, &["--version", version, "--jobs", "16"]);
    let failed = with_outcome(&findings, "failed");
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(with_outcome(&findings, "passed").len() > 200, "{findings:#}");
    // What is not applicable to ours is what it has and the check is about not having.
    let names: Vec<_> = with_outcome(&findings, "not applicable")
        .iter()
        .filter_map(|check| check["name"].as_str())
        .collect();
    let known = ["connect_fields/will_over_the_maximum_qos", "connect_fields/will_to_be_retained"];
    assert!(names.iter().all(|name| known.contains(name)), "{names:?}");
}

#[test]
fn our_broker_passes_every_check_of_3_1_1() {
    passes(&Broker::ours(&["--hello", "never"]), "3.1.1");
}

#[test]
fn our_broker_passes_every_check_of_5() {
    passes(&Broker::ours(&["--hello", "never"]), "5");
}

#[test]
fn text_lists_what_failed_and_sums_up() {
    let broker = Broker::ours(&["--hello", "never"]);
    let port = broker.port();
    let finished = conform(&["127.0.0.1", "-p", &port, "--only", "unsubscribe", "--all"]).well();
    let passed = |version| {
        let end = format!("({version})");
        finished
            .lines
            .iter()
            .filter(|line| line.starts_with("pass ") && line.contains(&end))
            .count()
    };
    assert_eq!((passed("3.1.1"), passed("5.0")), (9, 9), "{finished:?}");
    assert!(finished.lines.contains(&"MQTT 5.0: 9 passed, 0 failed, 0 not applicable".into()));
}

/// The greeting that clients wait for whom we know is no message of a subscription.
#[test]
fn a_greeting_is_found_and_shown_with_its_bytes() {
    let broker = Broker::ours(&["--hello", "always"]);
    let port = broker.port();
    let only = ["--only", "connect/unasked_messages", "--version", "3.1.1"];
    let finished = conform(&[&["127.0.0.1", "-p", &port], &only[..]].concat());
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    let text = finished.lines.join("\n");
    for words in [
        "FAIL connect/unasked_messages (3.1.1) MQTT3-3.3.2-3",
        "expected  nothing",
        "came hex  30 ",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(finished.complaints.contains("connect/unasked_messages"), "{finished:?}");
}

#[test]
fn what_the_broker_does_not_have_is_not_applicable() {
    let broker = Broker::ours(&[
        "--hello",
        "never",
        "--qos-max",
        "1",
        "--no-retain",
        "--shared-subscriptions",
        "no",
    ]);
    let only = ["--version", "5", "--only", "shared", "--only", "retained", "--only", "flow"];
    let found = findings(&broker, &only);
    assert_eq!(with_outcome(&found, "failed"), Vec::<&Value>::new());
    let reasons = with_outcome(&found, "not applicable");
    assert!(
        reasons
            .iter()
            .any(|check| check["reason"].as_str().is_some_and(|why| why.contains("shared")))
    );
    // And refusing what it does not have is checked.
    let found = findings(&broker, &["--version", "5", "--only", "connect_fields"]);
    assert!(found["passed"] == true, "{found:#}");
    assert!(with_outcome(&found, "not applicable").is_empty(), "{found:#}");
}

#[test]
fn a_password_opens_the_door_and_without_one_it_cannot_be_tested() {
    let broker = guarded(&["--hello", "never"]);
    let port = broker.port();
    let only = ["127.0.0.1", "-p", &port, "--only", "keep_alive/pingreq"];
    conform(&[&only[..], &["-u", "anna", "-P", "secret"]].concat()).well();
    let refused = conform(&only);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert!(refused.complaints.contains("are user name and password right?"), "{refused:?}");
}

#[test]
fn nobody_there_and_nothing_meant_have_codes_of_their_own() {
    let port = free_port().to_string();
    let nobody = conform(&["127.0.0.1", "-p", &port]);
    assert_eq!(nobody.status.code(), Some(3), "{nobody:?}");
    assert!(nobody.complaints.contains("cannot connect"), "{nobody:?}");
    let nothing = conform(&["127.0.0.1", "--only", "9.9"]);
    assert_eq!(nothing.status.code(), Some(2), "{nothing:?}");
    let list = conform(&["--list", "--only", "MQTT5-3.1.2-22"]).well();
    assert!(list.lines.iter().any(|line| line.starts_with("keep_alive/silence (5.0)")), "{list:?}");
}

#[test]
fn over_web_socket_our_broker_passes_as_well() {
    let broker = Broker::ours(&["--hello", "never", "--ws-port", "0", "--wss-port", "0"]);
    let run = |port: &str, flags: &[&str]| {
        let fixed = ["127.0.0.1", "--ws", "-p", port, "--json", "--timeout", "20s"];
        conform(&[&fixed, flags].concat())
    };
    let finished = run(&broker.ws_port(), &["--jobs", "16"]);
    let findings: Value = serde_json::from_str(&finished.lines.join("\n")).expect("JSON");
    let failed = with_outcome(&findings, "failed");
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(with_outcome(&findings, "passed").len() > 500, "{findings:#}");
    let encrypted = run(&broker.wss_port(), &["--insecure", "--only", "connect"]).well();
    assert!(encrypted.lines.iter().any(|line| line.contains("wss://127.0.0.1")), "{encrypted:?}");
    let wrong = run(&broker.port(), &[]);
    assert_eq!(wrong.status.code(), Some(3), "WebSocket to a plain port: {wrong:?}");
}

#[test]
fn over_tls_our_broker_passes_as_well() {
    let broker = Broker::ours(&["--hello", "never"]);
    let (port, ca) = (broker.tls_port(), broker.path("noctule-data/tls/ca.pem"));
    let ca = ca.to_str().expect("a path of ours");
    let over_tls = |flags: &[&str]| {
        let fixed = ["localhost", "-p", &port, "--json", "--timeout", "20s", "--jobs", "16"];
        conform(&[&fixed, flags].concat())
    };
    let finished = over_tls(&["--cafile", ca]);
    let findings: Value = serde_json::from_str(&finished.lines.join("\n")).expect("JSON");
    let failed = with_outcome(&findings, "failed");
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(with_outcome(&findings, "passed").len() > 500, "{findings:#}");

    let insecure = over_tls(&["--insecure", "--only", "connect"]);
    assert_eq!(insecure.status.code(), Some(0), "{insecure:?}");
    let strange = over_tls(&["--tls"]);
    assert!(matches!(strange.status.code(), Some(2 | 3)), "{strange:?}");
    let missing = over_tls(&["--cafile", "no-such-file"]);
    assert_eq!(missing.status.code(), Some(2), "{missing:?}");
    assert!(missing.complaints.contains("no-such-file"), "{}", missing.complaints);
    let plain = broker.port();
    let wrong = conform(&["127.0.0.1", "-p", &plain, "--insecure"]);
    assert_eq!(wrong.status.code(), Some(3), "TLS to a plain port: {wrong:?}");
}
