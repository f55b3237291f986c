//! Where lines of the documentation are typed: a shell whose clients find a broker without being
//! told where it is, as they do on a machine with a broker on the usual port.
//!
//! The port is in the saved options of every client command; what is printed of it is put back to
//! the usual one.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::broker::{Broker, noctule};
use crate::lamp::Lamp;
use crate::program::Program;
use crate::room::Room;

/// The client commands that read saved options.
const CLIENTS: &[&str] =
    &["pub", "sub", "request", "sensor", "shell", "dashboard", "check", "bench", "stress"];

/// A broker, a lamp that answers requests, and a directory to work in.
pub(crate) struct Stage {
    lamp: Option<Lamp>,
    broker: Option<Broker>,
    /// What the broker left, once it is stopped.
    left: Option<Room>,
    ports: [String; 2],
    own: Room,
}

/// What was typed, and what came of it.
pub(crate) struct Typed {
    /// Standard output and standard error as they came.
    pub(crate) lines: Vec<String>,
    /// How it ended.
    pub(crate) code: i32,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let broker = Broker::ours(&[]);
        let own = Room::new();
        let (port, tls_port) = (broker.port(), broker.tls_port());
        let saved = own.path().join("config/noctule");
        std::fs::create_dir_all(&saved).expect("the room is writable");
        for client in CLIENTS {
            let more =
                if *client == "check" { format!("--tls-port {tls_port}\n") } else { String::new() };
            let options = format!("-h 127.0.0.1\n-p {port}\n{more}");
            std::fs::write(saved.join(client), options).expect("the room is writable");
        }
        std::fs::create_dir(own.path().join("alone")).expect("the room is writable");
        let lamp = Some(Lamp::hang(port.parse().expect("a port")));
        Self { lamp, broker: Some(broker), left: None, ports: [port, tls_port], own }
    }

    /// Port of the broker for clients without TLS.
    pub(crate) fn port(&self) -> &str {
        &self.ports[0]
    }

    /// Port of the broker for clients with TLS.
    pub(crate) fn tls_port(&self) -> &str {
        &self.ports[1]
    }

    /// The directory in which the broker was started.
    pub(crate) fn directory(&self) -> PathBuf {
        let room = self.left.as_ref().or_else(|| self.broker.as_ref().map(Broker::room));
        room.expect("a broker, or what it left").path().to_owned()
    }

    /// A directory without a broker.
    pub(crate) fn alone(&self) -> PathBuf {
        self.own.path().join("alone")
    }

    /// Ends the broker in good order.
    pub(crate) fn stop_broker(&mut self) {
        self.lamp = None;
        if let Some(broker) = self.broker.take() {
            self.left = Some(broker.end_in_its_room(Signal::TERM).1);
        }
    }

    /// A program of ours, as it is found from the stage.
    pub(crate) fn noctule(&self) -> Command {
        self.dressed(noctule())
    }

    /// Types a line and waits for its end. `$?` is `before`.
    pub(crate) fn type_line(&self, line: &str, directory: &Path, before: i32) -> Typed {
        let program =
            Program::start(&mut self.shell(&format!("(exit {before}); {line}"), directory));
        let finished = program.finish();
        let code = finished.status.code().unwrap_or(-1);
        Typed { lines: finished.lines, code }
    }

    /// Starts a line that goes on until somebody ends it.
    pub(crate) fn start_line(&self, line: &str, directory: &Path) -> Program {
        // In place of the shell, so that it is the program that is interrupted.
        Program::start(&mut self.shell(&format!("exec {line}"), directory))
    }

    fn shell(&self, script: &str, directory: &Path) -> Command {
        let mut command = noctule();
        let path = std::env::var("PATH").unwrap_or_default();
        let program = Path::new(env!("CARGO_BIN_EXE_noctule"));
        let beside = program.parent().expect("a file lies somewhere").display();
        let environment: Vec<_> = command.get_envs().map(|(name, _)| name.to_owned()).collect();
        command = Command::new("bash");
        for name in environment {
            command.env_remove(name);
        }
        let script = self.unusual(script);
        command.args(["-c", &format!("exec 2>&1; {script}")]);
        command.env("PATH", format!("{beside}:{path}")).current_dir(directory);
        // A second broker takes ports that are free.
        command.env("NOCTULE_PORT", "0").env("NOCTULE_TLS_PORT", "0");
        self.dressed(command)
    }

    /// A text with the ports of the stage's broker in place of the usual ones.
    pub(crate) fn unusual(&self, text: &str) -> String {
        text.replace("8883", self.tls_port()).replace("1883", self.port())
    }

    fn dressed(&self, mut command: Command) -> Command {
        let own = self.own.path();
        command.env("XDG_CONFIG_HOME", own.join("config")).env("XDG_STATE_HOME", own);
        command.env("HOME", own).env("TZ", "UTC").env_remove("NO_COLOR");
        command
    }

    /// A line as it would be with a broker on the usual ports and a machine of no particular name.
    pub(crate) fn usual(&self, line: &str) -> String {
        let line = line.replace(self.port(), "1883").replace(self.tls_port(), "8883");
        let line = match listener_port(&line) {
            Some((port, usual)) => line.replace(&port, usual),
            None => line,
        };
        let machine = rustix::system::uname();
        let machine = machine.nodename().to_string_lossy().into_owned();
        let is_name = |letter: char| letter.is_alphanumeric() || "-.".contains(letter);
        let mut words = Vec::new();
        for word in line.split(' ') {
            let name = word.trim_matches(|letter| !is_name(letter));
            words.push(if name == machine {
                word.replace(name, "myhost")
            } else {
                word.to_owned()
            });
        }
        words.join(" ")
    }
}

/// The port in a line by which a broker says where it listens or how to connect, and the usual one.
fn listener_port(line: &str) -> Option<(String, &'static str)> {
    let after = |mark: &str| {
        let rest = &line[line.find(mark)? + mark.len()..];
        let digits = rest.chars().take_while(char::is_ascii_digit).collect::<String>();
        (digits.len() > 3).then_some(digits)
    };
    let is_tls = line.contains("over TLS") || line.contains("--cafile");
    let port = if line.contains("listening on") {
        after("1]:").or_else(|| after("0.1:"))
    } else {
        after("localhost -p ")
    };
    Some((port?, if is_tls { "8883" } else { "1883" }))
}
