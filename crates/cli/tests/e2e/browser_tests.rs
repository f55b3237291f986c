//! The page of `examples/browser` in Chromium: values of `noctule sensor` appear in it, and it comes back
//! when the broker was away.
//!
//! With `NOCTULE_WRITE_DOCS` it is photographed for the documentation.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ChildStdin;

use crate::broker::{Broker, noctule};
use crate::foreign;
use crate::mosquitto_broker::free_port;
use crate::program::Program;

/// A browser that shows the page, and does what it is told.
struct Page {
    browser: Program,
    orders: ChildStdin,
}

impl Page {
    fn open(ws_port: u16) -> Self {
        let mut command = foreign::browser();
        command.arg(foreign::script("browser_page.js")).arg(repository().join("examples/browser"));
        command.args([foreign::mqttjs_for_browsers(), foreign::chromium()]);
        command.arg(format!("ws://127.0.0.1:{ws_port}/mqtt"));
        let (browser, orders) = Program::start_open(&mut command);
        Self { browser, orders }
    }

    /// Has it do something, and waits until it is done.
    fn order(&mut self, line: &str) {
        writeln!(self.orders, "{line}").expect("it reads");
        self.browser.expect(line, |said| (said == line).then_some(()));
    }

    fn close(self) {
        drop(self.orders);
        self.browser.finish().well();
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Measures some rounds, and says what the last one has published.
fn sensor(broker: &Broker, seed: &str) -> Vec<(String, String)> {
    let mut sensor = noctule();
    sensor.args(["sensor", "-p", &broker.port(), "-q", "1", "--seed", seed]);
    Program::start(sensor.args(["--interval", "20ms", "--rounds", "60"])).finish().well();
    let mut retained = noctule();
    retained.args(["sub", "-p", &broker.port(), "-t", "sensors/status", "-C", "1", "-W", "20"]);
    let status = Program::start(&mut retained).finish().well().lines.join("");
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    let names = [("temp", "temperature"), ("humidity", "humidity"), ("pressure", "pressure")];
    let values = names.map(|(key, topic)| {
        assert!(status[key].is_number(), "no {key} in {status}");
        (format!("sensors/{topic}"), status[key].to_string())
    });
    values.to_vec()
}

#[test]
fn values_of_the_sensor_appear_in_a_browser_and_a_restart_of_the_broker_is_survived() {
    let ws_port = free_port();
    let port = ws_port.to_string();
    let flags = ["--ws-port", port.as_str()];
    let broker = Broker::ours(&flags);
    let mut page = Page::open(ws_port);
    page.order("state connected");
    for (topic, value) in sensor(&broker, "7") {
        page.order(&format!("value {topic} {value}"));
        page.order(&format!("points {topic} 60"));
    }
    if std::env::var_os("NOCTULE_WRITE_DOCS").is_some() {
        let file = repository().join("docs/browser.png");
        page.order(&format!("screenshot {}", file.display()));
    }

    let room = broker.kill();
    page.order("state reconnecting");
    let broker = Broker::in_room(room, &flags);
    page.order("state connected");
    for (topic, value) in sensor(&broker, "8") {
        page.order(&format!("value {topic} {value}"));
        page.order(&format!("points {topic} 120"));
    }
    page.close();
}
