//! Chains of methods, and somebody who is asked over HTTP: a server in the test, which answers what the
//! test says and keeps what it was asked.

use super::tests::{ELSEWHERE, File, HERE, ask, asker, checked, mailboxes, somebody, unattended};
use super::*;
use crate::options::{AuthMethods, Optional, config_of};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

/// Whoever is asked. It ends with the test's process: its thread waits for connections.
struct Backend {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Backend {
    /// Answers with this status line's rest and body; with none it says nothing, and keeps the
    /// connection.
    fn answering(
        answer: impl Fn(&str) -> Option<(&'static str, &'static str)> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let body = read_request(&mut stream);
                let said = answer(&body);
                seen.lock().unwrap().push(body);
                match said {
                    Some((status, body)) => {
                        let length = body.len();
                        let text = format!(
                            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                        );
                        // Who asked may have given up.
                        let _ = stream.write_all(text.as_bytes());
                    }
                    None => silent.push(stream),
                }
            }
        });
        Self { address, asked }
    }

    fn always(status: &'static str, body: &'static str) -> Self {
        Self::answering(move |_| Some((status, body)))
    }

    fn url(&self) -> String {
        format!("http://{}/login", self.address)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return String::new();
        }
        text.push(byte[0]);
    }
    let header = String::from_utf8(text).unwrap().to_ascii_lowercase();
    let length = header.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    String::from_utf8(body).unwrap()
}

fn config(url: &str) -> Config {
    let http_auth_timeout = Duration::from_secs(20);
    Config { http_auth_url: url.to_owned(), http_auth_timeout, ..Config::default() }
}

fn methods(text: &str) -> AuthMethods {
    config_of(&format!("auth_methods = [{text}]\n")).auth_methods
}

type Check = Box<dyn Fn(Credentials) -> (Verdict, bool)>;

/// A gate whose questions the test answers.
fn watched(name: &str, config: &Config) -> (Gate, Check) {
    let file = File::new(name);
    let (gate, asked) = unattended(&file, 20);
    gate.replace(config).unwrap();
    let guard = Arc::clone(&gate.guards.read().unwrap()[0]);
    let check = move |who| {
        let login = Login::new(&guard, who, ELSEWHERE, asker());
        match guard.look(&login, 0) {
            Finding::Verdict(verdict) => (verdict, false),
            Finding::Work(at) => {
                let key = Failures::new(None, Duration::ZERO).claim(login.source(), login.whom());
                checked(Some(Question { login, at, key }))
            }
        }
    };
    assert!(asked().is_none());
    (gate, Box::new(check))
}

#[test]
fn somebody_who_is_asked_lets_in_refuses_or_does_not_know() {
    let backend = Backend::answering(|body| {
        Some(match body {
            body if body.contains("yes") => ("200 OK", r#"{"result": "allow"}"#),
            body if body.contains("no") => ("403 Forbidden", ""),
            _ => ("200 OK", "ignore"),
        })
    });
    let (_gate, check) = watched("asked", &config(&backend.url()));
    assert_eq!(check(somebody(Some("yes"), Some("x"))), (Verdict::Accepted, false));
    assert_eq!(check(somebody(Some("no"), Some("x"))), (BAD_PASSWORD, true));
    assert_eq!(check(somebody(Some("else"), Some("x"))), (BAD_PASSWORD, true));
    // Nothing was said, so nothing was guessed, and nothing is told but what there is.
    assert_eq!(check(somebody(None, None)), (NOT_AUTHORIZED, false));
    let asked: Vec<serde_json::Value> =
        backend.asked().iter().map(|body| serde_json::from_str(body).unwrap()).collect();
    assert_eq!(asked[3], serde_json::json!({"clientid": "a", "peerhost": "192.0.2.1"}));
    let said = serde_json::json!({
        "clientid": "a", "peerhost": "192.0.2.1", "username": "yes", "password": "x"
    });
    assert_eq!(asked[0], said);
}

#[test]
fn who_was_allowed_is_not_asked_about_again_and_nobody_else_is_known_by_it() {
    let backend = Backend::answering(|body| {
        Some(if body.contains("right") { ("204 No Content", "") } else { ("401 No", "") })
    });
    let (gate, check) = watched("cache", &config(&backend.url()));
    let right = || somebody(Some("u"), Some("right"));
    assert_eq!(check(right()), (Verdict::Accepted, false));
    assert_eq!(ask(&gate, right(), ELSEWHERE), Some(Verdict::Accepted), "at once");
    assert_eq!(backend.asked().len(), 1);
    assert_eq!(ask(&gate, right(), HERE), None, "from another address");
    for _ in 0..2 {
        assert_eq!(check(somebody(Some("u"), Some("wrong"))), (BAD_PASSWORD, true));
    }
    let wrong = backend.asked().iter().filter(|body| body.contains("wrong")).count();
    assert_eq!(wrong, 2, "a denial is not remembered");
    let never = Config { http_auth_cache: Duration::ZERO, ..config(&backend.url()) };
    let (gate, check) = watched("cacheless", &never);
    assert_eq!(check(right()), (Verdict::Accepted, false));
    assert_eq!(ask(&gate, right(), ELSEWHERE), None, "each time");
}

#[test]
fn who_does_not_answer_lets_nobody_in_and_is_left_alone_after_a_while() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (_gate, check) = watched("nobody", &config(&format!("http://{nobody}/")));
    for _ in 0..8 {
        let verdict = check(somebody(Some("u"), Some("x")));
        assert_eq!(verdict, (UNAVAILABLE, false), "it is no guess of the client's");
    }
    let backend = Backend::answering(|_| None);
    let http_auth_timeout = Duration::from_millis(100);
    let slow = Config { http_auth_timeout, ..config(&backend.url()) };
    let (_gate, check) = watched("slow", &slow);
    for _ in 0..8 {
        assert_eq!(check(somebody(Some("u"), Some("x"))), (UNAVAILABLE, false));
    }
    assert!(
        backend.asked().len() <= 5,
        "it is not asked after five outages: {:?}",
        backend.asked()
    );
}

#[test]
fn what_is_not_understood_lets_nobody_in_and_keeps_nobody_out() {
    let backend = Backend::answering(|body| {
        Some(if body.contains("odd") { ("200 OK", "<html>") } else { ("200 OK", "allow") })
    });
    let (gate, check) = watched("odd", &config(&backend.url()));
    for _ in 0..8 {
        assert_eq!(check(somebody(Some("odd"), Some("x"))), (UNAVAILABLE, false));
    }
    assert_eq!(check(somebody(Some("u"), Some("x"))), (Verdict::Accepted, false));
    let guard = Arc::clone(&gate.guards.read().unwrap()[0]);
    let odd = Credentials { password: Some([0xFF][..].into()), ..somebody(Some("u"), None) };
    let login = Login::new(&guard, odd.clone(), ELSEWHERE, asker());
    assert!(!format!("{login:?}").contains("255"), "a password is shown: {login:?}");
    assert_eq!(check(odd), (BAD_PASSWORD, true), "it cannot be written as JSON");
    let elsewhere = Backend::always("302 Found\r\nLocation: http://127.0.0.1:1/", "allow");
    let (_gate, check) = watched("redirect", &config(&elsewhere.url()));
    assert_eq!(check(somebody(Some("u"), Some("x"))), (UNAVAILABLE, false), "not followed");
    assert_eq!(elsewhere.asked().len(), 1);
}

#[test]
fn a_file_goes_first_and_whom_it_does_not_have_is_asked_about() {
    let backend = Backend::always("200 OK", "allow");
    let file = File::new("first");
    let password_file = Optional::Set(file.0.clone());
    let both = Config { password_file, ..config(&backend.url()) };
    let (_gate, check) = watched("both", &both);
    assert_eq!(check(somebody(Some("a"), Some("b"))), (Verdict::Accepted, false));
    assert_eq!(check(somebody(Some("a"), Some("wrong"))), (BAD_PASSWORD, true), "it is his");
    assert_eq!(backend.asked().len(), 0);
    assert_eq!(check(somebody(Some("z"), Some("b"))), (Verdict::Accepted, true));
    assert_eq!(backend.asked().len(), 1);
    // The other way round the file is never read.
    let auth_methods = methods("\"http\", \"password-file\"");
    let (_gate, check) = watched("around", &Config { auth_methods, ..both });
    assert_eq!(check(somebody(Some("a"), Some("wrong"))), (Verdict::Accepted, false));
}

#[test]
fn nobody_proves_a_password_past_somebody_who_is_asked_before() {
    let backend = Backend::always("403 No", "");
    let file = File::new("proof");
    let password_file = Optional::Set(file.0.clone());
    let both = Config { password_file, ..config(&backend.url()) };
    let is_offered = |auth_methods: &str| {
        let auth_methods = methods(auth_methods);
        let (gate, _) = watched("proof", &Config { auth_methods, ..both.clone() });
        let guard = Arc::clone(&gate.guards.read().unwrap()[0]);
        guard.provable(ELSEWHERE).is_some()
    };
    assert!(is_offered("\"password-file\", \"http\""));
    assert!(!is_offered("\"http\", \"password-file\""));
}

#[test]
fn anonymous_is_whoever_says_nothing_and_no_method_before_it_knows() {
    let backend = Backend::answering(|body| {
        Some(if body.contains("username") { ("403 No", "") } else { ("200 OK", "ignore") })
    });
    let auth_methods = methods("\"http\", \"anonymous\"");
    let (_gate, check) = watched("anonymous", &Config { auth_methods, ..config(&backend.url()) });
    assert_eq!(check(somebody(None, None)), (Verdict::Accepted, false));
    assert_eq!(check(somebody(Some("u"), Some("x"))), (BAD_PASSWORD, true));
    let alone = Config { auth_methods: methods("\"anonymous\""), ..Config::default() };
    let (gate, _) = watched("alone", &alone);
    assert_eq!(ask(&gate, somebody(None, None), ELSEWHERE), Some(Verdict::AcceptedUnasked));
    // This machine is not trusted for being near when methods are named.
    let file = File::new("near-named");
    let password_file = Optional::Set(file.0.clone());
    let auth_methods = methods("\"password-file\"");
    let (gate, _) = watched("named", &Config { password_file, auth_methods, ..Config::default() });
    assert_eq!(ask(&gate, somebody(None, None), HERE), Some(NOT_AUTHORIZED));
}

#[test]
fn when_too_many_wait_to_be_asked_about_the_broker_is_busy() {
    let backend = Backend::answering(|_| None);
    let one = Config { http_auth_requests_max: 1, ..config(&backend.url()) };
    let (gate, _check) = watched("many", &one);
    let verdicts: Vec<_> =
        (0..1_100).map(|_| ask(&gate, somebody(Some("u"), Some("x")), ELSEWHERE)).collect();
    assert_eq!(verdicts[0], None);
    assert_eq!(verdicts[1_099], Some(BUSY));
    let busy = verdicts.iter().filter(|verdict| verdict.is_some()).count();
    assert!((70..=76).contains(&busy), "{busy} of 1,100: 1,024 wait, one is asked about");
}

#[test]
fn another_configuration_asks_others_and_the_same_one_goes_on() {
    let (first, second) = (Backend::always("200 OK", "allow"), Backend::always("200 OK", "deny"));
    let (gate, check) = watched("live", &config(&first.url()));
    let who = || somebody(Some("u"), Some("x"));
    assert_eq!(check(who()), (Verdict::Accepted, false));
    gate.replace(&Config { verbose: true, ..config(&first.url()) }).unwrap();
    assert_eq!(ask(&gate, who(), ELSEWHERE), Some(Verdict::Accepted), "it is remembered still");
    gate.replace(&config(&second.url())).unwrap();
    assert_eq!(ask(&gate, who(), ELSEWHERE), None, "nothing is known by the new one");
    let bad = gate.replace(&config("ftp://nowhere/")).unwrap_err().to_string();
    assert!(bad.contains("`http_auth_url`"), "{bad}");
    assert_eq!(ask(&gate, who(), ELSEWHERE), None, "as before");
}

#[test]
fn a_configuration_that_contradicts_itself_is_refused() {
    let refused = |text: &str| {
        let opened = Gate::open(&config_of(text), &mailboxes());
        opened.err().map(|error| error.to_string()).unwrap_or_default()
    };
    for (text, expected) in [
        ("auth_methods = [\"jwt\"]", "`jwt`, and there is no `jwt_keys`"),
        ("auth_methods = [\"password-file\"]", "no `password_file`"),
        ("auth_methods = [\"http\"]", "no `http_auth_url`"),
        ("auth_methods = [\"certificate\"]", "cannot show a certificate"),
        ("auth_methods = [\"certificate\"]\nclient_ca = \"c\"\ntls = false", "cannot show"),
        ("http_auth_url = \"nowhere\"", "has to begin with http"),
        ("http_auth_url = \"http://a\"\nhttp_auth_ca = \"c\"", "is for https://"),
        ("[[listener]]\nname = \"x\"\nport = 1\nauth_methods = [\"jwt\"]", "listener \"x\": "),
        (
            "allow_anonymous = true\nhttp_auth_url = \"http://a\"\nauth_methods = [\"http\"]",
            "does not name `anonymous`",
        ),
    ] {
        let said = refused(&format!("{text}\n"));
        assert!(said.contains(expected), "{text}: {said:?}");
    }
    assert_eq!(refused("auth_methods = [\"certificate\"]\nclient_ca = \"c\"\n"), "");
    let open = "bind = \"0.0.0.0\"\nhttp_auth_url = \"http://127.0.0.1:1/\"\n";
    assert_eq!(refused(open), "", "who is asked guards the network");
}
