//! A network that breaks: passes bytes on between clients and a broker, and cuts each connection, or
//! passes nothing on any more, after a number of bytes that chance decides, by a seed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A running proxy; dropped, it closes everything.
pub(crate) struct Proxy {
    port: u16,
    faults: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

/// How a connection breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is reset.
    Cut,
    /// It stays open, and nothing passes any more.
    Stall,
}

/// The halves of a connection that has stalled: to the client and to the broker.
type Stalled = (OwnedReadHalf, OwnedWriteHalf, OwnedReadHalf, OwnedWriteHalf);

/// So many bytes pass before a fault, at least and at most.
const BYTES: std::ops::Range<u64> = 200..6_000;

impl Proxy {
    /// In front of the broker at `port`. It breaks `faults_max` connections, and then no more.
    pub(crate) async fn start(port: u16, fault: Fault, faults_max: usize, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let own = listener.local_addr().expect("bound").port();
        let faults = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&faults);
        let accepting = tokio::spawn(async move {
            let mut chance = fastrand::Rng::with_seed(seed);
            let mut stalled = Vec::new();
            while let Ok((client, _)) = listener.accept().await {
                let budget = chance.u64(BYTES);
                let goes_on = counter.load(Ordering::Relaxed) >= faults_max;
                let budget = if goes_on { u64::MAX } else { budget };
                // One connection at a time: a client has one, and the next follows a fault.
                if let Ok(Some(broken)) = pass(client, port, fault, budget).await {
                    counter.fetch_add(1, Ordering::Relaxed);
                    stalled.extend(broken);
                }
            }
        });
        Self { port: own, faults, accepting }
    }

    /// Where clients connect.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How many connections were broken so far.
    pub(crate) fn faults(&self) -> usize {
        self.faults.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Passes bytes on until either end closes, or `budget` of them have passed in both directions
/// together, which is the fault: then what is to be kept of it.
async fn pass(
    client: TcpStream,
    port: u16,
    fault: Fault,
    mut budget: u64,
) -> io::Result<Option<Option<Stalled>>> {
    let broker = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_broker, mut to_broker) = broker.into_split();
    let (mut up, mut down) = ([0; 1024], [0; 1024]);
    while budget > 0 {
        let passed = tokio::select! {
            read = from_client.read(&mut up) => {
                hand_on(&up[..read?], &mut to_broker, budget).await?
            }
            read = from_broker.read(&mut down) => {
                hand_on(&down[..read?], &mut to_client, budget).await?
            }
        };
        if passed == 0 {
            break;
        }
        budget -= passed;
    }
    if budget == 0 && fault == Fault::Stall {
        return Ok(Some(Some((from_client, to_client, from_broker, to_broker))));
    }
    close(from_client, &to_client);
    close(from_broker, &to_broker);
    Ok((budget == 0).then_some(None))
}

/// Writes as much of it as the budget allows, so that a cut may be in the middle of a packet.
async fn hand_on(bytes: &[u8], to: &mut OwnedWriteHalf, budget: u64) -> io::Result<u64> {
    let count = bytes.len().min(usize::try_from(budget).unwrap_or(usize::MAX));
    to.write_all(&bytes[..count]).await?;
    Ok(count as u64)
}

/// Both halves are dropped; nothing that was not passed on is delivered late.
fn close(reader: OwnedReadHalf, writer: &OwnedWriteHalf) {
    drop(reader);
    let _ = writer.as_ref().set_zero_linger();
}
