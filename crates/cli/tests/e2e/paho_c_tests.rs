//! Round trips with Paho's client in C; the scenarios themselves are in
//! `tests/foreign/paho_c_scenarios.c`, which each test compiles for itself.

use std::process::Command;

use crate::foreign;
use crate::program::Program;
use crate::room::Room;

macro_rules! scenarios {
    ($($name:ident)+) => {
        $(#[test] fn $name() { super::run(stringify!($name)); })+
    };
}

mod v5 {
    scenarios!(properties aliases shared_subscriptions expiry flow_control);
}

fn run(scenario: &str) {
    let room = Room::new();
    let program = room.path().join("paho_c_scenarios");
    let mut gcc = Command::new("gcc");
    gcc.args(["-Wall", "-Wextra", "-Werror", "-O1", "-o"]).arg(&program);
    gcc.arg(foreign::script("paho_c_scenarios.c")).arg("-lpaho-mqtt3c");
    Program::start(&mut gcc).finish().well();
    foreign::scenario(&mut Command::new(program), "5", scenario);
}
