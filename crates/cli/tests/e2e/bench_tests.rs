//! `noctule bench` as a user types it, against our broker, mosquitto, and a proxy that meddles.

use std::time::Duration;

use noctule_load::target::Target;
use noctule_load::trial::{self, Handshakes};
use rustix::process::Signal;
use serde_json::Value;

use crate::broker::{Broker, noctule};
use crate::foreign;
use crate::meddler::{Habit, Meddler};
use crate::mosquitto_broker::{Mosquitto, free_port};
use crate::program::{Finished, Program};
use crate::room::Room;

fn start(port: &str, flags: &[&str]) -> Program {
    Program::start(noctule().args(["bench", "-h", "127.0.0.1", "-p", port]).args(flags))
}

fn run(port: &str, flags: &[&str]) -> Finished {
    start(port, flags).finish()
}

/// What `--json` prints of a run that found nothing wrong.
fn found(port: &str, flags: &[&str]) -> Value {
    json(&run(port, &[flags, &["--json"]].concat()).well())
}

fn json(finished: &Finished) -> Value {
    let text = finished.lines.join("\n");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn code(finished: &Finished) -> i32 {
    finished.status.code().expect("an exit code")
}

/// A hundred messages, or connections.
const SOME: [&str; 4] = ["--rate", "400", "--duration", "250ms"];

fn each_scenario_is_clean(port: &str, version: &str) {
    for qos in ["0", "1", "2"] {
        for (scenario, deliveries) in [("pair", 100), ("fanout", 300), ("fanin", 100)] {
            let flags = [scenario, "-n", "3", "-q", qos, "-V", version, "-s", "100"];
            let found = found(port, &[&flags[..], &SOME].concat());
            assert_eq!(found["sent"], 100, "{flags:?}: {found}");
            assert_eq!(found["delivered"], deliveries, "{flags:?}: {found}");
            assert_eq!(found["latency_ms"]["count"], deliveries, "{flags:?}: {found}");
            assert_eq!(found["whole"], true, "{flags:?}: {found}");
        }
    }
    let flags = ["connect", "-n", "3", "-V", version];
    let found = found(port, &[&flags[..], &SOME].concat());
    // Three clients connect one after another: what a slow machine leaves no time for is said.
    let count = |name: &str| found[name].as_u64().expect("a number");
    assert_eq!(count("delivered") + count("left_out"), 100, "{found}");
    assert_eq!((count("sent"), count("failed")), (count("delivered"), 0), "{found}");
    assert!(count("delivered") > 0, "{found}");
}

#[test]
fn each_scenario_is_clean_with_our_broker() {
    let broker = Broker::ours(&[]);
    each_scenario_is_clean(&broker.port(), "mqttv5");
}

#[test]
fn each_scenario_is_clean_with_mosquitto() {
    let broker = Mosquitto::start("");
    each_scenario_is_clean(&broker.port().to_string(), "mqttv311");
}

#[test]
fn without_a_rate_as_much_goes_through_as_can() {
    let broker = Broker::ours(&[]);
    for scenario in ["pair", "fanout", "fanin", "connect"] {
        let found = found(&broker.port(), &[scenario, "-n", "4", "--duration", "200ms"]);
        assert!(found["delivered"].as_u64() > Some(0), "{found}");
        assert!(found["figures"]["generator_us"].as_f64() > Some(0.0), "{found}");
    }
}

#[test]
fn a_ramp_brings_half_of_what_a_steady_rate_would() {
    let broker = Broker::ours(&[]);
    let flags = ["pair", "-n", "2", "--rate", "400", "--duration", "500ms", "--ramp", "500ms"];
    let found = found(&broker.port(), &flags);
    assert_eq!((&found["sent"], &found["left_out"]), (&100.into(), &0.into()), "{found}");
    let opened = found["figures"]["connections_per_second"].as_f64().expect("a number");
    // Four connections, the last of which is due after three quarters of the time.
    assert!(opened < 4.0 / 0.375 + 0.1, "{found}");
}

#[test]
fn the_broker_is_weighed_and_stands_beside_the_floor_and_an_earlier_run() {
    let broker = Broker::ours(&[]);
    let pid = broker.program().pid().to_string();
    let flags = ["latency", "-n", "2", "--duration", "300ms", "--pid", &pid, "--floor"];
    let earlier = found(&broker.port(), &flags);
    for figure in ["broker_us", "broker_rss_mib", "latency_p99_ms", "messages_per_second"] {
        assert!(earlier["figures"][figure].as_f64() > Some(0.0), "{figure}: {earlier}");
        assert!(earlier["floor"]["figures"][figure].as_f64() > Some(0.0), "{figure}: {earlier}");
    }
    let room = Room::new();
    let file = room.file("earlier.json", earlier.to_string().as_bytes());
    let file = file.to_str().expect("a path of ours");
    let beside = run(&broker.port(), &[&flags[..], &["--compare", file]].concat()).well();
    let text = beside.lines.join("\n");
    for words in ["this run", "× floor", "× earlier", "broker µs/message", "faults: none"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains("another one"), "{text}");
    let other = run(&broker.port(), &["latency", "--duration", "100ms", "--compare", file]).well();
    assert!(other.lines.iter().any(|line| line.contains("another one: clients 2")));
}

#[test]
fn what_a_broker_does_to_messages_is_found_out() {
    let broker = Broker::ours(&[]);
    let port = broker.port().parse().expect("a port");
    for (habit, fault) in
        [(Habit::Drops, "lost"), (Habit::Doubles, "doubled"), (Habit::Swaps, "reordered")]
    {
        let meddler = Meddler::before(port, habit);
        let finished = run(&meddler.port(), &[&["pair", "-n", "2", "--json"], &SOME[..]].concat());
        assert_eq!(code(&finished), 3, "{habit:?}: {}", finished.complaints);
        let faults = &json(&finished)["faults"];
        // Fifty messages to each of two subscribers.
        assert_eq!((meddler.deeds(), &faults[fault]), (10, &10.into()), "{habit:?}: {faults}");
        let all = faults.as_object().expect("an object").values();
        assert_eq!(all.filter_map(Value::as_u64).sum::<u64>(), 10, "{habit:?}: {faults}");
    }
}

#[test]
fn a_run_whose_broker_ends_in_the_middle_says_what_it_saw() {
    let broker = Broker::ours(&["--in-memory"]);
    let flags = ["pair", "-n", "2", "--rate", "200", "--duration", "100s", "--json"];
    let bench = start(&broker.port(), &flags);
    bench.expect_complaint(&["delivered", "p99"]);
    broker.kill();
    let finished = bench.finish();
    assert_eq!(code(&finished), 3, "{finished:?}");
    let found = json(&finished);
    let why = found["broke_off"].as_str().expect("a reason");
    assert!(why.contains("the connection of noctule-bench-"), "{why}");
    assert!(found["delivered"].as_u64() > Some(0) && found["whole"] == false, "{found}");
    assert!(found["latency_ms"]["count"].as_u64() > Some(0), "{found}");
}

#[test]
fn tls_is_as_with_the_other_commands() {
    let broker = Broker::ours(&["--tls-port", "0"]);
    let ca = broker.path("noctule-data/tls/ca.pem");
    let ca = ca.to_str().expect("a path of ours");
    let run = |flags: &[&str]| {
        let mut command = noctule();
        command.args(["stress", "-h", "localhost", "-p", &broker.tls_port()]).args(flags);
        Program::start(command.args(SOME)).finish()
    };
    for scenario in ["pair", "connect"] {
        let found = json(&run(&[scenario, "--cafile", ca, "-q", "1", "--json"]).well());
        let count = |name: &str| found[name].as_u64().expect("a number");
        // A slow machine may not make all connections in that time.
        assert_eq!(count("delivered") + count("left_out"), 100, "{found}");
        assert!(count("delivered") > 0, "{found}");
        let place = found["place"].as_str().expect("text");
        assert!(place.ends_with("(MQTT 3.1.1 over TLS)"), "{place}");
    }
    let insecure = run(&["pair", "--insecure"]).well();
    assert!(insecure.complaints.contains("--insecure accepts any certificate"));
    let strange = run(&["pair", "--tls"]);
    assert_eq!(code(&strange), 1, "{}", strange.complaints);
    assert!(strange.complaints.contains("certificate"), "{}", strange.complaints);
}

#[test]
fn who_is_not_let_in_or_finds_nobody_is_told_so() {
    let nobody = run(&free_port().to_string(), &["pair"]);
    assert_eq!(code(&nobody), 1);
    assert!(nobody.complaints.contains("cannot connect to 127.0.0.1:"), "{}", nobody.complaints);
    let room = Room::new();
    let users = room.file("users", b"");
    let config = format!("allow_anonymous false\npassword_file {}", users.display());
    let broker = Mosquitto::start(&config);
    for version in ["mqttv311", "mqttv5"] {
        let refused = run(&broker.port().to_string(), &["-V", version, "--wait"]);
        assert_eq!(code(&refused), 1, "{}", refused.complaints);
        assert!(refused.complaints.contains("refused the connection"), "{}", refused.complaints);
    }
    for wrong in [&["flood"][..], &["--size", "7"], &["--rate", "-1"], &["connect", "--ramp", "1"]]
    {
        assert_eq!(code(&run("1", wrong)), 2, "{wrong:?}");
    }
    let missing = run("1", &["--compare", "no-such-file"]);
    assert_eq!(code(&missing), 1);
    assert!(missing.complaints.contains("no-such-file"), "{}", missing.complaints);
}

#[test]
fn it_waits_for_a_broker_that_is_not_there_yet() {
    let port = free_port();
    let waiting = start(&port.to_string(), &[&["pair", "--wait"], &SOME[..]].concat());
    waiting.expect_complaint(&["will keep trying to connect"]);
    let _broker = Broker::on_port(port, &[]);
    let finished = waiting.finish().well();
    assert!(finished.lines.iter().any(|line| line.ends_with("faults: none")));
}

#[test]
fn an_interrupt_ends_it_with_the_figures_so_far() {
    let broker = Broker::ours(&[]);
    for (signal, scenario) in [(Signal::INT, "pair"), (Signal::TERM, "connect")] {
        let flags = [scenario, "--duration", "10m", "--rate", "100", "--floor"];
        let program = start(&broker.port(), &flags);
        program.expect_complaint(&[" s  sent "]);
        program.signal(signal);
        let finished = program.finish().well();
        let text = finished.lines.join("\n");
        assert!(text.contains("ended early, after "), "{text}");
        assert!(text.contains("latency p99 ms"), "{text}");
        let goodbye = "Goodbye!\n";
        assert!(finished.complaints.ends_with(goodbye), "{}", finished.complaints);
        assert!(!text.contains("floor"), "who wants to leave waits for nothing more: {text}");
    }
}

#[test]
fn handshakes_are_measured_beside_those_who_are_connected() {
    let program = env!("CARGO_BIN_EXE_noctule").as_ref();
    let mosquitto = foreign::mosquitto_program();
    for target in [Target::noctule(program), Target::mosquitto(&mosquitto)] {
        let mut broker = target.with_tls(program).expect("it can").start().expect("it starts");
        let trial = Handshakes { rate: 50, duration: Duration::from_millis(200) };
        let found = trial::run(&mut broker, &trial, 1).expect("it can be measured");
        for one in &found {
            assert!(one.good_faults.is_clean(), "{one:?}");
            let fact = |name| one.facts.iter().find(|fact| fact.0 == name).map(|fact| fact.1);
            let Some(made) = fact("connections") else { continue };
            assert_eq!((fact("refused"), fact("failed")), (Some(0.0), Some(0.0)), "{one:?}");
            assert!(made > 0.0, "{one:?}");
            if one.phase.ends_with("50/s") {
                assert_eq!(Some(10.0 - made), fact("left out"), "{one:?}");
            }
            let resumed = fact("resumed") > Some(0.0);
            assert_eq!(resumed, one.phase.starts_with("resumed"), "{one:?}");
        }
        assert_eq!(found.len(), 8);
    }
}
