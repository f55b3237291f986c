//! What comes from other loops and goes to them: mail of the shards, connections on their way home,
//! the order to stop.

use super::line::Length;
use super::{EventLoop, LINGER_MS, Taps};
use crate::arrivals::Visit;
use crate::entrances::Rules;
use crate::mailboxes::Letter;
use crate::sockets::{Announced, Socket};
use noctule_broker::{ConnectionHandle, Departure, Now, Policies, ShardId};
use noctule_net::{AnnouncedCertificate, Peer, Pipe};

impl EventLoop {
    /// Reads what is in the boxes. Says whether there was anything.
    pub(super) fn read_letters(&mut self, now: Now) -> bool {
        let mut letters = std::mem::take(&mut self.read);
        self.mailboxes.collect(self.number, &mut letters, &mut self.emptied);
        let came = !letters.is_empty();
        for letter in letters.drain(..) {
            match letter {
                Letter::Mail(mail) => self.shard.on_mail(mail, now),
                Letter::Arrival { pipe, peer, taps, certificate, visit, departure } => {
                    self.welcome((pipe, peer, certificate), taps, visit, departure, now);
                }
                Letter::System(topics) => {
                    for (topic, value) in topics {
                        self.shard.publish_system(&topic, value.as_bytes(), now);
                    }
                }
                Letter::Stored(event) => {
                    self.shard.handle(event, now);
                    self.look_at_store();
                }
                Letter::StoreState => self.look_at_store(),
                Letter::Answer(event) => {
                    self.shard.handle(event, now);
                    // Whoever goes home by it has left a slot that the next one to come gets, whose
                    // socket must not find another one there.
                    self.carry_out_all(now);
                }
                Letter::Rules(rules) => self.take_up(&rules),
                Letter::Policies(policies) => {
                    self.shard.set_authority(Policies::clone(&policies), now);
                }
                Letter::Stop if self.stop_by_ms.is_none() => {
                    self.listeners.clear();
                    self.stop_by_ms = Some(now.mono_ms + LINGER_MS);
                    self.shard.shut_down(now);
                }
                Letter::Stop => {}
            }
        }
        self.read = letters;
        for (from, emptied) in self.emptied.iter_mut().enumerate() {
            self.shard.take_emptied(ShardId(from as u16), emptied);
        }
        came
    }

    /// The configuration has changed.
    fn take_up(&mut self, rules: &Rules) {
        self.shard.set_entrances(rules.entrances.clone());
        self.shard.set_limits(rules.limits.clone());
        self.connections_max = rules.limits.connections_max;
        self.observers.messages = rules.log_messages;
    }

    /// A connection comes from the loop that accepted it, to stay.
    fn welcome(
        &mut self,
        (pipe, peer, certificate): (Pipe, Peer, Option<Box<AnnouncedCertificate>>),
        taps: Option<Box<Taps>>,
        visit: Option<Visit>,
        departure: Departure,
        now: Now,
    ) {
        let connection = self.shard.arrive(departure, now);
        self.adopt(connection, pipe, (peer, Announced::No), visit, now);
        // Its input was left unread, and what came meanwhile was told to the other loop.
        if let Some(socket) = self.sockets.of(connection) {
            socket.set_taps(taps);
            if certificate.is_some() {
                socket.set_announced(certificate);
            }
            // What comes next stands in the middle of something: it says nothing of what the peer speaks, and
            // whose the connection is was found out by the other loop.
            socket.heard = true;
            socket.readable = true;
            self.list(connection, Length::Short);
        }
        if self.stop_by_ms.is_some() {
            // It was on its way when everybody was told.
            self.shard.shut_down(now);
        }
    }

    /// A connection goes to the loop where its session lives.
    pub(super) fn send_home(
        &mut self,
        connection: ConnectionHandle,
        to: ShardId,
        departure: Departure,
    ) {
        let Some(mut socket) = self.sockets.remove(connection) else {
            return self.shard.give_up(departure);
        };
        let _ = self.poll.registry().deregister(&mut socket.pipe);
        let (peer, taps) = (socket.peer(), socket.take_taps());
        let certificate = socket.take_certificate();
        let Socket { pipe, visit, .. } = socket;
        let letter = Letter::Arrival { pipe, peer, taps, certificate, visit, departure };
        self.written[usize::from(to.0)].push(letter);
    }

    /// Posts what was written to other loops: one batch for each, at the end of the turn.
    pub(super) fn post(&mut self) {
        for to in 0..self.written.len() {
            if to == self.number {
                continue;
            }
            let other = ShardId(to as u16);
            self.shard.take_mail(other, &mut self.mail);
            let letters = &mut self.written[to];
            letters.extend(self.mail.drain(..).map(Letter::Mail));
            if !letters.is_empty() {
                self.mailboxes.post(self.number, to, letters, &mut self.parcels);
                for parcel in self.parcels.drain(..) {
                    self.shard.supply_parcel(other, parcel);
                }
            }
        }
    }
}
