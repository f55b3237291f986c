//! Scarce files, silent outputs, and the end of the process among peers that do not help.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, ChildStderr, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Target, connect, packet, ping, publish, subscribe};
use crate::broker::noctule;
use crate::program::DEADLINE;
use crate::room::Room;

#[test]
fn when_files_run_out_those_within_go_on_and_others_get_in_when_there_is_room() {
    let target = Target::start_after("ulimit -n 150", &[]);
    let (mut served, mut refused) = (Vec::new(), 0);
    for number in 0..200 {
        let mut client = target.connect();
        client.write_all(&connect(4, &format!("c{number}"), true)).unwrap();
        match packet(&mut client) {
            (0x20, body) if body == [0, 0] => served.push(client),
            (0x20, body) if body == [0, 3] => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    // Half of so few files are for connections: 100 of 150 would be kept back otherwise.
    assert_eq!((served.len(), refused), (75, 125));
    served.iter_mut().for_each(ping);
    for mut client in served.drain(..10) {
        client.write_all(&[0xe0, 0]).unwrap();
        assert_eq!(super::rest(&mut client), b"");
    }
    for number in 0..10 {
        served.push(target.client(&format!("later{number}")));
    }
    served.iter_mut().for_each(ping);
    target.end();
}

#[test]
fn silent_connections_beyond_the_files_neither_stop_it_nor_make_it_spin() {
    let target = Target::start_after("ulimit -n 60", &["--connect-timeout", "2s"]);
    let mut good = target.client("good");
    let silent: Vec<_> = (0..100).map(|_| target.connect()).collect();
    ping(&mut good);
    let before = target.ticks();
    let begin = Instant::now();
    // They wait in the backlog, are let in as the first ones time out, and then this one is.
    let mut later = target.connect();
    later.write_all(&connect(4, "later", true)).unwrap();
    drop(silent);
    assert_eq!(packet(&mut later).0, 0x20);
    ping(&mut good);
    let (used, took) = (target.ticks() - before, begin.elapsed());
    assert!(used < 50, "{used} hundredths of a second of work in {took:?}");
    let finished = target.end();
    let complaints = finished.complaints.matches("cannot accept").count();
    assert!(complaints <= 2, "said {complaints} times");
}

#[test]
fn idle_clients_cost_no_processor_time() {
    let target = Target::start(&[]);
    let mut idle: Vec<_> = (0..300).map(|number| target.client(&format!("i{number}"))).collect();
    idle.iter_mut().for_each(ping);
    let before = target.ticks();
    // The event is that nothing comes for a second.
    let mut silent = target.subscriber("silent", "nothing", 0);
    silent.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    assert!(std::io::Read::read(&mut silent, &mut [0]).is_err());
    let used = target.ticks() - before;
    assert!(used <= 5, "{used} hundredths of a second");
    target.end();
}

#[test]
fn it_ends_in_time_among_clients_that_do_not_read() {
    let target = Target::start(&[]);
    let _deaf: Vec<_> =
        (0..100).map(|number| target.subscriber(&format!("d{number}"), "t", 0)).collect();
    fill(&target);
    // `end` looks at the exit code and at the time.
    let finished = target.end();
    assert!(finished.lines.iter().any(|line| line.starts_with("goodbye")), "{finished:?}");
}

#[test]
fn a_second_ctrl_c_ends_it_at_once() {
    let target = Target::start(&[]);
    let _deaf = target.subscriber("deaf", "t", 0);
    fill(&target);
    let Target { program, _room, .. } = target;
    program.signal(Signal::INT);
    program.expect("stopping", |line| line.starts_with("stopping").then_some(()));
    let begin = Instant::now();
    program.signal(Signal::INT);
    let finished = program.finish();
    assert_eq!(finished.status.code(), Some(130), "{finished:?}");
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
}

#[test]
fn closed_outputs_are_no_reason_to_end() {
    let (mut broker, stdout, stderr) = Piped::start(&["--verbose"]);
    drop((stdout, stderr));
    for number in 0..20 {
        let mut client = broker.client(&format!("c{number}"));
        ping(&mut client);
    }
    broker.end();
}

#[test]
fn a_log_that_nobody_reads_holds_nobody_up() {
    // The pipe takes 64 KiB; each connection is two lines.
    let (mut broker, _stdout, _stderr) = Piped::start(&["--verbose"]);
    for number in 0..1_500 {
        let mut client = broker.client(&format!("c{number}"));
        client.write_all(&[0xe0, 0]).unwrap();
        assert_eq!(super::rest(&mut client), b"");
    }
    broker.end();
}

#[test]
fn it_listens_on_the_address_it_is_given_and_on_no_other() {
    let other = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    let target = Target::start(&["--bind", "127.0.0.2"]);
    assert_eq!(target.address.ip(), other);
    target.client("there");
    let elsewhere = TcpStream::connect((Ipv4Addr::LOCALHOST, target.address.port()));
    assert!(elsewhere.is_err(), "{elsewhere:?}");
    target.end();
    // A machine without IPv6 has nothing to show here.
    if TcpListener::bind("[::1]:0").is_ok() {
        let target = Target::start(&["--bind", "::1"]);
        assert!(target.address.is_ipv6());
        ping(&mut target.client("six"));
        target.end();
    }
}

/// Publishes more to `t` than sockets and outputs of its subscribers take.
fn fill(target: &Target) {
    let mut writer = target.client("writer");
    for _ in 0..60 {
        writer.write_all(&publish("t", &[b'x'; 100_000], 0, 0)).expect("an open connection");
    }
    // Behind them, so that all of them have been routed.
    writer.write_all(&subscribe(&["other"], 0)).expect("an open connection");
    assert_eq!(packet(&mut writer).0, 0x90);
}

/// A broker whose outputs are in the test's hand; dropped, it is killed.
struct Piped {
    child: Child,
    port: u16,
    _room: Room,
}

impl Piped {
    fn start(flags: &[&str]) -> (Self, BufReader<ChildStdout>, ChildStderr) {
        let room = Room::new();
        let mut command = noctule();
        command.args(["broker", "--port", "0", "--no-tls"]).args(flags).current_dir(room.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let stderr = child.stderr.take().expect("a pipe");
        let mut broker = Self { child, port: 0, _room: room };
        let mut line = String::new();
        while !line.starts_with("  ready in ") {
            line.clear();
            assert!(stdout.read_line(&mut line).expect("a pipe") > 0, "ended before it was ready");
            let address = line.trim_end().strip_suffix(" (MQTT)");
            if let Some((_, port)) = address.and_then(|address| address.rsplit_once(':')) {
                broker.port = port.parse().expect("a port");
            }
        }
        (broker, stdout, stderr)
    }

    fn client(&mut self, id: &str) -> TcpStream {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("it accepts");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        stream.write_all(&connect(4, id, true)).expect("an open connection");
        assert_eq!(packet(&mut stream), (0x20, vec![0, 0]), "{id}");
        stream
    }

    /// SIGTERM, and exit code 0.
    fn end(mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.expect("a pid"), Signal::TERM).expect("it runs");
        let mut status = None;
        super::wait_until("its end", || {
            status = self.child.try_wait().expect("our own child");
            status.is_some()
        });
        assert_eq!(status.and_then(|status| status.code()), Some(0), "{status:?}");
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
