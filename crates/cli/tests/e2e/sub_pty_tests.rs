//! `noctule sub` at a terminal: colours, no control characters of strangers, a line for each topic.

use std::process::Command;

use crate::broker::{Broker, noctule};
use crate::program::Program;
use crate::pty::{CTRL_C, Pty};

fn sub(broker: &Broker, flags: &[&str]) -> Command {
    let mut command = noctule();
    command.args(["sub", "-h", "127.0.0.1", "-p", &broker.port()]).args(flags);
    command
}

fn publish(broker: &Broker, topic: &str, payload: &[u8]) {
    let mut command = noctule();
    command.args(["pub", "-h", "127.0.0.1", "-p", &broker.port()]);
    command.args(["-t", topic, "-r", "-q", "1", "-s"]);
    Program::start_with(&mut command, payload.to_vec()).finish().well();
}

#[test]
fn a_stranger_cannot_write_to_the_terminal() {
    let broker = Broker::ours(&[]);
    // Clears the screen, names the window, rings, and ends a colour; in topic and payload.
    publish(&broker, "evil/\u{1b}[2J", b"\x1b[2J\x1b]0;owned\x07\x9b1A\r\x1b[0mtext\n\tmore");
    for flags in [&["-v"][..], &["-F", "%t %p"], &["-F", "%t %p", "-V", "5"]] {
        let flags = [&["-t", "evil/#"], flags].concat();
        let terminal = Pty::start(&sub(&broker, &flags), 24, 100);
        let screen = terminal.see("more");
        let shown = "evil/\\x1b[2J \\x1b[2J\\x1b]0;owned\\x07\\x9b1A\\x0d\\x1b[0mtext";
        assert!(screen.starts_with(shown), "{flags:?}:\n{screen}");
        assert!(screen.lines().nth(1).is_some_and(|line| line.trim() == "more"), "{screen}");
    }
    let terminal = Pty::start(&sub(&broker, &["-t", "evil/#", "-F", "%j"]), 24, 100);
    assert!(terminal.see("payload").contains("\\u001b[2J"), "JSON escapes by itself");
}

#[test]
fn topics_are_coloured_unless_no_color_is_set() {
    let broker = Broker::ours(&[]);
    publish(&broker, "a/b", b"x");
    let coloured = Pty::start(&sub(&broker, &["-t", "a/b", "-v"]), 24, 100);
    coloured.see("a/b x");
    assert!(coloured.colour_at(0, 0) != coloured.colour_at(0, 4), "the topic and not the payload");
    let mut plain = sub(&broker, &["-t", "a/b", "-v"]);
    let plain = Pty::start(plain.env("NO_COLOR", "1"), 24, 100);
    plain.see("a/b x");
    assert_eq!(plain.colour_at(0, 0), plain.colour_at(0, 4));
}

#[test]
fn watch_keeps_a_line_for_each_topic() {
    let broker = Broker::ours(&[]);
    let terminal = Pty::start(&sub(&broker, &["-t", "w/+", "--watch"]), 24, 60);
    for (topic, payload, wanted) in [
        ("w/a", "first", "w/a first"),
        ("w/b", "second", "w/a first\nw/b second"),
        ("w/a", "third is longer", "w/a third is longer\nw/b second"),
        ("w/a", "4", "w/a 4\nw/b second"),
    ] {
        publish(&broker, topic, payload.as_bytes());
        terminal.wait(wanted, |screen| {
            let lines: Vec<_> = screen.trim_end().lines().map(str::trim_end).collect();
            lines.join("\n") == wanted
        });
    }
    terminal.keys(CTRL_C);
    let (status, screen) = terminal.finish();
    assert!(status.success(), "{status}");
    assert!(screen.trim_end().ends_with("\nnoctule: disconnected cleanly. Goodbye!"), "{screen}");
}
