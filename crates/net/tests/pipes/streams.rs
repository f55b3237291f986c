//! Bytes through a TLS pipe, in all the ways that readiness makes hard.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::mpsc::channel;
use std::thread;

use crate::peers::{House, Served};

/// Bytes whose order can be seen.
fn pattern(len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

#[test]
fn both_versions_carry_bytes_both_ways_and_say_what_was_agreed_on() {
    for (version, name) in
        [(&rustls::version::TLS12, "TLS 1.2"), (&rustls::version::TLS13, "TLS 1.3")]
    {
        let house = House::new();
        let (mut client, mut served) = house.connect(&house.config_of(&[version], None));
        assert!(served.pipe.is_handshaking() && served.pipe.tls_facts().is_none());
        let talking = thread::spawn(move || {
            client.write_all(b"question").unwrap();
            let mut answer = [0; 6];
            client.read_exact(&mut answer).unwrap();
            answer
        });
        assert_eq!(served.read_exactly(8, 100), b"question");
        served.write_all(b"answer");
        assert_eq!(&talking.join().unwrap(), b"answer");
        let facts = served.pipe.tls_facts().unwrap();
        assert_eq!((facts.version, facts.is_resumed), (name, false));
        assert_eq!(facts.server_name.as_deref(), Some("localhost"));
        assert!(facts.cipher.starts_with("TLS"), "{facts:?}");
        assert_eq!(facts.client_certificate, None);
    }
}

#[test]
fn bytes_right_behind_the_handshake_are_not_forgotten() {
    let house = House::new();
    // Larger than one read of the socket, smaller than one record; read in small pieces.
    let sent = pattern(10_000);
    let (mut client, mut served) = house.connect(&house.config());
    let (tell, told) = channel();
    let bytes = sent.clone();
    let talking = thread::spawn(move || {
        // The session keeps them, and they leave together with its Finished.
        client.write_all(&bytes).unwrap();
        tell.send(()).unwrap();
        client
    });
    let first = served.read(10).unwrap();
    told.recv().unwrap();
    // All has been sent, and perhaps told of: from here on no event needs to come.
    let mut all = first;
    all.extend(served.read_exactly(sent.len() - all.len(), 7));
    assert!(all == sent);
    assert!(!served.pipe.holds_input());
    talking.join().unwrap().sock.shutdown(Shutdown::Write).unwrap();
    assert_eq!(served.read(10).unwrap(), b"");
}

#[test]
fn a_short_read_means_that_the_socket_is_empty() {
    let house = House::new();
    let sent = pattern(200_000);
    let (mut client, mut served) = house.connect(&house.config());
    let bytes = sent.clone();
    let talking = thread::spawn(move || {
        client.write_all(&bytes).unwrap();
        client
    });
    assert!(served.read_exactly(sent.len(), 64 * 1024) == sent);
    drop(talking.join().unwrap());
}

#[test]
fn large_writes_wait_for_a_reader_that_stalls() {
    let house = House::new();
    let sent = pattern(24_000_000);
    let (mut client, mut served) = house.connect(&house.config());
    let (go, gone) = channel();
    let expected = sent.clone();
    let talking = thread::spawn(move || {
        client.write_all(b"x").unwrap();
        gone.recv().unwrap();
        let mut received = vec![0; expected.len()];
        client.read_exact(&mut received).unwrap();
        received == expected
    });
    served.read_exactly(1, 1);
    let written = served.write_now(&sent);
    assert!(written < sent.len(), "the socket took everything");
    assert!(served.pipe.wants_write());
    let unsent = served.pipe.held();
    assert!((1..=80 * 1024).contains(&unsent), "{unsent} encrypted bytes wait");
    // While it is full, nothing more is taken: what is held does not grow.
    for _ in 0..100 {
        let error = served.pipe.write(&sent[written..]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }
    go.send(()).unwrap();
    served.write_all(&sent[written..]);
    assert!(talking.join().unwrap());
    assert!(!served.pipe.wants_write());
    assert_eq!(served.pipe.held(), 0);
}

#[test]
fn slices_leave_in_order_also_empty_and_many() {
    let house = House::new();
    let (mut client, mut served) = house.connect(&house.config());
    let talking = thread::spawn(move || {
        client.write_all(b"x").unwrap();
        let mut received = vec![0; 9 + 70_000];
        client.read_exact(&mut received).unwrap();
        received
    });
    served.read_exactly(1, 1);
    assert_eq!(served.write_slices(&[]), 0);
    assert_eq!(served.write_slices(&[b"", b""]), 0);
    assert_eq!(served.write_slices(&[b"", b"one", b"", b"two", b"thr"]), 9);
    let large = pattern(70_000);
    let pieces: Vec<&[u8]> = large.chunks(1_000).collect();
    let mut written = 0;
    while written < large.len() {
        // As a loop does: from the slice that was not taken whole.
        let whole = written / 1_000;
        assert_eq!(written % 1_000, 0, "a slice was taken in part though the socket has room");
        written += served.write_slices(&pieces[whole..]);
    }
    let received = talking.join().unwrap();
    assert!(received.starts_with(b"onetwothr") && received[9..] == large);
}

#[test]
fn a_pipe_moves_to_another_thread_with_all_it_holds() {
    let house = House::new();
    let sent = pattern(12_000);
    let replied = pattern(9_000_000);
    let (mut client, mut served) = house.connect(&house.config());
    let (bytes, expected) = (sent.clone(), replied.clone());
    let (go, gone) = channel();
    let talking = thread::spawn(move || {
        client.write_all(&bytes).unwrap();
        gone.recv().unwrap();
        let mut received = vec![0; expected.len()];
        client.read_exact(&mut received).unwrap();
        received == expected
    });
    let mut received = served.read_exactly(5_000, 1_000);
    // It leaves with decrypted bytes that nobody has read and encrypted ones that have not left.
    let written = served.write_now(&replied);
    assert!(served.pipe.holds_input() && served.pipe.wants_write());
    let pipe = served.leave();
    let other = thread::spawn(move || {
        let mut served = Served::new(pipe);
        let rest = served.read_exactly(7_000, 700);
        go.send(()).unwrap();
        served.write_all(&replied[written..]);
        rest
    });
    received.extend(other.join().unwrap());
    assert!(received == sent);
    assert!(talking.join().unwrap());
}
