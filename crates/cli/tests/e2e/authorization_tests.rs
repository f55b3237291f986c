//! Who may do what: the rules of a file, beside Debian's mosquitto and by themselves.

use std::fs;
use std::process::Command;

use rustix::process::Signal;

use crate::broker::{Broker, noctule};
use crate::foreign;
use crate::login::passwd;
use crate::mosquitto_broker::free_port;
use crate::program::{Finished, Program};
use crate::room::Room;

/// Rules in Mosquitto's language, with everything that it has; see `acl_outcomes.py`.
const RULES: &str = "\
# rules for clients without a name
topic read open
topic open/#
topic readwrite marker
topic read zz/last
topic deny open/secret

user root
topic #
topic $own/#

user anna
topic anna/#
topic deny anna/secret/#
topic   write   otto/in
topic marker
topic zz/last

user otto
topic read otto/in
topic write otto/out
topic marker
topic zz/last

user with blanks
topic readwrite w ith/blanks
topic read $own/#
topic marker
topic zz/last

user nobody
topic marker
topic zz/last

user plus+
topic marker
topic users/#
topic zz/last

user #
topic marker
topic zz/last

pattern readwrite users/%u/#
pattern deny users/%u/private
pattern read clients/%c/#
pattern write clients/%c/x
pattern both/%u/%c
pattern read all/+
pattern deny all/deny
pattern read percent/%%u
pattern $own/%u
";

fn outcomes(port: u16, version: &str) -> Program {
    let mut command = foreign::python();
    command.arg(foreign::script("acl_outcomes.py"));
    Program::start(command.args(["127.0.0.1", &port.to_string(), version]))
}

/// The same file, the same clients, the same outcome; ours by the translation of its configuration, with
/// one loop, since what clients of several say is not in one order.
fn same_as_mosquitto(version: &str) {
    let room = Room::new();
    room.file("acl", RULES.as_bytes());
    let (theirs, ours) = (free_port(), free_port());
    let acl = room.path().join("acl");
    let config = |port: u16| {
        format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nacl_file {}\nlog_dest stdout\n",
            acl.display()
        )
    };
    // It gives up root, and could not read our room then.
    let conf = room.file("theirs.conf", format!("{}user root\n", config(theirs)).as_bytes());
    let mosquitto = Program::start(foreign::mosquitto_broker().arg("-c").arg(conf));
    mosquitto.expect("line that says running", |line| line.contains(" running").then_some(()));
    let conf = room.file("ours.conf", config(ours).as_bytes());
    let toml = Program::start(noctule().arg("convert").arg(conf)).finish().well().lines.join("\n");
    room.file("noctule.toml", toml.as_bytes());
    let mut command = noctule();
    command.args(["broker", "--config", "noctule.toml", "--shards", "1"]);
    let broker = Program::start(command.current_dir(room.path()));
    broker.expect("line that says ready", |line| line.contains("ready").then_some(()));
    let both = [outcomes(theirs, version), outcomes(ours, version)];
    let [theirs, ours] = both.map(|program| program.finish().well().lines);
    assert_eq!(theirs.last().map(String::as_str), Some("ok"));
    assert!(theirs.len() > 80, "{}", theirs.len());
    for (theirs, ours) in theirs.iter().zip(&ours) {
        assert_eq!(theirs, ours, "mosquitto's is left");
    }
    assert_eq!(theirs.len(), ours.len());
    broker.signal(Signal::TERM);
    broker.finish().well();
}

#[test]
fn the_same_file_lets_the_same_clients_do_the_same_as_in_mosquitto_in_version_3() {
    same_as_mosquitto("3.1.1");
}

#[test]
fn the_same_file_lets_the_same_clients_do_the_same_as_in_mosquitto_in_version_5() {
    same_as_mosquitto("5");
}

/// A broker with users anna, otto and root, whose password is `x`, and these rules.
fn governed(rules: &str, file: &str, flags: &[&str]) -> Broker {
    let room = Room::new();
    passwd(&room, &["create", "p"], "");
    for user in ["anna", "otto", "root"] {
        passwd(&room, &["add", "p", user, "--password-stdin"], "x");
    }
    room.file(file, rules.as_bytes());
    let usual = ["--password-file", "p", "--allow-anonymous", "--acl-file", file];
    Broker::in_room(room, &[&usual, flags].concat())
}

/// One of mosquitto's clients, as a user.
fn as_user(broker: &Broker, program: &str, user: &str, arguments: &[&str]) -> Command {
    let mut command = foreign::mosquitto(program);
    command.args(["-h", &broker.host(), "-p", &broker.port(), "-u", user, "-P", "x"]);
    command.args(arguments);
    command
}

fn publishes(broker: &Broker, user: &str, arguments: &[&str]) -> Finished {
    Program::start(&mut as_user(broker, "mosquitto_pub", user, arguments)).finish()
}

/// A subscriber that has been granted its filters.
fn subscribed(broker: &Broker, user: &str, arguments: &[&str]) -> Program {
    let more = [&["-v", "-d"], arguments].concat();
    let program = Program::start(&mut as_user(broker, "mosquitto_sub", user, &more));
    program.expect("grant", |line| line.starts_with("Subscribed").then_some(()));
    program
}

fn expect_line(program: &Program, expected: &str) {
    program.expect(expected, |line| {
        assert!(!line.starts_with("secret"), "{line}");
        (line == expected).then_some(())
    });
}

#[test]
fn a_changed_file_holds_at_once_for_what_is_subscribed_to_and_queued_and_a_broken_one_changes_nothing()
 {
    let open = "user root\ntopic #\nuser anna\ntopic a/#\n";
    let closed = "user root\ntopic #\nuser anna\ntopic a/#\ntopic deny a/s\n";
    let broker = governed(open, "rules", &[]);
    // One that is away, and one that is there.
    let kept = ["-c", "-i", "kept", "-q", "1", "-t", "a/#"];
    let away = subscribed(&broker, "anna", &kept);
    away.signal(Signal::INT);
    away.finish();
    let there = subscribed(&broker, "anna", &["-t", "a/#"]);
    let say = |topic: &str, text: &str| {
        publishes(&broker, "root", &["-q", "1", "-t", topic, "-m", text]).well();
    };
    say("a/s", "first");
    expect_line(&there, "a/s first");

    fs::write(broker.path("rules"), closed).unwrap();
    broker.program().signal(Signal::HUP);
    broker.program().expect_complaint(&["file of rules read again", "rules=3"]);
    say("a/s", "second");
    say("a/b", "third");
    there.expect("third", |line| {
        assert!(!line.contains("second"), "{line}");
        (line == "a/b third").then_some(())
    });
    let back = Program::start(&mut as_user(
        &broker,
        "mosquitto_sub",
        "anna",
        &[&kept[..], &["-v", "-C", "1", "-W", "30"]].concat(),
    ));
    assert_eq!(back.finish().well().lines, ["a/b third"], "what was queued before is withheld");

    fs::write(broker.path("rules"), "user anna\ntopic reed a/#\n").unwrap();
    broker.program().signal(Signal::HUP);
    let said = broker.program().expect_complaint(&["rules:2: expected read"]);
    assert!(said.contains("ERROR"), "{said}");
    broker.program().expect_complaint(&["CANNOT BE USED"]);
    say("a/s", "fourth");
    say("a/b", "fifth");
    there.expect("fifth", |line| {
        assert!(!line.contains("fourth"), "{line}");
        (line == "a/b fifth").then_some(())
    });

    // And without a signal.
    fs::write(broker.path("rules"), open).unwrap();
    broker.program().expect_complaint(&["file of rules read again", "rules=2"]);
    say("a/s", "sixth");
    expect_line(&there, "a/s sixth");
    there.signal(Signal::INT);
    there.finish();
}

#[test]
fn rules_in_tables_refuse_filters_that_are_too_wide_in_the_words_of_each_version() {
    let rules = "[groups]\nfolk = [\"anna\", \"otto\"]\n\n[[rule]]\ngroups = \"folk\"\n\
                 allow = [\"read\", \"publish\"]\ntopics = [\"home/%u/#\", \"$SYS/broker/version\"]\n\n\
                 [[rule]]\ndeny = \"wildcards\"\ntopics = \"home/otto/#\"\n";
    let broker = governed(rules, "rules.toml", &["--sys-interval", "1"]);
    let subscribe = |user: &str, version: &str, filter: &str| {
        let arguments = ["-V", version, "-d", "-E", "-t", filter];
        let finished =
            Program::start(&mut as_user(&broker, "mosquitto_sub", user, &arguments)).finish();
        finished.lines.join("\n")
    };
    assert!(subscribe("anna", "5", "home/anna/+").contains("Subscribed (mid: 1): 0"));
    for (user, filter) in
        [("anna", "#"), ("anna", "home/#"), ("otto", "home/otto/#"), ("anna", "home/otto/x")]
    {
        let said = subscribe(user, "5", filter);
        assert!(said.contains("Subscribed (mid: 1): 135"), "{user} {filter}: {said}");
        let said = subscribe(user, "311", filter);
        assert!(said.contains("Subscribed (mid: 1): 128"), "{user} {filter}: {said}");
    }
    let watcher = subscribed(&broker, "anna", &["-t", "home/anna/#", "-t", "$SYS/broker/version"]);
    let refused =
        publishes(&broker, "otto", &["-V", "5", "-q", "1", "-t", "home/anna/x", "-m", "no"]);
    assert!(refused.complaints.contains("Not authorized"), "{refused:?}");
    // Version 3 has no word for it.
    publishes(&broker, "otto", &["-q", "1", "-t", "home/anna/x", "-m", "no"]).well();
    publishes(&broker, "anna", &["-q", "1", "-t", "home/anna/x", "-m", "yes"]).well();
    watcher.expect("yes", |line| {
        assert_ne!(line, "home/anna/x no");
        (line == "home/anna/x yes").then_some(())
    });
    watcher.signal(Signal::INT);
    watcher.finish();
    broker.program().expect_complaint(&[
        "denied",
        "otto",
        "publish on home/anna/x",
        "no rule of rules.toml",
    ]);
}

#[test]
fn in_the_shadow_denials_are_logged_and_nothing_is_denied() {
    let broker = governed("user root\ntopic #\n", "rules", &["--acl-shadow"]);
    broker.program().expect_complaint(&["acl_shadow"]);
    let watcher = subscribed(&broker, "otto", &["-t", "x"]);
    publishes(&broker, "anna", &["-q", "1", "-t", "x", "-m", "passed"]).well();
    expect_line(&watcher, "x passed");
    watcher.signal(Signal::INT);
    watcher.finish();
    broker.program().expect_complaint(&["would be denied", "anna", "publish on x"]);
    broker.program().expect_complaint(&["would be denied", "otto", "read x"]);
}

/// Where nobody is asked for a password, saying a name gives nothing, unless an option says so.
#[test]
fn a_name_that_nobody_has_verified_gives_no_rights_unless_an_option_says_so() {
    let rules = "topic readwrite open/#\nuser anna\ntopic anna/#\npattern readwrite users/%u/#\n";
    let broker = |flags: &[&str]| {
        let room = Room::new();
        room.file("rules", rules.as_bytes());
        Broker::in_room(room, &[&["--acl-file", "rules"], flags].concat())
    };
    let says = |broker: &Broker, topic: &str| {
        let arguments = ["-V", "5", "-q", "1", "-t", topic, "-m", "x"];
        let finished = publishes(broker, "anna", &arguments);
        !finished.complaints.contains("Not authorized")
    };
    let careful = broker(&[]);
    careful.program().expect_complaint(&["rules for users hold for nobody", "password_file"]);
    assert!(!says(&careful, "anna/x"));
    assert!(!says(&careful, "users/anna/x"));
    assert!(says(&careful, "open/x"), "it has the rights of a client without a name");
    careful.program().expect_complaint(&["denied", "anna/x", "its user name counts for nothing"]);
    let trusting = broker(&["--acl-trust-claimed-names"]);
    trusting.program().expect_complaint(&["acl_trust_claimed_names", "whoever says that name"]);
    let watcher = subscribed(&trusting, "anna", &["-t", "anna/#"]);
    assert!(says(&trusting, "anna/x"));
    assert!(says(&trusting, "users/anna/x"));
    assert!(!says(&trusting, "open/x"), "topics without a user are for clients without a name");
    expect_line(&watcher, "anna/x x");
    watcher.signal(Signal::INT);
    watcher.finish();
}

#[test]
fn a_will_without_a_right_is_refused_or_left_out() {
    let rules = "user anna\ntopic a\n";
    let will = ["-q", "1", "-t", "a", "-m", "x", "--will-topic", "b", "--will-payload", "lost"];
    let broker = governed(rules, "rules", &[]);
    let refused = publishes(&broker, "anna", &will);
    assert!(refused.complaints.contains("not authorised"), "{refused:?}");
    let broker = governed(rules, "rules", &["--acl-denied-will", "drop"]);
    publishes(&broker, "anna", &will).well();
}

#[test]
fn rules_that_cannot_be_used_stop_the_start() {
    for (text, words) in [
        ("", "has no rules"),
        ("topic read\nuser\n", "rules:2: expected a user name"),
        ("topic read a\n\nread b\n", "rules:3: expected a line that begins with"),
    ] {
        let room = Room::new();
        room.file("rules", text.as_bytes());
        let mut command = noctule();
        command.args(["broker", "--no-tls", "--port", "0", "--in-memory", "--acl-file", "rules"]);
        let finished = Program::start(command.current_dir(room.path())).finish();
        assert_eq!(finished.status.code(), Some(1));
        assert!(finished.complaints.contains(words), "{finished:?}");
    }
}

#[test]
fn what_a_retained_message_says_is_withheld_once_its_publisher_may_not_say_it_any_more() {
    let open = "topic read t\nuser anna\ntopic t\n";
    let broker = governed(open, "rules", &[]);
    publishes(&broker, "anna", &["-r", "-q", "1", "-t", "t", "-m", "kept"]).well();
    let found = || {
        let arguments = ["-t", "t", "-C", "1", "-W", "2"];
        Program::start(&mut as_user(&broker, "mosquitto_sub", "anna", &arguments)).finish().lines
    };
    assert_eq!(found(), ["kept"]);
    fs::write(broker.path("rules"), "topic read t\nuser anna\ntopic read t\n").unwrap();
    broker.program().signal(Signal::HUP);
    broker.program().expect_complaint(&["file of rules read again"]);
    assert!(found().is_empty());
}

/// A token of `anna` with these claims besides, signed with HS256 under a secret of 32 bytes `k`.
fn token(claims: &str) -> String {
    let script = "import base64, hashlib, hmac, json, sys\n\
        code = lambda b: base64.urlsafe_b64encode(b).rstrip(b'=')\n\
        claims = {'sub': 'anna', 'exp': 4102444800} | json.loads(sys.argv[1])\n\
        text = b'.'.join(code(json.dumps(part).encode()) for part in ({'alg': 'HS256'}, claims))\n\
        print((text + b'.' + code(hmac.digest(b'k' * 32, text, 'sha256'))).decode())";
    let finished = Program::start(foreign::python().args(["-c", script, claims])).finish().well();
    finished.lines[0].clone()
}

#[test]
fn a_token_may_say_what_its_bearer_may_do_and_the_rules_what_not() {
    let room = Room::new();
    // 32 times the letter k.
    let secret = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s";
    let keys = format!(r#"{{"keys":[{{"kty":"oct","alg":"HS256","k":"{secret}"}}]}}"#);
    room.file("keys.json", keys.as_bytes());
    room.file("rules.toml", b"[[rule]]\nallow = \"publish\"\ntopics = \"all\"\n[[rule]]\ndeny = \"publish\"\ntopics = \"never\"\n");
    let flags = ["--jwt-keys", "keys.json", "--jwt-acl-claim", "acl", "--acl-file", "rules.toml"];
    let broker = Broker::in_room(room, &flags);
    let publish = |token: &str, topic: &str| {
        let mut command = foreign::mosquitto("mosquitto_pub");
        command.args(["-h", &broker.host(), "-p", &broker.port(), "-V", "5", "-q", "1"]);
        command.args(["-u", "anna", "-P", token, "-i", "c1", "-t", topic, "-m", "x"]);
        let finished = Program::start(&mut command).finish();
        let refused = finished.complaints.contains("Connection error");
        let denied = finished.complaints.contains("Not authorized");
        if refused {
            "refused"
        } else if denied {
            "denied"
        } else {
            "published"
        }
    };
    let rights = r#"{"acl": {"publish": ["own/%u/#", "never"], "deny": {"publish": ["all"]}}}"#;
    let with = token(rights);
    assert_eq!(publish(&with, "own/anna/x"), "published");
    assert_eq!(publish(&with, "own/otto/x"), "denied");
    assert_eq!(publish(&with, "never"), "denied", "the rules say so");
    assert_eq!(publish(&with, "all"), "denied", "the token says so");
    let without = token("{}");
    assert_eq!(publish(&without, "all"), "published");
    assert_eq!(publish(&without, "own/anna/x"), "denied");
    assert_eq!(publish(&token(r#"{"acl": ["all"]}"#), "all"), "refused");
    broker.program().expect_complaint(&["denied", "anna", "publish on own/otto/x"]);
}

/// What stands in the first block of a kind on the page about rules that holds some words.
fn block(kind: &str, words: &str) -> String {
    let page = include_str!("../../../../docs/authorization.md");
    let fence = format!("```{kind}\n");
    let blocks = page.split(&*fence).skip(1);
    let mut blocks = blocks.filter_map(|rest| Some(rest.split_once("\n```")?.0));
    blocks.find(|block| block.contains(words)).expect("the block").to_owned()
}

#[test]
fn the_page_about_rules_is_right() {
    let room = Room::new();
    room.file("rules.toml", block("toml rules", "[groups]").as_bytes());
    room.file("rules", block("text", "pattern readwrite").as_bytes());
    for (file, rules) in [("rules.toml", 6), ("rules", 5)] {
        let mut command = noctule();
        command.args(["acl", "check", file]).current_dir(room.path());
        let finished = Program::start(&mut command).finish().well();
        assert_eq!(finished.lines, [format!("ok, {rules} rules")]);
    }
    let shown = block("text", "noctule acl test");
    let mut lines = shown.lines();
    let arguments =
        lines.next().and_then(|line| line.strip_prefix("$ noctule acl test rules.toml "));
    let arguments = arguments.expect("the command").replace('\'', "");
    let mut command = noctule();
    command.args(["acl", "test", "rules.toml"]).args(arguments.split(' ')).current_dir(room.path());
    let finished = Program::start(&mut command).finish();
    let expected: Vec<&str> = lines.take_while(|line| !line.starts_with('$')).collect();
    assert_eq!(finished.lines, expected);
    assert_eq!(finished.status.code(), Some(1));
    assert!(shown.ends_with("$ echo $?\n1"));
}

#[test]
fn acl_test_explains_a_decision_and_says_it_by_its_exit_code() {
    let room = Room::new();
    room.file("rules", RULES.as_bytes());
    let run = |arguments: &[&str]| {
        let mut command = noctule();
        command.arg("acl").args(arguments).current_dir(room.path());
        Program::start(&mut command).finish()
    };
    let allowed =
        run(&["test", "rules", "--user", "anna", "--publish", "anna/x", "--read", "all/x"]).well();
    assert_eq!(
        allowed.lines,
        [
            "allowed: user \"anna\" wants to publish on anna/x",
            "  by rules:13: allow publish, read on anna/# (user \"anna\")",
            "allowed: user \"anna\" wants to read all/x",
            "  by rules:49: allow read on all/+ (everybody)",
        ]
    );
    let denied = run(&["test", "rules", "--user", "anna", "--read", "anna/secret/x"]);
    assert_eq!(denied.status.code(), Some(1));
    assert_eq!(
        denied.lines[1],
        "  by rules:14: deny publish, read on anna/secret/# (user \"anna\")"
    );
    let nothing = run(&["test", "rules", "--client-id", "a/b", "--read", "clients/a/b/x"]);
    assert_eq!(nothing.lines[1], "  no rule of rules allows it");
    let wrong = run(&["test", "rules", "--publish", "a/#"]);
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
    let unasked = run(&["test", "rules", "--user", "anna"]);
    assert_eq!(unasked.status.code(), Some(2), "{unasked:?}");
    assert_eq!(run(&["check", "rules"]).well().lines, ["ok, 36 rules"]);
    room.file("bad", b"topic a\nuser\npattern reed %u\n");
    let bad = run(&["check", "bad"]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(bad.complaints.contains("bad:2: expected a user name"), "{bad:?}");
    assert!(bad.complaints.contains("bad:3: expected read, write"), "{bad:?}");
}
