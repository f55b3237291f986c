//! Both halves: with each other, and with what they are not to take.

use super::*;

/// The example of RFC 6455, section 1.3.
const NONCE: &[u8; 16] = b"the sample nonce";

fn request_with(change: impl Fn(&mut Vec<String>)) -> Vec<u8> {
    let mut lines: Vec<String> = [
        "GET /mqtt HTTP/1.1",
        "Host: broker.example:8083",
        "Upgrade: websocket",
        "Connection: keep-alive, Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: mqtt",
    ]
    .map(str::to_owned)
    .to_vec();
    change(&mut lines);
    format!("{}\r\n\r\n", lines.join("\r\n")).into_bytes()
}

/// The request with a line in the place of the one that begins as it does, or behind them.
fn with(line: &str) -> Vec<u8> {
    let name = line.split_inclusive([':', ' ']).next().unwrap_or_default();
    request_with(|lines| match lines.iter_mut().find(|own| own.starts_with(name)) {
        Some(own) => line.clone_into(own),
        None => lines.push(line.to_owned()),
    })
}

fn adding(line: &str) -> Vec<u8> {
    request_with(|lines| lines.push(line.to_owned()))
}

fn without(name: &str) -> Vec<u8> {
    request_with(|lines| lines.retain(|line| !line.starts_with(name)))
}

#[test]
fn the_answer_to_the_key_of_the_standard_is_that_of_the_standard() {
    let request = request_with(|_| ());
    let answer = String::from_utf8(read_request(&request).unwrap().response()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(
        answer.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
        "{answer}"
    );
    assert!(answer.contains("\r\nSec-WebSocket-Protocol: mqtt\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test] // [MQTT5-6.0.0-4] [MQTT3-6.0.0-4]
fn the_subprotocol_is_chosen_from_what_is_offered() {
    let chosen = |line: &str| read_request(&with(line)).map(|request| request.subprotocol);
    assert_eq!(chosen("Sec-WebSocket-Protocol: mqttv3.1"), Ok(Subprotocol::MqttV31));
    assert_eq!(chosen("Sec-WebSocket-Protocol: mqttv3.1, mqtt"), Ok(Subprotocol::Mqtt));
    assert_eq!(chosen("Sec-WebSocket-Protocol: chat,mqtt"), Ok(Subprotocol::Mqtt));
    assert_eq!(chosen("Sec-WebSocket-Protocol: MQTT"), Err(Refusal::Subprotocol));
    assert_eq!(chosen("Sec-WebSocket-Protocol: chat"), Err(Refusal::Subprotocol));
    let lines = request_with(|lines| {
        lines.retain(|line| !line.starts_with("Sec-WebSocket-Protocol"));
        lines.push("Sec-WebSocket-Protocol: chat".to_owned());
        lines.push("sec-websocket-protocol: mqtt".to_owned());
    });
    assert_eq!(read_request(&lines).map(|request| request.subprotocol), Ok(Subprotocol::Mqtt));
    assert_eq!(read_request(&without("Sec-WebSocket-Protocol")), Err(Refusal::Subprotocol));
}

#[test]
fn what_is_not_a_request_for_websocket_is_refused_with_its_status() {
    use Refusal::*;
    let rows: &[(Vec<u8>, Refusal, u16)] = &[
        (b"\x10\x0e\0\x04MQTT\r\n\r\n".to_vec(), NotHttp, 400),
        (b"\x16\x03\x01\x02\0\r\n\r\n".to_vec(), NotHttp, 400),
        (b"\r\n\r\n".to_vec(), NotHttp, 400),
        (with("GET mqtt HTTP/1.1"), NotHttp, 400),
        (with("GET /mq tt HTTP/1.1"), OtherVersion, 400),
        (request_with(|lines| lines[0] = "GET /mqtt".to_owned()), NotHttp, 400),
        (b"GET / HTTP/1.1\nHost: a\r\n\r\n".to_vec(), NotHttp, 400),
        (adding("no field"), NotHttp, 400),
        (adding("Space : a"), NotHttp, 400),
        (adding(" folded"), NotHttp, 400),
        (adding("Nul: \0"), NotHttp, 400),
        (b"PRI * HTTP/2.0\r\n\r\n".to_vec(), OtherVersion, 400),
        (request_with(|lines| lines[0] = "GET / HTTP/1.0".to_owned()), OtherVersion, 400),
        (request_with(|lines| lines[0] = "POST / HTTP/1.1".to_owned()), Method, 405),
        (request_with(|lines| lines[0] = "get / HTTP/1.1".to_owned()), Method, 405),
        (adding("Content-Length: 5"), Body, 413),
        (adding("Transfer-Encoding: chunked"), Body, 413),
        (without("Host"), Field("Host"), 400),
        (adding("Host: other"), Field("Host"), 400),
        (without("Upgrade"), NotWebSocket, 426),
        (with("Upgrade: h2c"), NotWebSocket, 426),
        (without("Connection"), Field("Connection"), 400),
        (with("Connection: close"), Field("Connection"), 400),
        (without("Sec-WebSocket-Version"), Field("Sec-WebSocket-Version"), 400),
        (with("Sec-WebSocket-Version: 8"), WebSocketVersion, 426),
        (without("Sec-WebSocket-Key"), Field("Sec-WebSocket-Key"), 400),
        (with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j"), Field("Sec-WebSocket-Key"), 400),
        (with("Sec-WebSocket-Key: not base64 at all!!=="), Field("Sec-WebSocket-Key"), 400),
        (adding("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), Field("Sec-WebSocket-Key"), 400),
        (
            request_with(|lines| lines.extend((0..80).map(|n| format!("X-{n}: a")))),
            HeadTooLarge,
            431,
        ),
        (adding(&format!("Cookie: {}", "a".repeat(HEAD_BYTES_MAX))), HeadTooLarge, 431),
    ];
    for (bytes, refusal, status) in rows {
        let text = String::from_utf8_lossy(bytes);
        assert_eq!(read_request(bytes), Err(*refusal), "{text}");
        assert_eq!(refusal.status(), *status, "{text}");
    }
    assert_eq!(Origin.status(), 403);
}

#[test]
fn a_refusal_is_a_whole_answer_of_http() {
    use Refusal::*;
    let all = [
        NotHttp,
        OtherVersion,
        Method,
        Field("Host"),
        Body,
        HeadTooLarge,
        NotWebSocket,
        WebSocketVersion,
        Subprotocol,
        Origin,
    ];
    for refusal in all {
        let bytes = refusal.response();
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(length) = response.parse(&bytes).unwrap() else {
            panic!("{refusal} is not whole");
        };
        assert_eq!(response.code, Some(refusal.status()));
        let field = |name: &str| {
            let header = response.headers.iter().find(|header| header.name == name)?;
            String::from_utf8(header.value.to_vec()).ok()
        };
        assert_eq!(field("Content-Length"), Some((bytes.len() - length).to_string()));
        assert!(field("Connection").is_some_and(|value| value.ends_with("close")));
        let is_426 = refusal.status() == 426;
        assert_eq!(field("Upgrade").is_some(), is_426, "{refusal}");
        assert_eq!(field("Allow").is_some(), refusal.status() == 405);
    }
}

#[test]
fn a_head_ends_where_it_ends_in_any_pieces() {
    let bytes = b"GET / HTTP/1.1\r\nA: b\r\n\r\nbehind";
    let end = bytes.len() - b"behind".len();
    for known in 0..bytes.len() {
        let whole = (known >= end).then_some(end);
        assert_eq!(head_end(&bytes[..known], 0), whole);
        for looked in 0..known.min(end - 1) {
            assert_eq!(head_end(&bytes[..known], looked), whole, "{looked} of {known}");
        }
    }
}

#[test]
fn the_nearest_address_that_is_no_proxy_of_ours_counts() {
    let is_proxy = |address: std::net::IpAddr| address.to_string().starts_with("10.");
    let from = |lines: &[&str]| {
        let bytes = request_with(|all| all.extend(lines.iter().map(|line| (*line).to_owned())));
        read_request(&bytes).unwrap().forwarded_for(is_proxy).map(|address| address.to_string())
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(from(&[]), None);
    assert_eq!(from(&["X-Forwarded-For: 192.0.2.7"]), some("192.0.2.7"));
    assert_eq!(from(&["X-Forwarded-For: 6.6.6.6, 192.0.2.7"]), some("192.0.2.7"), "hearsay");
    assert_eq!(from(&["X-Forwarded-For: 192.0.2.7, 10.0.0.1"]), some("192.0.2.7"));
    assert_eq!(
        from(&["X-Forwarded-For: 192.0.2.7", "X-Forwarded-For: 10.0.0.1"]),
        some("192.0.2.7")
    );
    assert_eq!(from(&["X-Forwarded-For: 192.0.2.7:4711"]), some("192.0.2.7"));
    assert_eq!(from(&["X-Forwarded-For: [2001:db8::1]:4711"]), some("2001:db8::1"));
    assert_eq!(from(&["X-Forwarded-For: [2001:db8::1]"]), some("2001:db8::1"));
    assert_eq!(from(&["X-Forwarded-For: unknown, 10.0.0.1"]), some("10.0.0.1"));
    assert_eq!(from(&["X-Forwarded-For: 192.0.2.7, unknown"]), None);
}

#[test] // [MQTT5-6.0.0-3] [MQTT3-6.0.0-3]
fn the_two_halves_understand_each_other() {
    for subprotocol in [Subprotocol::Mqtt, Subprotocol::MqttV31] {
        let client = ClientUpgrade::new(subprotocol).unwrap();
        let fields = [("Authorization", "Bearer abc"), ("Cookie", "a=b; c=d")];
        let request = client.request("localhost:8083", "/mqtt?a=b", &fields).unwrap();
        assert_eq!(head_end(&request, 0), Some(request.len()));
        let read = read_request(&request).unwrap();
        assert_eq!((read.target, read.subprotocol, read.origin), ("/mqtt?a=b", subprotocol, None));
        let mut answer = read.response();
        let end = answer.len();
        for part in 0..end {
            assert_eq!(client.read_response(&answer[..part]), Ok(None));
        }
        answer.extend_from_slice(&[0x82, 0]);
        assert_eq!(client.read_response(&answer), Ok(Some(end)));
    }
}

#[test]
fn a_request_cannot_be_broken_by_its_parts() {
    let client = ClientUpgrade::with_nonce(Subprotocol::Mqtt, *NONCE);
    let refused = |host: &str, target: &str, field: (&str, &str)| {
        client.request(host, target, &[field]).unwrap_err().to_string()
    };
    assert!(refused("a b", "/", ("A", "b")).contains("host"));
    assert!(refused("", "/", ("A", "b")).contains("host"));
    assert!(refused("a\r\nX: y", "/", ("A", "b")).contains("host"));
    assert!(refused("a", "mqtt", ("A", "b")).contains("path"));
    assert!(refused("a", "/ HTTP/1.1\r\nX: y", ("A", "b")).contains("path"));
    assert!(refused("a", "/", ("A:", "b")).contains("field"));
    assert!(refused("a", "/", ("", "b")).contains("field"));
    assert!(refused("a", "/", ("A", "b\r\nX: y")).contains("field"));
}

#[test]
fn an_answer_that_is_no_upgrade_is_told_apart() {
    let client = ClientUpgrade::with_nonce(Subprotocol::Mqtt, *NONCE);
    let answer = |lines: &[&str]| {
        let bytes = format!("{}\r\n\r\n", lines.join("\r\n"));
        client.read_response(bytes.as_bytes())
    };
    let good = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: WebSocket",
        "Connection: upgrade",
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "Sec-WebSocket-Protocol: mqtt",
    ];
    assert!(matches!(answer(&good), Ok(Some(_))));
    let without = |name: &str| {
        good.iter().copied().filter(|line| !line.starts_with(name)).collect::<Vec<_>>()
    };
    let not_websocket = Err(UpgradeFailure::NotWebSocket);
    assert_eq!(answer(&without("Upgrade")), not_websocket);
    assert_eq!(answer(&without("Connection")), not_websocket);
    assert_eq!(answer(&without("Sec-WebSocket-Accept")), not_websocket);
    assert_eq!(
        answer(&without("Sec-WebSocket-Protocol")),
        Err(UpgradeFailure::Subprotocol(String::new()))
    );
    let mut other = without("Sec-WebSocket-Protocol");
    other.push("Sec-WebSocket-Protocol: chat");
    assert_eq!(answer(&other), Err(UpgradeFailure::Subprotocol("chat".to_owned())));
    let mut extended = good.to_vec();
    extended.push("Sec-WebSocket-Extensions: permessage-deflate; x");
    assert_eq!(
        answer(&extended),
        Err(UpgradeFailure::Extension("permessage-deflate; x".to_owned()))
    );
    assert_eq!(
        answer(&["HTTP/1.1 404 Not Found"]),
        Err(UpgradeFailure::Status(404, "Not Found".to_owned()))
    );
    assert_eq!(client.read_response(b"\x20\x02\0\0"), Err(UpgradeFailure::NotHttp));
    assert_eq!(client.read_response(b"HTTP/2 101\r\n\r\n"), Err(UpgradeFailure::NotHttp));
    let endless = [b"HTTP/1.1 101 x\r\nA: ".to_vec(), vec![b'a'; HEAD_BYTES_MAX]].concat();
    assert_eq!(client.read_response(&endless), Err(UpgradeFailure::HeadTooLarge));
}
