//! `noctule dashboard` at a terminal: the view, its keys, another size of the window.

use std::process::Command;

use crate::broker::{Broker, noctule};
use crate::mosquitto::publish;
use crate::pty::{CTRL_C, DOWN, ENTER, ESCAPE, Pty};

fn dashboard(broker: &Broker, flags: &[&str]) -> Command {
    let mut command = noctule();
    command.args(["dashboard", "-h", "127.0.0.1", "-p", &broker.port()]).args(flags);
    command
}

/// A dashboard that shows three topics: `a` is the oldest, `b` came most often.
fn open(broker: &Broker) -> Pty {
    for (topic, text) in [("sensors/a", "1"), ("sensors/c", r#"{"temp": 23.5, "ok": true}"#)] {
        publish(broker, "mqttv311", &["-t", topic, "-m", text, "-r", "-q", "1"]);
    }
    let board = Pty::start(&dashboard(broker, &[]), 12, 110);
    board.see("sensors/c · ok");
    for number in ["2", "4", "3"] {
        publish(broker, "mqttv311", &["-t", "sensors/b", "-m", number, "-q", "1"]);
    }
    board.wait("three values", |screen| row(screen, "sensors/b").contains(" 3 "));
    board
}

/// The line of a topic, or nothing.
fn row<'a>(screen: &'a str, topic: &str) -> &'a str {
    screen.lines().find(|line| line.starts_with(topic)).unwrap_or_default()
}

/// The topics in the order of their lines.
fn order(screen: &str) -> Vec<&str> {
    let rows = screen.lines().filter(|line| line.starts_with("sensors/"));
    rows.map(|line| line.split("  ").next().unwrap_or_default()).collect()
}

#[test]
fn values_ages_rates_and_bars_are_shown_and_json_is_unfolded() {
    let broker = Broker::ours(&[]);
    let board = open(&broker);
    let screen = board.see("connected to 127.0.0.1:");
    assert_eq!(order(&screen), ["sensors/a", "sensors/b", "sensors/c · ok", "sensors/c · temp"]);
    let columns: Vec<_> = row(&screen, "sensors/b").split_whitespace().collect();
    assert_eq!(columns[..2], ["sensors/b", "3"], "{screen}");
    assert_eq!(columns[columns.len() - 2..], ["3", "▁█▅"], "{screen}");
    assert!(row(&screen, "sensors/c · temp").contains("23.5"), "{screen}");
    assert!(screen.contains("4 rows, 5 messages  sorted by topic"), "{screen}");
    board.keys("q");
    let (status, screen) = board.finish();
    assert!(status.success(), "{status}");
    // The screen is as it was before, and there is one line of farewell.
    assert_eq!(screen.trim(), "noctule: disconnected cleanly. Goodbye!");
}

#[test]
fn s_sorts_by_age_and_rate() {
    let broker = Broker::ours(&[]);
    let board = open(&broker);
    board.keys("s");
    let screen = board.see("sorted by age");
    assert_eq!(order(&screen)[0], "sensors/b", "{screen}");
    publish(&broker, "mqttv311", &["-t", "sensors/a", "-m", "5", "-q", "1"]);
    board.wait("a first", |screen| order(screen).first() == Some(&"sensors/a"));
    board.keys("s");
    let screen = board.see("sorted by rate");
    assert_eq!(order(&screen)[0], "sensors/b", "{screen}");
    board.keys("s");
    let screen = board.see("sorted by topic");
    assert_eq!(order(&screen)[0], "sensors/a", "{screen}");
}

#[test]
fn a_filter_is_typed_kept_and_cleared() {
    let broker = Broker::ours(&[]);
    let board = open(&broker);
    board.keys("/s/c");
    let screen = board.see("filter: s/c_");
    assert_eq!(order(&screen), ["sensors/c · ok", "sensors/c · temp"]);
    board.keys(&format!(" {ENTER}"));
    board.see("\"s/c \" leaves 2");
    // Keys are orders again.
    board.keys("s");
    board.see("sorted by age");
    board.keys("/");
    board.see("filter: s/c _");
    board.keys(ESCAPE);
    board.wait("all rows", |screen| order(screen).len() == 4);
}

#[test]
fn a_pause_keeps_the_picture_and_loses_nothing() {
    let broker = Broker::ours(&[]);
    let board = open(&broker);
    board.keys("p");
    board.see("PAUSED");
    for number in 10..20 {
        publish(&broker, "mqttv311", &["-t", "sensors/b", "-m", &number.to_string(), "-q", "1"]);
    }
    board.keys("s");
    let screen = board.see("sorted by age");
    assert!(row(&screen, "sensors/b").contains(" 3 ") && screen.contains("5 messages"), "{screen}");
    board.keys("p");
    let screen = board.see("15 messages");
    assert!(row(&screen, "sensors/b").contains(" 19 "), "{screen}");
}

#[test]
fn rows_scroll_and_the_view_follows_the_size_of_the_window() {
    let broker = Broker::ours(&[]);
    let board = open(&broker);
    board.resize(5, 60);
    let screen = board.wait("two rows", |screen| order(screen).len() == 2);
    assert_eq!(order(&screen), ["sensors/a", "sensors/b"]);
    board.keys(DOWN);
    board.wait("the next row", |screen| order(screen) == ["sensors/b", "sensors/c · ok"]);
    board.resize(1, 1);
    board.resize(30, 200);
    board.wait("all rows", |screen| order(screen).len() == 4 && screen.contains("[q]uit"));
}

#[test]
fn a_broker_that_goes_and_comes_back_is_said_and_ctrl_c_leaves() {
    let broker = Broker::ours(&[]);
    let port: u16 = broker.port().parse().expect("a port");
    let board = open(&broker);
    let left = broker.kill();
    board.see("connection lost: ");
    let broker = Broker::again(left, port);
    board.see(&format!("connected to 127.0.0.1:{port}"));
    publish(&broker, "mqttv311", &["-t", "sensors/new", "-m", "back", "-r", "-q", "1"]);
    board.see("sensors/new");
    board.keys(CTRL_C);
    assert!(board.finish().0.success());
}

#[test]
fn a_subscription_that_is_refused_is_said() {
    let broker = Broker::ours(&["--no-wildcard-subscriptions"]);
    for version in ["5", "311"] {
        let board = Pty::start(&dashboard(&broker, &["-V", version, "-t", "a/+"]), 12, 110);
        board.see("\"a/+\": ");
        board.keys("q");
        assert!(board.finish().0.success());
    }
}

#[test]
fn a_broker_that_is_not_there_is_said() {
    let port = crate::mosquitto_broker::free_port().to_string();
    let mut command = noctule();
    command.args(["dashboard", "-h", "127.0.0.1", "-p", &port]);
    let board = Pty::start(&command, 12, 110);
    board.see("will keep trying to connect");
    board.keys("q");
    assert!(board.finish().0.success());
}
