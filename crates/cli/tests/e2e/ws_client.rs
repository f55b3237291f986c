//! A raw client by WebSocket: any bytes of HTTP and of frames, made here and not by our own code.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use crate::program::DEADLINE;

/// First bytes of frames that are whole in themselves.
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const TEXT: u8 = 0x81;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;

/// A connection to a port for WebSocket.
pub(crate) struct WsClient {
    stream: TcpStream,
    /// Payload that was received and not asked for.
    payload: Vec<u8>,
}

impl WsClient {
    /// Connects and says nothing.
    pub(crate) fn silent(port: &str) -> Self {
        let port: u16 = port.parse().expect("a port");
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the broker accepts");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        stream.set_write_timeout(Some(DEADLINE)).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        Self { stream, payload: Vec::new() }
    }

    /// Connects and upgrades.
    pub(crate) fn new(port: &str) -> Self {
        Self::asking(port, &request(""))
    }

    /// Connects and upgrades by this request.
    pub(crate) fn asking(port: &str, request: &str) -> Self {
        let mut client = Self::silent(port);
        client.send_raw(request.as_bytes());
        let (status, head) = client.answer();
        assert_eq!(status, 101, "{head}");
        assert!(
            head.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
            "{head}"
        );
        client
    }

    /// Sends bytes as they are.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("an open connection");
    }

    /// Sends one binary frame.
    pub(crate) fn send(&mut self, payload: &[u8]) {
        self.send_raw(&frame(BINARY, payload));
    }

    /// The answer of HTTP: its status, and its head.
    pub(crate) fn answer(&mut self) -> (u16, String) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).expect("an answer");
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("text");
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        (status.unwrap_or_else(|| panic!("no status: {head}")), head)
    }

    /// The next frame: its first byte, and its payload.
    pub(crate) fn receive_frame(&mut self) -> (u8, Vec<u8>) {
        let mut start = [0; 2];
        self.stream.read_exact(&mut start).expect("a frame");
        let mut long = [0; 8];
        let length = match start[1] {
            126 => {
                self.stream.read_exact(&mut long[6..]).expect("a length");
                u64::from_be_bytes(long)
            }
            127 => {
                self.stream.read_exact(&mut long).expect("a length");
                u64::from_be_bytes(long)
            }
            short => {
                assert!(short < 126, "a frame of a server with a mask");
                short.into()
            }
        };
        let mut payload = vec![0; usize::try_from(length).expect("a length")];
        self.stream.read_exact(&mut payload).expect("payload");
        (start[0], payload)
    }

    /// The next `count` bytes of payload, in however many binary frames.
    pub(crate) fn receive(&mut self, count: usize) -> Vec<u8> {
        while self.payload.len() < count {
            let (first, payload) = self.receive_frame();
            assert_eq!(first, BINARY, "{payload:?}");
            self.payload.extend(payload);
        }
        let rest = self.payload.split_off(count);
        std::mem::replace(&mut self.payload, rest)
    }

    /// The code of the close frame that comes next, and nothing behind it but the end.
    pub(crate) fn closed(&mut self) -> u16 {
        let (first, payload) = self.receive_frame();
        assert_eq!((first, payload.len()), (CLOSE, 2), "{payload:?}");
        assert!(self.rest().is_empty(), "something behind a close frame");
        u16::from_be_bytes([payload[0], payload[1]])
    }

    /// What is left until the end, which has to come.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => rest,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => rest,
            Err(error) => panic!("not closed: {error}"),
        }
    }

    /// Finishes writing, and reads on.
    pub(crate) fn finish_writing(&self) {
        self.stream.shutdown(std::net::Shutdown::Write).expect("an open connection");
    }
}

/// A request for an upgrade with more `fields`, each with its line end. Its key is that of the standard.
pub(crate) fn request(fields: &str) -> String {
    format!(
        "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: mqtt\r\n{fields}\r\n"
    )
}

/// A client's frame.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const KEY: [u8; 4] = [0x5a, 0x00, 0xff, 0x81];
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..126 => bytes.push(0x80 | len as u8),
        len @ 126..65_536 => {
            bytes.push(0xfe);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0xff);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(KEY);
    bytes.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}
