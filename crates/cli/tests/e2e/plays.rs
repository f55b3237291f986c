//! What is played at a terminal for the screens in the documentation.

use crate::program::Program;
use crate::pty::{CTRL_D, ENTER, Pty, TAB};
use crate::stage::Stage;

/// The screen at the end of the play of this name.
pub(crate) fn screen(name: &str, stage: &Stage) -> Vec<String> {
    let screen = match name {
        "shell" => shell(stage),
        "dashboard" => dashboard(stage),
        _ => panic!("there is no play \"{name}\""),
    };
    let lines = screen.trim_end().lines();
    lines.map(|line| stage.usual(line.trim_end())).collect()
}

fn shell(stage: &Stage) -> String {
    let mut command = stage.noctule();
    let terminal = Pty::start(command.arg("shell"), 24, 100);
    terminal.see("authenticated");
    terminal.see_line("noctule> ");
    terminal.keys(&format!("sub -q 1 site/#{ENTER}"));
    terminal.see("granted QoS 1");
    terminal.see_line("noctule> ");
    terminal.keys("pub -q 1 site/hall/lamp 'half a");
    terminal.see_line("noctule> pub -q 1 site/hall/lamp 'half a");
    let mut other = stage.noctule();
    other.args(["pub", "-t", "site/hall/door", "-m", "open", "-q", "1"]);
    Program::start(&mut other).finish().well();
    terminal.see("site/hall/door open");
    terminal.keys(&format!(" line'{ENTER}"));
    terminal.see("site/hall/lamp half a line");
    terminal.see_line("noctule> ");
    terminal.keys(&format!("stat{TAB}{ENTER}"));
    terminal.see("keep-alive 60 s");
    terminal.see_line("noctule> ");
    terminal.keys(CTRL_D);
    terminal.finish().1
}

fn dashboard(stage: &Stage) -> String {
    let mut sensor = stage.noctule();
    sensor.args(["sensor", "--seed", "7", "--interval", "20ms", "--rounds", "30", "-q", "1"]);
    sensor.args(["--prefix", "hall"]);
    let mut command = stage.noctule();
    let terminal = Pty::start(command.args(["dashboard", "-q", "1", "-t", "hall/+"]), 12, 110);
    terminal.see("authenticated");
    Program::start(&mut sensor).finish().well();
    terminal.see("120 messages");
    terminal.keys("p");
    let screen = terminal.see("PAUSED");
    terminal.keys("q");
    terminal.finish();
    screen
}
