//! Clients that fight for one client id: each connects, is thrown out by the next, and comes back at
//! once. Meanwhile somebody sends to the id's session, which is kept. Every message must reach
//! one of them, and again only as a repetition.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use noctule_mqtt::{PacketType, QoS};

use super::{Scene, Trial};
use crate::LoadError;
use crate::caller::{Caller, Step};
use crate::checker::Faults;
use crate::endpoint::Endpoint;
use crate::link::{Link, Opening};
use crate::packets::{self, Arrival, Mark, Template};

/// The trial.
#[derive(Debug, Clone)]
pub struct Duel {
    /// How many fight.
    pub clients: u32,
    /// How long.
    pub duration: Duration,
}

impl Trial for Duel {
    fn name(&self) -> String {
        format!("duel of {}", self.clients)
    }

    fn run(&self, scene: &mut Scene) -> Result<(), LoadError> {
        let mut arena = Arena::open(scene.address, scene.run, self.clients)?;
        scene.phase("fight");
        arena.fight(self.duration, true)?;
        let news = arena.won;
        scene.fact("let in", news as f64);
        scene.fact("let in/s", (news as f64 / self.duration.as_secs_f64()).round());
        scene.fact("refused", arena.refused as f64);
        scene.phase("peace");
        arena.fight(PEACE, false)?;
        scene.fact("still there", arena.present() as f64);
        scene.fact("sent", arena.sent as f64);
        let repeated: u64 = arena.times.iter().map(|times| times.again).sum();
        scene.fact("repeated", repeated as f64);
        scene.faults(arena.faults());
        arena.close(scene.address, scene.run)
    }
}

/// How long nobody comes back before those who are left are counted.
const PEACE: Duration = Duration::from_secs(2);

struct Arena {
    address: SocketAddr,
    poll: Poll,
    connect: Vec<u8>,
    fighters: Vec<Option<Caller>>,
    sender: Link,
    template: Template,
    sent: u64,
    acknowledged: u64,
    /// How often each message came. What a client thrown out had got may be read here after the
    /// repetition that the next one got: the order between connections says nothing.
    times: Vec<Times>,
    won: u64,
    refused: u64,
    scratch: Vec<u8>,
}

/// How often a message came for the first time, as it said, and how often as a repetition.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    first: u64,
    again: u64,
}

impl Arena {
    /// Makes the session, and sends nobody in yet.
    fn open(address: SocketAddr, run: u32, clients: u32) -> Result<Self, LoadError> {
        let poll = Poll::new().map_err(|error| LoadError::io("cannot poll", error))?;
        let (id, topic) = (format!("duel-{run:08x}"), format!("duel/{run:08x}"));
        Opening::resume(&address.into(), &id)?.subscribe(&topic, QoS::AtLeastOnce)?;
        let sender = Opening::connect(&address.into(), &format!("duel-to-{run:08x}"), 0)?;
        Ok(Self {
            address,
            sender: sender.start(poll.registry(), Token(clients as usize))?,
            connect: Endpoint::from(address).connect(&id, 0, false)?,
            fighters: (0..clients).map(|_| None).collect(),
            template: Template::new(&topic, QoS::AtLeastOnce, packets::MARK_BYTES)?,
            poll,
            sent: 0,
            acknowledged: 0,
            times: Vec::new(),
            won: 0,
            refused: 0,
            scratch: vec![0; 64 * 1024],
        })
    }

    /// For a while; whoever is thrown out comes back if there is war.
    fn fight(&mut self, duration: Duration, war: bool) -> Result<(), LoadError> {
        let end = Instant::now() + duration;
        let mut events = Events::with_capacity(1_024);
        let mut next_message = Instant::now();
        while Instant::now() < end {
            if war {
                self.come_back()?;
                if Instant::now() >= next_message {
                    self.send()?;
                    next_message = Instant::now() + BETWEEN_MESSAGES;
                }
            }
            if let Err(error) = self.poll.poll(&mut events, Some(BETWEEN_MESSAGES))
                && error.kind() != std::io::ErrorKind::Interrupted
            {
                return Err(LoadError::io("cannot poll", error));
            }
            for event in &events {
                self.turn(event.token().0)?;
            }
        }
        Ok(())
    }

    fn come_back(&mut self) -> Result<(), LoadError> {
        for (number, fighter) in self.fighters.iter_mut().enumerate() {
            if fighter.is_none() {
                let registry = self.poll.registry();
                *fighter = Some(Caller::call(&self.address.into(), registry, Token(number))?);
            }
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), LoadError> {
        if self.sent - self.acknowledged < WINDOW {
            let mark = Mark { publisher: 0, sequence: self.sent };
            self.template.append(mark, self.sender.out());
            self.sent += 1;
            self.times.push(Times::default());
            self.sender.flush()?;
        }
        Ok(())
    }

    fn turn(&mut self, index: usize) -> Result<(), LoadError> {
        let Some(place) = self.fighters.get_mut(index) else {
            let acknowledged = &mut self.acknowledged;
            self.sender.read(&mut self.scratch, |frame, _| {
                *acknowledged += u64::from(frame.type_bits() == PacketType::Puback as u8);
            })?;
            return self.sender.flush();
        };
        let Some(fighter) = place else {
            return Ok(());
        };
        let times = &mut self.times;
        let step = fighter.turn(&self.connect, &mut self.scratch, |frame, out| {
            if frame.type_bits() != PacketType::Publish as u8 {
                return;
            }
            let Arrival::Ours { mark, packet_id, .. } = packets::arrival(frame) else {
                return;
            };
            packet_id.into_iter().for_each(|id| packets::append_puback(id, out));
            if let Some(times) = times.get_mut(mark.sequence as usize) {
                let says_again = frame.flags() & DUP != 0;
                times.again += u64::from(says_again);
                times.first += u64::from(!says_again);
            }
        });
        match step {
            Step::Nothing => {}
            Step::LetIn => self.won += 1,
            Step::Refused => {
                self.refused += 1;
                *place = None;
            }
            Step::Gone => *place = None,
        }
        Ok(())
    }

    fn present(&self) -> usize {
        self.fighters.iter().flatten().filter(|fighter| fighter.is_in()).count()
    }

    fn faults(&self) -> Faults {
        Faults {
            lost: self.times.iter().filter(|times| times.first + times.again == 0).count() as u64,
            doubled: self.times.iter().map(|times| times.first.saturating_sub(1)).sum(),
            unacknowledged: self.sent - self.acknowledged,
            ..Faults::default()
        }
    }

    /// Ends the session.
    fn close(self, address: SocketAddr, run: u32) -> Result<(), LoadError> {
        drop(self);
        Opening::connect(&address.into(), &format!("duel-{run:08x}"), 0).map(|_| ())
    }
}

const BETWEEN_MESSAGES: Duration = Duration::from_millis(2);
const WINDOW: u64 = 500;
/// Of a PUBLISH: it may have come before.
const DUP: u8 = 0b1000;
