//! Two shards in two threads, with the real locks between them. What the simulation cannot make,
//! because it runs in one thread: that one shard is inside a function while another one is.

use super::{Access, Shared};
use noctule_broker::{
    Action, Cause, ConnectionHandle, Event, Mail, Now, Settings, Shard, ShardId, Verdict,
};
use std::io::IoSlice;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

const NOW: Now = Now { mono_ms: 1_000, wall_ms: 1_700_000_000_000 };
/// MQTT 3.1.1, clean session, and no client identifier: the broker makes one that lives here.
const CONNECT: &[u8] = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00";
const SUBSCRIBE: &[u8] = b"\x82\x06\x00\x01\x00\x01t\x00";
const UNSUBSCRIBE: &[u8] = b"\xa2\x05\x00\x02\x00\x01t";

/// A shard with one client, and its mail.
struct Node {
    shard: Shard,
    other: ShardId,
    client: ConnectionHandle,
    to_other: Sender<Mail>,
    from_other: Receiver<Mail>,
}

impl Node {
    fn new(shared: &Arc<Shared>, id: u16, to_other: Sender<Mail>, from: Receiver<Mail>) -> Self {
        let settings = Settings { seed: [id as u8 + 1; 32], ..Settings::default() };
        let access = Rc::new(Access(Arc::clone(shared)));
        let mut shard = Shard::among(settings, ShardId(id), access, NOW);
        let client = shard.open(NOW);
        let other = ShardId(1 - id);
        let mut node = Self { shard, other, client, to_other, from_other: from };
        node.say(CONNECT);
        assert_eq!(node.hear(), b"\x20\x02\x00\x00", "CONNACK");
        node
    }

    /// The client says something, and the shard has a turn.
    fn say(&mut self, bytes: &[u8]) {
        self.shard.on_bytes(self.client, bytes, NOW);
        self.turn();
    }

    fn turn(&mut self) {
        while let Ok(mail) = self.from_other.try_recv() {
            self.shard.on_mail(mail, NOW);
        }
        self.shard.work(NOW);
        self.shard.end_turn();
        while let Some(action) = self.shard.next_action() {
            match action {
                Action::Authenticate { connection, .. } => {
                    let verdict = Verdict::Accepted;
                    self.shard.handle(Event::Authenticated { connection, verdict }, NOW);
                }
                Action::Persist { ticket, .. } => {
                    self.shard.handle(Event::Persisted(ticket), NOW);
                }
                Action::Close(_) => panic!("the client is closed"),
                _ => {}
            }
            self.shard.end_turn();
        }
        let mut mail = Vec::new();
        self.shard.take_mail(self.other, &mut mail);
        // The other one may have finished.
        mail.into_iter().for_each(|letter| drop(self.to_other.send(letter)));
    }

    /// What the client hears next.
    fn hear(&mut self) -> Vec<u8> {
        self.shard.take_dirty(&mut Vec::new());
        let mut bytes = Vec::new();
        if let Some(output) = self.shard.output(self.client) {
            let mut slices = [IoSlice::new(&[]); 4];
            let filled = output.slices(&mut slices);
            slices[..filled].iter().for_each(|slice| bytes.extend_from_slice(slice));
        }
        self.shard.on_written(self.client, bytes.len());
        bytes
    }
}

/// A PUBLISH of a number to `t`, retained.
fn publish(number: u32) -> Vec<u8> {
    let mut packet = b"\x31\x07\x00\x01t".to_vec();
    packet.extend(number.to_be_bytes());
    packet
}

/// The numbers in PUBLISH packets to `t`, in order; other packets are left out.
fn numbers(mut bytes: &[u8]) -> Vec<u32> {
    let mut found = Vec::new();
    while let [first, length, rest @ ..] = bytes {
        let (body, behind) = rest.split_at(usize::from(*length));
        if first >> 4 == 3 {
            found.push(u32::from_be_bytes(body[3..7].try_into().unwrap()));
        }
        bytes = behind;
    }
    found
}

/// A shard that sets a retained message and looks for its receivers, and one that subscribes and
/// looks for retained messages: whoever subscribes gets one message, and from there on each one,
/// once, however the two meet.
#[test]
fn a_subscription_gets_a_retained_message_and_all_after_it_without_a_gap() {
    const MESSAGES: u32 = 60_000;
    let shared = Arc::new(Shared::new(2, 5));
    let ((to_b, from_a), (to_a, from_b)) = (channel(), channel());
    let published = AtomicU32::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (shared, published) = (&shared, &published);
            let mut node = Node::new(shared, 0, to_b, from_b);
            for number in 1..=MESSAGES {
                node.say(&publish(number));
                // Slowed for a receiver that is behind, it has not been published yet.
                while !node.shard.wants_input(node.client) {
                    thread::yield_now();
                    node.turn();
                }
                published.store(number, Ordering::Release);
            }
            node.shard.on_closed(node.client, Cause::PeerClosed, NOW);
        });
        let mut node = Node::new(&shared, 1, to_a, from_a);
        let mut subscriptions = 0;
        loop {
            let before = published.load(Ordering::Acquire);
            if before == MESSAGES {
                break;
            }
            node.say(SUBSCRIBE);
            let mut heard = numbers(&node.hear());
            // A few more, some of which may have been on their way.
            for _ in 0..subscriptions % 7 {
                node.turn();
                heard.extend(numbers(&node.hear()));
            }
            node.say(UNSUBSCRIBE);
            heard.extend(numbers(&node.hear()));
            let first = heard.first().copied().unwrap_or(before);
            assert!(first >= before, "the retained message {first} is older than {before}");
            let gap = heard.windows(2).find(|pair| pair[0] + 1 != pair[1]);
            assert_eq!(gap, None, "in subscription {subscriptions}, from {first} on");
            subscriptions += 1;
        }
        assert!(subscriptions > 100, "only {subscriptions} met the publisher");
    });
}
