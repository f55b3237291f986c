//! The PROXY protocol: clients that a proxy announces, and those that announce themselves.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use noctule_client::{Authentication, ClientOptions, Reconnect, blocking};
use rustix::process::Signal;

use crate::broker::{Broker, noctule};
use crate::foreign;
use crate::haproxy::Haproxy;
use crate::login::{answer, connect, passwd};
use crate::program::{DEADLINE, Finished, Program};
use crate::room::Room;
use crate::ws_client::{WsClient, request};

/// What a proxy says of a client with this address.
pub(crate) fn line(address: &str) -> Vec<u8> {
    format!("PROXY TCP4 {address} 198.51.100.2 56324 1883\r\n").into_bytes()
}

/// The same in version 2, with fields of TLS: a certificate that was found valid, or not.
fn binary(last: u8, common_name: &str, verify: u8) -> Vec<u8> {
    let name = common_name.as_bytes();
    let field = [&[0x22, 0, name.len() as u8][..], name].concat();
    let tls = [&[7, 0, 0, 0, verify][..], &field].concat();
    let tls = [&[0x20, 0, tls.len() as u8][..], &tls].concat();
    let addresses = [192, 0, 2, last, 198, 51, 100, 2, 0xDC, 0x04, 0x07, 0x5B];
    let rest = [&addresses[..], &tls].concat();
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    header.extend((rest.len() as u16).to_be_bytes());
    [header, rest].concat()
}

fn login(broker: &Broker, header: &[u8], user: Option<&str>, password: Option<&str>) -> u8 {
    login_as(broker, "x", header, user, password)
}

/// Whose session is still there is nobody else's, so others come by a name of their own.
fn login_as(
    broker: &Broker,
    id: &str,
    header: &[u8],
    user: Option<&str>,
    password: Option<&str>,
) -> u8 {
    let mut stream = broker.connect();
    let packet = connect(4, &broker.id(id), user, password);
    stream.write_all(&[header, &packet].concat()).expect("an open connection");
    answer(&mut stream)
}

/// Waits until the broker has closed without a word.
fn closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // Closed with something unread, it may be reset.
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.is_empty(), "{rest:?}");
}

const HERE: [&str; 3] = ["--proxies", "127.0.0.0/8,::1", "--verbose"];

#[test]
fn a_client_has_the_address_that_its_proxy_says() {
    let broker = Broker::ours(&HERE);
    for header in [line("192.0.2.1"), binary(1, "", 1)] {
        let mut stream = broker.connect();
        let whole = [&header[..], &connect(4, "a", None, None)].concat();
        // In pieces, of which none ends where a part of it ends.
        for piece in whole.chunks(5) {
            stream.write_all(piece).expect("an open connection");
        }
        assert_eq!(answer(&mut stream), 5, "not from this machine any more");
        broker.program().expect_complaint(&["announced by a proxy", "peer=192.0.2.1:56324"]);
        broker.program().expect_complaint(&["disconnected", "peer=\"192.0.2.1:56324\""]);
    }
    // The proxy itself, which asks whether somebody is there, is who it is.
    let itself = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
    assert_eq!(login(&broker, itself, None, None), 0);
    assert_eq!(login(&broker, b"PROXY UNKNOWN\r\n", None, None), 5);
    broker.program().expect_complaint(&["disconnected", "peer=\"unknown,behind=127.0.0.1\""]);
}

/// What a web server says in its request for WebSocket counts if the one whom the PROXY protocol names is
/// among `ws_proxies`: that one is the other end, and not who has announced it.
#[test]
fn with_both_the_proxy_protocol_says_whose_word_in_a_request_for_websocket_counts() {
    let flags = ["--ws-port", "0", "--ws-proxies", "192.0.2.7", "--allow-anonymous"];
    let broker = Broker::ours(&[&HERE[..], &flags].concat());
    let said = "X-Forwarded-For: 192.0.2.9\r\n";
    let of_listed_announcer = "X-Forwarded-For: 127.0.0.1, 192.0.2.9\r\n";
    for (number, (announced, fields, peer)) in [
        ("192.0.2.1", "", "192.0.2.1:56324"),
        // Not listed, so it is not believed, and what it hides is not believed to be itself either.
        ("192.0.2.1", said, "unknown,behind=192.0.2.1"),
        ("192.0.2.7", said, "192.0.2.9:0"),
        ("192.0.2.7", of_listed_announcer, "192.0.2.9:0"),
        ("192.0.2.7", "", "unknown,behind=192.0.2.7"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = WsClient::silent(&broker.ws_port());
        client.send_raw(&[line(announced), request(fields).into_bytes()].concat());
        assert_eq!(client.answer().0, 101);
        let id = broker.id(&format!("both-{number}"));
        client.send(&connect(4, &id, None, None));
        assert_eq!(client.receive(4), [0x20, 2, 0, 0]);
        let words = ["connected", &format!("client_id=\"{id}\""), &format!("peer=\"{peer}\"")];
        broker.program().expect_complaint(&words);
    }
}

#[test]
fn wrong_logins_count_for_the_client_and_not_for_its_proxy() {
    let room = Room::new();
    passwd(&room, &["create", "p"], "");
    passwd(&room, &["add", "p", "anna", "--password-stdin"], "secret");
    let own = ["--password-file", "p", "--login-failures-max", "2"];
    let broker = Broker::in_room(room, &[&HERE[..], &own].concat());
    let wrong = |address| login(&broker, &line(address), Some("anna"), Some("wrong"));
    assert_eq!([wrong("192.0.2.1"), wrong("192.0.2.1"), wrong("192.0.2.1")], [4, 4, 3]);
    broker.program().expect_complaint(&["too many wrong logins", "address=192.0.2.1"]);
    assert_eq!(wrong("192.0.2.2"), 4);
    assert_eq!(login(&broker, &line("192.0.2.3"), Some("anna"), Some("secret")), 0);
}

#[test]
fn a_proxy_that_says_nothing_or_rubbish_is_closed() {
    let broker = Broker::ours(&[&HERE[..], &["--connect-timeout", "500ms"]].concat());
    let endless = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 5_000]].concat();
    let long = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xFF\xFF"[..], &[0; 100]].concat();
    for bytes in [connect(4, "a", None, None), b"PROXY TCP4 ::1\r\n".to_vec(), endless, long] {
        let mut stream = broker.connect();
        stream.write_all(&bytes).expect("an open connection");
        closed(&mut stream);
    }
    broker.program().expect_complaint(&["PROXY protocol: ", "peer=127.0.0.1:"]);
    // Half of a header, and then nothing, or the end.
    let mut waiting = broker.connect();
    waiting.write_all(b"PROXY TCP4 192").expect("an open connection");
    closed(&mut waiting);
    let mut ending = broker.connect();
    ending.write_all(b"PROXY TCP4 192").expect("an open connection");
    ending.shutdown(Shutdown::Write).expect("an open connection");
    closed(&mut ending);
}

#[test]
fn only_listed_proxies_are_listened_to() {
    let room = Room::new();
    let text = "\
        in_memory = true\nallow_anonymous = true\nproxies = [\"192.0.2.0/24\"]\n\
        [[listener]]\nport = 0\nbind = \"127.0.0.1\"\n\
        [[listener]]\nport = 0\nbind = \"127.0.0.1\"\nproxies_only = true\n";
    room.file("n.toml", text.as_bytes());
    let broker = Broker::in_room(room, &["--config", "n.toml", "--verbose"]);
    let [open, only] = broker.listeners() else { panic!("{:?}", broker.listeners()) };
    let connect_to = |address| {
        let stream = TcpStream::connect(address).expect("the broker accepts");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        stream
    };
    let mut client = connect_to(open);
    client.write_all(&connect(4, "a", None, None)).expect("an open connection");
    assert_eq!(answer(&mut client), 0, "a client of its own");
    let mut liar = connect_to(open);
    liar.write_all(&line("192.0.2.1")).expect("an open connection");
    closed(&mut liar);
    closed(&mut connect_to(only));
    broker.program().expect_complaint(&["none of the listener's proxies", "peer=127.0.0.1:"]);
}

#[test]
fn a_certificate_counts_if_the_proxy_found_it_valid_and_is_believed() {
    let room = Room::new();
    passwd(&room, &["create", "p"], "");
    passwd(&room, &["add", "p", "anna", "--password-stdin"], "secret");
    let own = ["--password-file", "p", "--certificate-user", "common-name"];
    let flags = [&HERE[..], &own].concat();
    let broker = Broker::in_room(room, &[&flags[..], &["--proxy-certificates"]].concat());
    assert_eq!(login(&broker, &binary(1, "sensor-1", 0), None, None), 0);
    assert_eq!(login(&broker, &binary(1, "sensor-1", 1), None, None), 5, "not valid");
    assert_eq!(login(&broker, &binary(1, "", 0), None, None), 5, "it names nobody");
    assert_eq!(login(&broker, &line("192.0.2.1"), None, None), 5, "none was shown");
    // The session is the user's whom the certificate named.
    assert_eq!(login_as(&broker, "y", &binary(1, "anna", 0), None, None), 0);
    let (user, password) = (Some("anna"), Some("secret"));
    assert_eq!(login_as(&broker, "y", &line("192.0.2.1"), user, password), 0);
    let (_, room) = broker.end_in_its_room(Signal::TERM);
    let broker = Broker::in_room(room, &flags);
    assert_eq!(login(&broker, &binary(1, "sensor-1", 0), None, None), 5, "not believed");
}

/// A proxy in front of a broker that announces everybody with this header. It serves until the test ends.
fn announcer(broker: SocketAddr, header: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    thread::spawn(move || {
        while let Ok((client, _)) = listener.accept() {
            let mut server = TcpStream::connect(broker).expect("the broker is there");
            server.write_all(&header).expect("an open connection");
            for (from, to) in [(&client, &server), (&server, &client)] {
                let [mut from, mut to] =
                    [from, to].map(|one| one.try_clone().expect("an open connection"));
                thread::spawn(move || {
                    // Either end may be gone first.
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        }
    });
    port
}

/// Whom a certificate names need not prove a password, and may not instead. That is asked again of a client
/// that proves itself again, at the loop to which its connection has gone meanwhile.
#[test]
fn a_certificate_that_a_proxy_has_seen_comes_along_to_another_loop() {
    let room = Room::new();
    passwd(&room, &["create", "p"], "");
    passwd(&room, &["add", "p", "anna", "--scram", "--password-stdin"], "pencil");
    let configure = |room: &Room, methods: &str| {
        let text = format!(
            "password_file = \"p\"\ncertificate_user = \"common-name\"\nproxies = [\"127.0.0.0/8\"]\n\
             proxy_certificates = true\nauth_methods = [{methods}]\n"
        );
        room.file("n.toml", text.as_bytes());
    };
    configure(&room, r#""password-file", "certificate""#);
    let flags = ["--config", "n.toml", "--in-memory", "--no-tls", "--shards", "2"];
    let broker = Broker::in_room(room, &flags);
    let come = |port: u16, number: usize| {
        let options = ClientOptions::new("127.0.0.1", port)
            .client_id(format!("{port}-{number}"))
            .user_name("anna")
            .password("pencil")
            .authentication(Authentication::ScramSha256)
            .reconnect(Reconnect::never());
        let client = blocking::Client::connect(options).expect("options that can be used");
        client.wait_until_connected(DEADLINE).expect("a proof that is right");
        client.reauthenticate().expect("another one");
        client
    };
    let shown = announcer(broker.address(), binary(1, "sensor-1", 0));
    let not_shown = announcer(broker.address(), binary(1, "", 1));
    // Some of so many live on another loop than the one that accepts them.
    let shown: Vec<_> = (0..12).map(|number| come(shown, number)).collect();
    let not_shown = come(not_shown, 0);
    configure(broker.room(), r#""certificate", "password-file""#);
    broker.program().signal(Signal::HUP);
    broker.program().expect_complaint(&["`auth_methods` is"]);
    not_shown.reauthenticate().expect("it has shown no certificate");
    for (number, client) in shown.iter().enumerate() {
        let outcome = client.reauthenticate();
        assert!(outcome.is_err(), "{number}: {outcome:?}");
    }
}

/// `mosquitto_pub` or `mosquitto_sub` at this port, with TLS if there are arguments for it.
fn client(port: u16, room: &Path, program: &str, arguments: &[&str]) -> Finished {
    let mut command = foreign::mosquitto(program);
    command.args(["-h", "localhost", "-p", &port.to_string()]).args(arguments);
    Program::start(command.current_dir(room)).finish()
}

#[test]
fn haproxy_announces_its_clients_in_front_of_plain_and_tls_connections() {
    let broker = Broker::ours(&[&HERE[..], &["--allow-anonymous"]].concat());
    let (plain, tls) = (broker.port(), broker.tls_port());
    for (version, port) in [
        ("send-proxy", &plain),
        ("send-proxy-v2", &plain),
        ("send-proxy", &tls),
        ("send-proxy-v2", &tls),
    ] {
        let haproxy = Haproxy::start("", &format!("127.0.0.1:{port} {version}"));
        let ca = ["--cafile", "noctule-data/tls/ca.pem"];
        let trust = if port == &tls { &ca[..] } else { &[] };
        let publish = ["-t", "a", "-m", "x", "-i", "seen", "-r", "-q", "1"];
        let room = broker.room().path();
        client(haproxy.port(), room, "mosquitto_pub", &[&publish, trust].concat()).well();
        // HAProxy has connected from another port than its client.
        broker.program().expect_complaint(&["announced by a proxy", "proxy=127.0.0.1:"]);
        broker.program().expect_complaint(&[
            "connected",
            "client_id=\"seen\"",
            "peer=\"127.0.0.1:",
        ]);
    }
}

#[test]
fn a_client_that_shows_haproxy_its_certificate_is_the_user_that_it_names() {
    let room = Room::new();
    for flags in [&["--hostname", "localhost"][..], &["--client", "sensor-1"]] {
        Program::start(noctule().arg("cert").args(flags).current_dir(room.path())).finish().well();
    }
    passwd(&room, &["create", "p"], "");
    let tls = room.path().join("noctule-data/tls");
    let read = |name: &str| std::fs::read(tls.join(name)).expect("a file of TLS");
    let pem = room.file("haproxy.pem", &[read("server.pem"), read("server.key")].concat());
    // HAProxy comes by a Unix socket.
    let socket = std::path::PathBuf::from(format!("/tmp/{}.sock", crate::room::unique()));
    let socket_text = socket.display().to_string();
    let flags = [
        "--unix",
        &socket_text,
        "--proxies",
        "unix",
        "--proxy-certificates",
        "--password-file",
        "p",
        "--certificate-user",
        "common-name",
        "--verbose",
        "--no-tls",
    ];
    let broker = Broker::in_room(room, &flags);
    let ca = tls.join("ca.pem").display().to_string();
    let bind = format!("ssl crt {} ca-file {ca} verify optional", pem.display());
    let server = format!("unix@{socket_text} send-proxy-v2-ssl-cn");
    let haproxy = Haproxy::start(&bind, &server);
    let publish = ["--cafile", "noctule-data/tls/ca.pem", "-t", "a", "-m", "x", "-q", "1"];
    let room = broker.room().path();
    let certificate = [
        "--cert",
        "noctule-data/tls/client-sensor-1.pem",
        "--key",
        "noctule-data/tls/client-sensor-1.key",
    ];
    let shown = [&publish[..], &certificate].concat();
    client(haproxy.port(), room, "mosquitto_pub", &shown).well();
    broker.program().expect_complaint(&["announced by a proxy", "TLSv1.3", "client sensor-1"]);
    let refused = client(haproxy.port(), room, "mosquitto_pub", &publish);
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    broker.end_by(Signal::TERM).well();
    assert!(!socket.exists(), "it goes with the broker");
}
