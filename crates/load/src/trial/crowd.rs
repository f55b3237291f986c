//! Very many connections: all come as fast as they can, all say something at once, all leave at
//! once.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use noctule_mqtt::PacketType;

use super::{Scene, Trial};
use crate::LoadError;
use crate::caller::{Caller, Step};
use crate::checker::Faults;
use crate::endpoint::Endpoint;
use crate::packets::PINGREQ;
use crate::process;

/// The trial.
#[derive(Debug, Clone)]
pub struct Crowd {
    /// How many connections. This process and the broker must be allowed so many open files.
    pub connections: u32,
    /// How many may be on their way in at a time.
    pub at_once: u32,
}

impl Trial for Crowd {
    fn name(&self) -> String {
        format!("crowd of {}", self.connections)
    }

    fn run(&self, scene: &mut Scene) -> Result<(), LoadError> {
        let files = scene.pid.map(process::open_files).transpose()?;
        let mut throng = Throng::new(scene.address, scene.run, self.connections)?;
        scene.phase("comes");
        let begin = Instant::now();
        throng.come(self.at_once)?;
        let seconds = begin.elapsed().as_secs_f64();
        scene.fact("let in", throng.inside() as f64);
        scene.fact("let in/s", (throng.inside() as f64 / seconds).round());
        scene.fact("refused", throng.refused as f64);
        scene.fact("longest wait ms", throng.longest_wait.as_secs_f64() * 1_000.0);
        scene.phase("pings");
        let inside = throng.inside();
        let answered = throng.ping()?;
        scene.fact("answered", answered as f64);
        let lost = (inside as u64).saturating_sub(answered);
        scene.faults(Faults { lost, ..Faults::default() });
        scene.phase("leaves");
        drop(throng);
        if let (Some(pid), Some(files)) = (scene.pid, files) {
            wait_for_the_end(pid, files)?;
        }
        std::thread::sleep(AFTER);
        Ok(())
    }
}

/// Until the broker has no more files open than before.
fn wait_for_the_end(pid: u32, files: usize) -> Result<(), LoadError> {
    let deadline = Instant::now() + PATIENCE;
    while process::open_files(pid)? > files {
        if Instant::now() > deadline {
            return Err(LoadError::new("the broker still holds connections of those who left"));
        }
        std::thread::sleep(STEP);
    }
    Ok(())
}

const PATIENCE: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(10);
const AFTER: Duration = Duration::from_millis(500);

/// Clients that come and stay.
pub(super) struct Throng {
    /// How each introduces itself, by its number.
    endpoint_of: Box<dyn Fn(usize) -> Endpoint>,
    poll: Poll,
    run: u32,
    members: Vec<Member>,
    pub(super) refused: u64,
    longest_wait: Duration,
    answered: u64,
    scratch: Vec<u8>,
}

struct Member {
    caller: Option<Caller>,
    since: Instant,
}

impl Throng {
    fn new(address: SocketAddr, run: u32, connections: u32) -> Result<Self, LoadError> {
        Self::of(move |_| address.into(), run, connections)
    }

    pub(super) fn of(
        endpoint_of: impl Fn(usize) -> Endpoint + 'static,
        run: u32,
        connections: u32,
    ) -> Result<Self, LoadError> {
        let poll = Poll::new().map_err(|error| LoadError::io("cannot poll", error))?;
        let nobody = || Member { caller: None, since: Instant::now() };
        Ok(Self {
            endpoint_of: Box::new(endpoint_of),
            poll,
            run,
            members: (0..connections).map(|_| nobody()).collect(),
            refused: 0,
            longest_wait: Duration::ZERO,
            answered: 0,
            scratch: vec![0; 4_096],
        })
    }

    pub(super) fn inside(&self) -> usize {
        let callers = self.members.iter().filter_map(|member| member.caller.as_ref());
        callers.filter(|caller| caller.is_in()).count()
    }

    /// Until everybody is in or sent away, or nothing moves any more.
    pub(super) fn come(&mut self, at_once: u32) -> Result<(), LoadError> {
        let mut events = Events::with_capacity(1_024);
        let (mut called, mut under_way) = (0, 0);
        let mut moved = Instant::now();
        while called < self.members.len() || under_way > 0 {
            while called < self.members.len() && under_way < at_once as usize {
                let endpoint = (self.endpoint_of)(called);
                let caller = Caller::call(&endpoint, self.poll.registry(), Token(called))?;
                self.members[called] = Member { caller: Some(caller), since: Instant::now() };
                (called, under_way) = (called + 1, under_way + 1);
            }
            let steps = self.turn(&mut events)?;
            under_way -= steps;
            if steps > 0 {
                moved = Instant::now();
            }
            if moved.elapsed() > PATIENCE {
                return Err(LoadError::new(format!("{under_way} connections get no answer")));
            }
        }
        Ok(())
    }

    /// Everybody says something; how many were answered.
    fn ping(&mut self) -> Result<u64, LoadError> {
        let mut asked = 0;
        for member in &mut self.members {
            let caller = member.caller.as_mut().filter(|caller| caller.is_in());
            asked += caller.map_or(0, |caller| u64::from(caller.say(&PINGREQ)));
        }
        let mut events = Events::with_capacity(1_024);
        let deadline = Instant::now() + PATIENCE;
        while self.answered < asked && Instant::now() < deadline {
            self.turn(&mut events)?;
        }
        Ok(self.answered)
    }

    /// Polls once; how many were let in, refused or lost on their way in.
    fn turn(&mut self, events: &mut Events) -> Result<usize, LoadError> {
        if let Err(error) = self.poll.poll(events, Some(STEP))
            && error.kind() != std::io::ErrorKind::Interrupted
        {
            return Err(LoadError::io("cannot poll", error));
        }
        let mut settled = 0;
        for event in &*events {
            let number = event.token().0;
            let member = &mut self.members[number];
            let Some(caller) = &mut member.caller else {
                continue;
            };
            let was_in = caller.is_in();
            let answered = &mut self.answered;
            let connect = (self.endpoint_of)(number).connect(
                &format!("crowd-{:08x}-{number}", self.run),
                0,
                true,
            )?;
            let step = caller.turn(&connect, &mut self.scratch, |frame, _| {
                *answered += u64::from(frame.type_bits() == PacketType::Pingresp as u8);
            });
            match step {
                Step::Nothing => continue,
                Step::LetIn => {
                    self.longest_wait = self.longest_wait.max(member.since.elapsed());
                }
                Step::Refused | Step::Gone => {
                    self.refused += u64::from(!was_in);
                    member.caller = None;
                }
            }
            settled += usize::from(!was_in);
        }
        Ok(settled)
    }
}
