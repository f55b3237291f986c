//! Where the foreign clients are, and how a script of theirs is run.
//!
//! A client that is missing fails the test with the command that brings it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::broker::Broker;
use crate::program::Program;

/// Runs a scenario of `paho_scenarios.py` against a new broker.
pub(crate) fn paho(version: &str, scenario: &str) {
    run(&mut python(), "paho_scenarios.py", version, scenario);
}

/// Runs a scenario of one of the scripts for MQTT 5 clients in Python against a new broker.
pub(crate) fn python_scenario(script: &str, scenario: &str) {
    run(&mut python(), script, "5", scenario);
}

/// Python with paho-mqtt, gmqtt, aiomqtt and the AWS IoT device SDK.
pub(crate) fn python() -> Command {
    let python = home().join("python/bin/python");
    assert!(python.exists(), "the Python clients are missing: {PREPARE}");
    // Unbuffered: the last words of a script that is killed at its deadline are wanted.
    let mut command = Command::new(python);
    // What scripts share is compiled anew: nothing is left beside them.
    command.args(["-u", "-B"]);
    command
}

/// Runs a scenario of `mqttjs_scenarios.js` against a new broker.
pub(crate) fn mqttjs(version: &str, scenario: &str) {
    run(&mut node(), "mqttjs_scenarios.js", version, scenario);
}

/// Node with MQTT.js.
pub(crate) fn node() -> Command {
    let modules = home().join("node/node_modules");
    assert!(modules.join("mqtt/package.json").exists(), "MQTT.js is missing: {PREPARE}");
    assert!(which("node"), "Node is missing: {PREPARE}");
    let mut command = Command::new("node");
    command.env("NODE_PATH", modules);
    command
}

/// Node with what drives a browser.
pub(crate) fn browser() -> Command {
    let modules = home().join("browser/node_modules");
    let is_there = modules.join("playwright-core/package.json").exists();
    assert!(is_there, "playwright-core is missing: {PREPARE}");
    let mut command = node();
    command.env("NODE_PATH", modules);
    command
}

/// MQTT.js as a browser takes it.
pub(crate) fn mqttjs_for_browsers() -> PathBuf {
    home().join("node/node_modules/mqtt/dist/mqtt.min.js")
}

/// Where Debian's Chromium is, the one that has no window.
pub(crate) fn chromium() -> PathBuf {
    let program = Path::new("/usr/bin/chromium-headless-shell");
    assert!(program.exists(), "Chromium is missing: {PREPARE}");
    program.to_owned()
}

/// A script of ours that uses a foreign client.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign").join(name)
}

/// A command of mosquitto-clients whose output comes line by line.
pub(crate) fn mosquitto(program: &str) -> Command {
    assert!(which(program), "{program} is missing: {PREPARE}");
    // Into a pipe it would write by the block, and its "Subscribed" would come too late. stdbuf
    // replaces itself by the program, so the process we signal is the right one.
    let mut command = Command::new("stdbuf");
    command.args(["-oL", program]);
    command
}

/// Debian's mosquitto, the broker, whose output comes line by line.
pub(crate) fn mosquitto_broker() -> Command {
    let mut command = Command::new("stdbuf");
    command.arg("-oL").arg(mosquitto_program());
    command
}

/// Where Debian's mosquitto is, the broker.
pub(crate) fn mosquitto_program() -> PathBuf {
    // Debian puts it where only root's PATH leads.
    let elsewhere = Path::new("/usr/sbin/mosquitto");
    let program = if which("mosquitto") { Path::new("mosquitto") } else { elsewhere };
    assert!(which("mosquitto") || elsewhere.exists(), "no mosquitto: {PREPARE}");
    program.to_owned()
}

/// Scripts end with a line `ok SCENARIO`, so one that skipped its work does not pass.
fn run(command: &mut Command, script: &str, version: &str, scenario: &str) {
    self::scenario(command.arg(self::script(script)), version, scenario);
}

/// Runs a program of scenarios against a new broker. It ends with a line `ok SCENARIO`, so one that
/// skipped its work does not pass.
pub(crate) fn scenario(command: &mut Command, version: &str, scenario: &str) {
    let broker = Broker::start();
    command.args([&broker.host(), &broker.port(), version, scenario, broker.word()]);
    let finished = Program::start(command).finish().well();
    assert_eq!(finished.lines.last(), Some(&format!("ok {scenario}")), "{finished:?}");
}

/// Runs a scenario of a script by WebSocket, `ws` or `wss`, against a new broker with so many loops.
pub(crate) fn by_websocket(
    mut command: Command,
    script: &str,
    (version, transport, loops): (&str, &str, &str),
    scenario: &str,
) {
    let ports = ["--ws-port", "0", "--wss-port", "0", "--shards", loops];
    let broker = Broker::ours(&ports);
    let port = if transport == "ws" { broker.ws_port() } else { broker.wss_port() };
    command.env("TRANSPORT", transport).env("CA", broker.path("noctule-data/tls/ca.pem"));
    command.arg(self::script(script));
    command.args([&broker.host(), &port, version, scenario, broker.word()]);
    let finished = Program::start(&mut command).finish().well();
    assert_eq!(finished.lines.last(), Some(&format!("ok {scenario}")), "{finished:?}");
}

fn home() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("tmp lies in target");
    target.join("foreign")
}

fn which(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

const PREPARE: &str = "run `cargo xtask prepare`";
