//! Who is let in at the gate, without sockets: what it answers, and what it hands to its threads.

use super::setting::check_openness;
use super::*;
use crate::options::{CertificateUser, ClientAuth, Limit, Listener, Networks, Optional};
use mio::{Poll, Token, Waker};
use noctule_auth::PasswordFile;
use noctule_broker::{Now, Principal, Settings, Shard};
use noctule_cert::{Purpose, UnixTime, Validity, read_certificates, self_signed};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

const fn at([a, b, c, d]: [u8; 4]) -> Peer {
    Peer::Address(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), 9))
}

pub(super) const HERE: Origin<'_> = Origin {
    entrance: EntranceId(0),
    certificate: None,
    announced: None,
    peer: at([127, 0, 0, 1]),
};
pub(super) const ELSEWHERE: Origin<'_> = Origin { peer: at([192, 0, 2, 1]), ..HERE };
const CERTIFIED: Origin<'_> = Origin { certificate: Some(b"of somebody"), ..ELSEWHERE };

pub(super) fn somebody(user: Option<&str>, password: Option<&str>) -> Credentials {
    Credentials {
        client_id: "a".into(),
        user_name: user.map(Into::into),
        enhanced: None,
        password: password.map(|text| text.as_bytes().into()),
    }
}

/// Somebody who wants to know.
pub(super) fn asker() -> (usize, ConnectionHandle) {
    let limits = noctule_broker::Limits::default();
    let settings = Settings { limits, next_key: 1, ..Settings::default() };
    let now = Now { mono_ms: 0, wall_ms: 0 };
    (0, Shard::new(settings, now).open(now))
}

pub(super) fn ask(gate: &Gate, who: Credentials, origin: Origin<'_>) -> Option<Verdict> {
    match gate.ask(who, origin, &mut None, asker())? {
        Event::Authenticated { verdict, .. } => Some(verdict),
        other => panic!("{other:?}"),
    }
}

pub(super) fn mailboxes() -> Arc<Mailboxes> {
    let poll = Poll::new().unwrap();
    Arc::new(Mailboxes::new(vec![Waker::new(poll.registry(), Token(0)).unwrap()]))
}

pub(super) fn gate(config: &Config) -> Gate {
    Gate::open(config, &mailboxes()).unwrap()
}

/// What comes of a question, and whether it may have been a guess.
pub(super) fn checked(question: Option<Question>) -> (Verdict, bool) {
    let mut question = question.expect("a question was asked");
    loop {
        match question.work() {
            Finding::Verdict(verdict) => return (verdict, question.login.may_be_guess),
            Finding::Work(at) => question.at = at,
        }
    }
}

/// A password file with one user, `a` with the password `b`; removed at the end.
pub(super) struct File(pub(super) std::path::PathBuf);

impl File {
    pub(super) fn new(name: &str) -> Self {
        let name = format!("noctule-gate-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        PasswordFile::create(&path, true).unwrap();
        PasswordFile::set(&path, "a", b"b", None).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn without_passwords_this_machine_and_certificates_are_trusted() {
    let closed = gate(&Config::default());
    let nobody = || somebody(None, None);
    assert_eq!(ask(&closed, nobody(), HERE), Some(Verdict::AcceptedUnasked));
    assert_eq!(ask(&closed, nobody(), CERTIFIED), Some(Verdict::AcceptedUnasked));
    let claims = || somebody(Some("anna"), None);
    assert_eq!(ask(&closed, claims(), HERE), Some(Verdict::AcceptedUnasked), "who claims a name");
    assert_eq!(ask(&closed, nobody(), ELSEWHERE), Some(NOT_AUTHORIZED));
    let open = gate(&Config { allow_anonymous: true, ..Config::default() });
    assert_eq!(ask(&open, nobody(), ELSEWHERE), Some(Verdict::AcceptedUnasked));
    let unknown = Origin { entrance: EntranceId(9), ..HERE };
    assert_eq!(ask(&open, nobody(), unknown), Some(NOT_AUTHORIZED), "no such listener");
}

#[test]
fn what_a_proxy_says_of_a_certificate_counts_where_it_is_believed() {
    let certificate = |name: &str| AnnouncedCertificate { common_name: Some(name.into()) };
    let (anna, empty) = (certificate("anna"), certificate(""));
    let nobody = AnnouncedCertificate::default();
    let proxies = Networks::NONE;
    let text = "allow_anonymous = false\nproxies = [\"192.0.2.7\"]\nproxy_certificates = true\n\
                proxies_only = true\nbind = \"0.0.0.0\"\ntls = false\n";
    let known = crate::options::config_of(text);
    assert_ne!(known.proxies, proxies);
    let said =
        |gate: &Gate, announced| ask(gate, somebody(None, None), Origin { announced, ..ELSEWHERE });
    let trusted = gate(&known);
    assert_eq!(said(&trusted, Some(&anna)), Some(Verdict::AcceptedUnasked));
    assert_eq!(said(&trusted, None), Some(NOT_AUTHORIZED), "none was shown to the proxy");
    let certificate_user = CertificateUser::CommonName;
    let naming = gate(&Config { certificate_user, ..known.clone() });
    let user = |name: &str| Some(Verdict::AcceptedAs(Principal::user(name)));
    assert_eq!(said(&naming, Some(&anna)), user("anna"));
    for of_nobody in [&nobody, &empty] {
        assert_eq!(said(&naming, Some(of_nobody)), Some(NOT_AUTHORIZED));
    }
    let careful = Config { proxy_certificates: false, proxies_only: false, ..known.clone() };
    let Err(error) = Gate::open(&careful, &mailboxes()) else { panic!("it is open to all") };
    assert!(matches!(error, StartError::Open { .. }), "{error}");
    let careful = Config { bind: vec![Ipv4Addr::LOCALHOST.into()], ..careful };
    assert_eq!(said(&gate(&careful), Some(&anna)), Some(NOT_AUTHORIZED), "not believed");
}

#[test]
fn users_of_this_machine_are_near_and_whoever_a_proxy_hides_is_not() {
    let local = Peer::Local { user: 1_000, process: 7 };
    let gate = gate(&Config::default());
    let from = |peer| ask(&gate, somebody(None, None), Origin { peer, ..HERE });
    assert_eq!(from(local), Some(Verdict::AcceptedUnasked));
    assert_eq!(from(Peer::Behind(local.source())), Some(NOT_AUTHORIZED));
    assert_eq!(from(Peer::Behind(HERE.peer.source())), Some(NOT_AUTHORIZED));
}

#[test]
fn with_passwords_nobody_is_let_in_for_being_near() {
    let file = File::new("near");
    let password_file = Optional::Set(file.0.clone());
    let gate = gate(&Config { password_file, ..Config::default() });
    assert_eq!(ask(&gate, somebody(None, None), HERE), Some(NOT_AUTHORIZED));
    assert_eq!(ask(&gate, somebody(None, None), CERTIFIED), Some(Verdict::Accepted));
    assert_eq!(ask(&gate, somebody(Some("a"), None), HERE), Some(BAD_PASSWORD));
    assert_eq!(ask(&gate, somebody(Some("a"), Some("b")), HERE), None, "a thread decides");
}

/// A gate with a password file of which nobody checks passwords, but the test.
pub(super) fn unattended(file: &File, max: u32) -> (Gate, impl Fn() -> Option<Question>) {
    let (checkers, asked) = checkers::tests::nobody(64);
    let mut config = Config::default();
    config.limits.login_failures_max = Limit::At(max);
    let (gate, mailboxes) = (gate(&config), mailboxes());
    let slowed = Slowed::start(checkers.clone(), &mailboxes).unwrap();
    gate.workers.set(Workers { checkers, slowed }).unwrap();
    config.password_file = Optional::Set(file.0.clone());
    gate.replace(&config).unwrap();
    (gate, asked)
}

#[test]
fn a_login_that_was_right_needs_no_check_until_the_file_changes() {
    let file = File::new("again");
    let (gate, asked) = unattended(&file, 20);
    let login = || ask(&gate, somebody(Some("a"), Some("b")), ELSEWHERE);
    assert_eq!(login(), None);
    let question = asked().unwrap();
    assert_eq!(checked(Some(question)), (Verdict::Accepted, false));
    assert_eq!(login(), Some(Verdict::Accepted));
    assert_eq!(ask(&gate, somebody(Some("a"), Some("c")), ELSEWHERE), None, "another one");
    assert_eq!(checked(asked()), (BAD_PASSWORD, true));
    assert_eq!(ask(&gate, somebody(Some("a"), Some("c")), ELSEWHERE), None, "still wrong");
    PasswordFile::set(&file.0, "a", b"c", None).unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while login().is_some() {
        assert!(Instant::now() < end, "the new file is not read");
        std::thread::yield_now();
    }
}

#[test]
fn who_was_wrong_too_often_has_to_wait_and_is_refused_then_and_not_his_neighbours() {
    let file = File::new("often");
    let (gate, asked) = unattended(&file, 6);
    let wrong = || ask(&gate, somebody(Some("a"), Some("c")), ELSEWHERE);
    let anna = gate.failures.claim(ELSEWHERE.peer.source(), Whom::User("a"));
    let known = Arc::clone(gate.guards.read().unwrap()[0].passwords().next().unwrap());
    assert_eq!(known.check("a", b"b"), passwords::Found::Right);
    for _ in 0..5 {
        assert_eq!(wrong(), None);
        assert!(asked().is_some(), "it is checked at once");
        checkers::note(&gate.failures, anna, ELSEWHERE.peer.source());
    }
    assert_eq!(wrong(), None);
    assert!(asked().is_none(), "it has to wait");
    let end = Instant::now() + Duration::from_secs(30);
    while asked().is_none() {
        assert!(Instant::now() < end, "it is not checked");
        std::thread::yield_now();
    }
    checkers::note(&gate.failures, anna, ELSEWHERE.peer.source());
    assert_eq!(wrong(), Some(TOO_OFTEN));
    assert_eq!(ask(&gate, somebody(Some("a"), Some("c")), HERE), None, "another address");
    let right = ask(&gate, somebody(Some("a"), Some("b")), ELSEWHERE);
    assert_eq!(right, Some(Verdict::Accepted), "it was right before");
    let neighbour = somebody(Some("b"), Some("b"));
    assert_eq!(ask(&gate, neighbour, ELSEWHERE), None, "somebody else is checked");
    let proof = |data: &[u8]| {
        let (method, step) = ("SCRAM-SHA-256".into(), Step::First);
        let scram = Enhanced { method, data: Some(data.into()), step };
        Credentials { enhanced: Some(scram), ..somebody(None, None) }
    };
    assert_eq!(ask(&gate, proof(b"n,,n=a,r=x"), ELSEWHERE), Some(TOO_OFTEN));
    let mut begun = None;
    let other = gate.ask(proof(b"n,,n=b,r=x"), ELSEWHERE, &mut begun, asker());
    assert!(matches!(other, Some(Event::Challenged { .. })), "{other:?}");
}

#[test]
fn a_certificate_says_who_its_holder_is_if_that_is_asked_for() {
    let validity = Validity::for_days(UnixTime(0), 1);
    let made = self_signed(&Purpose::Client("sensor-1".into()), validity).unwrap();
    let pem = File(std::env::temp_dir().join(format!("noctule-gate-{}", std::process::id())));
    std::fs::write(&pem.0, made.certificate_pem).unwrap();
    let certificate = read_certificates(&pem.0).unwrap().remove(0);
    let shown = Origin { certificate: Some(&certificate), ..ELSEWHERE };
    let file = File::new("named");
    let config = Config {
        certificate_user: CertificateUser::CommonName,
        password_file: Optional::Set(file.0.clone()),
        ..Config::default()
    };
    let gate = gate(&config);
    let named = Some(Verdict::AcceptedAs(Principal::user("sensor-1")));
    assert_eq!(ask(&gate, somebody(None, None), shown), named);
    assert_eq!(ask(&gate, somebody(Some("a"), Some("c")), shown), named, "whatever it says");
    assert_eq!(ask(&gate, somebody(None, None), CERTIFIED), Some(NOT_AUTHORIZED), "nobody");
    assert_eq!(ask(&gate, somebody(None, None), ELSEWHERE), Some(NOT_AUTHORIZED));
    assert_eq!(ask(&gate, somebody(Some("a"), Some("b")), ELSEWHERE), None, "a password");
}

#[test]
fn when_too_many_wait_the_broker_is_busy() {
    let file = File::new("busy");
    let (gate, asked) = unattended(&file, 20);
    for _ in 0..64 {
        assert_eq!(ask(&gate, somebody(Some("a"), Some("b")), HERE), None);
    }
    assert_eq!(ask(&gate, somebody(Some("a"), Some("b")), HERE), Some(BUSY), "so many wait");
    assert!(asked().is_some());
}

#[test]
fn each_listener_has_its_own_guard_and_a_new_configuration_replaces_them() {
    let file = File::new("each");
    let text = format!(
        "[[listener]]\nport = 1\n[[listener]]\nport = 2\npassword_file = '{}'\n",
        file.0.display()
    );
    let config = crate::options::config_of(&text);
    let gate = gate(&config);
    let second = Origin { entrance: EntranceId(1), ..HERE };
    assert_eq!(ask(&gate, somebody(None, None), HERE), Some(Verdict::AcceptedUnasked));
    assert_eq!(ask(&gate, somebody(None, None), second), Some(NOT_AUTHORIZED));
    let bad = crate::options::config_of(&text.replace("each", "nowhere"));
    let said = gate.replace(&bad).unwrap_err().to_string();
    assert!(said.starts_with("listener 2 of the file: "), "{said}");
    assert_eq!(ask(&gate, somebody(None, None), second), Some(NOT_AUTHORIZED), "as before");
    let both = config.listeners[1].clone();
    let without = Config { listeners: vec![config.listeners[0].clone(), both], ..config };
    let open = Config { allow_anonymous: true, ..without };
    assert_eq!(gate.replace(&open).map_err(|error| error.to_string()), Ok(()));
    assert_eq!(ask(&gate, somebody(None, None), second), Some(Verdict::Accepted));
}

fn openness(config: &Config) -> Result<(), String> {
    let check = |listener: &Listener| {
        check_openness(listener).map_err(|error| error.of(listener).to_string())
    };
    config.all_listeners().iter().try_for_each(check)
}

#[test]
fn the_network_is_listened_to_only_with_a_guard() {
    let check = |change: fn(&mut Config)| {
        let mut config = Config { bind: vec!["0.0.0.0".parse().unwrap()], ..Config::default() };
        change(&mut config);
        openness(&config)
    };
    let said = check(|_| ()).unwrap_err();
    for word in ["0.0.0.0", "--password-file", "--client-ca", "--allow-anonymous"] {
        assert!(said.contains(word), "{said}");
    }
    assert_eq!(check(|config| config.allow_anonymous = true), Ok(()));
    assert_eq!(check(|config| config.password_file = Optional::Set("p".into())), Ok(()));
    assert_eq!(check(|config| config.client_ca = Optional::Set("p".into())), Ok(()));
    assert_eq!(check(|config| config.bind = vec!["127.0.0.7".parse().unwrap()]), Ok(()));
    assert!(
        check(|config| {
            config.client_ca = Optional::Set("p".into());
            config.client_auth = ClientAuth::Optional;
        })
        .is_err()
    );
    assert!(
        check(|config| {
            config.client_ca = Optional::Set("p".into());
            config.tls = false;
        })
        .is_err()
    );
}

#[test]
fn a_listener_of_its_own_needs_a_guard_of_its_own() {
    let guarded = "[[listener]]\nname = \"far\"\nbind = \"0.0.0.0\"\nport = 1\n\
                   transport = \"tls\"\nclient_ca = \"ca\"\n";
    assert_eq!(openness(&crate::options::config_of(guarded)), Ok(()));
    let plain = guarded.replace("\"tls\"", "\"tcp\"");
    let said = openness(&crate::options::config_of(&plain)).unwrap_err();
    assert!(said.starts_with("listener \"far\": listening on 0.0.0.0 would let"), "{said}");
    assert!(said.contains("`allow_anonymous = true`"), "{said}");
    let open = format!("{guarded}[[listener]]\nbind = \"::\"\nport = 2\n");
    let said = openness(&crate::options::config_of(&open)).unwrap_err();
    assert!(said.starts_with("listener 2 of the file: "), "{said}");
}

#[test]
fn a_token_is_taken_in_place_of_a_password() {
    let all: serde_json::Value =
        serde_json::from_str(include_str!("../../../auth/tests/tokens/tokens.json")).unwrap();
    let token = |name: &str| all[name].as_str().unwrap().to_owned();
    let keys = File(std::env::temp_dir().join(format!("noctule-gate-keys-{}", std::process::id())));
    std::fs::write(&keys.0, include_str!("../../../auth/tests/tokens/jwks.json")).unwrap();
    let file = File::new("tokens");
    let config = Config {
        jwt_keys: Optional::Set(keys.0.clone()),
        jwt_audience: "noctule".into(),
        ..Config::default()
    };
    let (gate, asked) = unattended(&file, 20);
    gate.replace(&config).unwrap();
    let check = |user, password: &str| {
        assert_eq!(ask(&gate, somebody(user, Some(password)), ELSEWHERE), None);
        checked(asked())
    };
    let anna = (Verdict::AcceptedAs(Principal::user("anna")), false);
    assert_eq!(check(None, &token("ES256")), anna);
    assert_eq!(check(Some("anna"), &token("RS256")), anna);
    assert_eq!(check(Some("bert"), &token("RS256")), (BAD_PASSWORD, false), "it names another");
    assert_eq!(check(None, &token("NO_END")), (BAD_PASSWORD, false));
    assert_eq!(check(None, &token("CONFUSED")), (BAD_PASSWORD, true));
    assert_eq!(check(None, &token("NONE")), (BAD_PASSWORD, true));
    // There is no password file.
    assert_eq!(ask(&gate, somebody(Some("a"), Some("b")), ELSEWHERE), Some(BAD_PASSWORD));
    assert_eq!(ask(&gate, somebody(None, None), HERE), Some(NOT_AUTHORIZED));
    let password_file = Optional::Set(file.0.clone());
    let jwt_client_id_claim = "dev".into();
    gate.replace(&Config { password_file, jwt_client_id_claim, ..config }).unwrap();
    assert_eq!(check(Some("a"), "b"), (Verdict::Accepted, false), "both ways are open");
    assert_eq!(check(None, &token("ES256")), (OTHER_CLIENT, false));
}
