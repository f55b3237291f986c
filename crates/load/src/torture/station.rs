//! A client of the torture: its connection, which comes and goes, and its half of the conversation,
//! which stays.
//!
//! What the packets mean to a publisher, a subscriber or a looker is their own matter.

use std::time::{Duration, Instant};

use mio::{Registry, Token};
use noctule_mqtt::codec::{self, Frame};
use noctule_mqtt::packet::Connack;
use noctule_mqtt::{Packet, ReasonCode, Receiver};

use super::books::Books;
use super::findings::Kind;
use super::looker::{self, Looker};
use super::newcomer::Newcomer;
use super::packet::Pen;
use super::publisher::Publisher;
use super::subscriber::Subscriber;
use crate::LoadError;
use crate::endpoint::Endpoint;
use crate::link::Link;
use crate::packets::DISCONNECT;

/// What a client does.
#[derive(Debug)]
pub(crate) enum Role {
    /// It publishes.
    Publisher(Publisher),
    /// It subscribes.
    Subscriber(Subscriber),
    /// It subscribes to retained messages again and again.
    Newcomer(Newcomer),
    /// It looks at retained messages once, in a session of its own.
    Looker(Looker),
}

/// A client.
#[derive(Debug)]
pub(crate) struct Station {
    client_id: String,
    pub(crate) role: Role,
    /// Whether it is to be connected.
    pub(crate) wanted: bool,
    /// Whether it never leaves.
    pub(crate) stays: bool,
    link: Option<Link>,
    /// Whether CONNACK came on this connection.
    accepted: bool,
    /// Whether the broker must know its session.
    known: bool,
    retry_at: Option<Instant>,
}

impl Station {
    /// One that has never been connected.
    pub(crate) fn new(client_id: String, role: Role, stays: bool) -> Self {
        Self {
            client_id,
            role,
            wanted: true,
            stays,
            link: None,
            accepted: false,
            known: false,
            retry_at: None,
        }
    }

    /// Whether it is connected and can do its work.
    pub(crate) fn is_up(&self) -> bool {
        self.accepted
            && match &self.role {
                Role::Subscriber(subscriber) => subscriber.is_subscribed(),
                Role::Newcomer(newcomer) => newcomer.is_up(),
                Role::Publisher(_) | Role::Looker(_) => true,
            }
    }

    /// Its half of the conversation, if it subscribes.
    pub(crate) fn subscriber(&self) -> Option<&Subscriber> {
        match &self.role {
            Role::Subscriber(subscriber) => Some(subscriber),
            _ => None,
        }
    }

    /// Connects, or leaves, if that is due.
    pub(crate) fn come_or_go(
        &mut self,
        broker: &Endpoint,
        registry: &Registry,
        token: Token,
        pen: &Pen,
    ) -> Result<(), LoadError> {
        match (&mut self.link, self.wanted) {
            (Some(link), false) => {
                link.out().extend_from_slice(&DISCONNECT);
                // If it does not get through, it was a connection that broke.
                let _ = link.flush();
                self.hang_up();
            }
            (None, true) if self.retry_at.is_none_or(|at| at <= Instant::now()) => {
                self.dial(broker, registry, token, pen)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn dial(
        &mut self,
        broker: &Endpoint,
        registry: &Registry,
        token: Token,
        pen: &Pen,
    ) -> Result<(), LoadError> {
        self.retry_at = Some(Instant::now() + RETRY);
        let keep = !matches!(self.role, Role::Looker(_));
        let connect = pen.connect(&self.client_id, keep)?;
        // The broker may be dying; that is seen elsewhere.
        if let Ok(mut link) = Link::dial(broker, &self.client_id, registry, token) {
            link.out().extend_from_slice(&connect);
            self.link = Some(link);
        }
        Ok(())
    }

    /// Its connection is gone.
    pub(crate) fn hang_up(&mut self) {
        self.link = None;
        self.accepted = false;
        if let Role::Newcomer(newcomer) = &mut self.role
            && newcomer.hang_up()
        {
            (self.client_id, self.known) = (newcomer.client_id(), false);
        }
    }

    /// Whether it has a connection.
    pub(crate) fn is_linked(&self) -> bool {
        self.link.is_some()
    }

    /// Puts out what there is to say, as far as the socket takes it.
    pub(crate) fn speak(&mut self, books: &mut Books, pen: &mut Pen) -> Result<(), LoadError> {
        let Some(link) = &mut self.link else {
            return Ok(());
        };
        if self.accepted {
            match &mut self.role {
                Role::Publisher(publisher) => publisher.send(books, pen, link.out())?,
                Role::Subscriber(subscriber) => subscriber.ask(pen, link.out())?,
                Role::Newcomer(newcomer) => newcomer.go_on(books, pen, link.out())?,
                Role::Looker(looker) => looker.go_on(books, pen, link.out())?,
            }
        }
        if link.has_unsent() && link.flush().is_err() {
            self.cut(books);
        }
        Ok(())
    }

    /// Reads what came; whether the connection is still there.
    ///
    /// # Errors
    /// If it is nothing that a broker may say.
    pub(crate) fn listen(
        &mut self,
        scratch: &mut [u8],
        books: &mut Books,
        pen: &Pen,
    ) -> Result<bool, LoadError> {
        let Some(mut link) = self.link.take() else {
            return Ok(true);
        };
        let mut problem = None;
        let read = link.read(scratch, |frame, out| {
            if problem.is_none() {
                problem = self.take(frame, books, pen, out).err();
            }
        });
        self.link = Some(link);
        if let Some(problem) = problem {
            return Err(LoadError::new(format!("{}: {problem}", self.client_id)));
        }
        Ok(read.is_ok() && !self.is_closed())
    }

    /// Reads what a dead broker had still said, and hangs up.
    ///
    /// # Errors
    /// As [`listen`](Self::listen).
    pub(crate) fn listen_to_the_end(
        &mut self,
        scratch: &mut [u8],
        books: &mut Books,
        pen: &Pen,
    ) -> Result<(), LoadError> {
        // Each time a buffer full, and a dead process says nothing new.
        while self.is_linked() && self.listen(scratch, books, pen)? {}
        self.hang_up();
        Ok(())
    }

    /// The end of the connection was reached, or it broke.
    pub(crate) fn cut(&mut self, books: &mut Books) {
        if self.link.is_some() {
            books.tally.cut += 1;
        }
        self.hang_up();
    }

    fn is_closed(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.check_open().is_err())
    }

    fn take(
        &mut self,
        frame: &Frame<'_>,
        books: &mut Books,
        pen: &Pen,
        out: &mut Vec<u8>,
    ) -> Result<(), LoadError> {
        let packet = codec::decode(frame, pen.version, Receiver::Client)
            .map_err(|violation| LoadError::new(format!("the broker sent {violation}")))?;
        match &packet {
            Packet::Connack(connack) => return self.on_connack(connack, books, pen, out),
            Packet::Suback(suback) if suback.reasons.iter().all(|one| *one == GRANTED) => {
                match &mut self.role {
                    Role::Subscriber(subscriber) => subscriber.granted(books),
                    Role::Newcomer(newcomer) => newcomer.granted(),
                    Role::Looker(looker) => looker.granted(),
                    Role::Publisher(_) => {}
                }
                return Ok(());
            }
            _ => {}
        }
        if let Packet::Publish(publish) = &packet
            && publish.topic.is_some_and(|topic| topic.as_str().starts_with('$'))
        {
            // What the broker says of itself is nobody's message.
            return Ok(());
        }
        let taken = match &mut self.role {
            Role::Publisher(publisher) => publisher.take(&packet, books, pen, out)?,
            Role::Subscriber(subscriber) => subscriber.take(&packet, books, pen, out),
            Role::Newcomer(newcomer) => newcomer.take(&packet, books, pen, out)?,
            Role::Looker(looker) => looker.take(&packet, books, pen, out),
        };
        if taken {
            return Ok(());
        }
        Err(LoadError::new(format!("the broker sent {packet:?}, which was not expected")))
    }

    fn on_connack(
        &mut self,
        connack: &Connack<'_>,
        books: &mut Books,
        pen: &Pen,
        out: &mut Vec<u8>,
    ) -> Result<(), LoadError> {
        if connack.reason != ReasonCode::Success {
            return Err(LoadError::new(format!("CONNECT was refused: {:?}", connack.reason)));
        }
        self.accepted = true;
        books.move_on();
        if self.known && connack.session_present {
            books.tally.resumed += 1;
        } else if self.known {
            self.begin_anew(books);
        }
        let receive_maximum = connack.properties.receive_maximum().unwrap_or(u16::MAX);
        match &mut self.role {
            Role::Publisher(publisher) => {
                publisher.resume(receive_maximum);
                self.known = true;
            }
            Role::Subscriber(subscriber) => {
                subscriber.resume();
                self.known = true;
            }
            Role::Newcomer(newcomer) => {
                newcomer.resume(receive_maximum);
                self.known = true;
            }
            Role::Looker(looker) => {
                looker.resume();
                out.extend_from_slice(&pen.subscribe(&[looker::FILTER])?);
            }
        }
        Ok(())
    }

    fn begin_anew(&mut self, books: &mut Books) {
        let id = &self.client_id;
        books.findings.note(Kind::SessionGone, || {
            format!("CONNACK says that {id} has no session, which was there before the kill")
        });
        match &mut self.role {
            Role::Publisher(publisher) => publisher.start_anew(books),
            Role::Subscriber(subscriber) => subscriber.start_anew(books),
            // It goes on in the session that it has now.
            Role::Newcomer(newcomer) => newcomer.lose_session(books),
            Role::Looker(_) => {}
        }
    }
}

const GRANTED: ReasonCode = ReasonCode::GrantedQos2;

/// How long to wait before a connection is tried again.
const RETRY: Duration = Duration::from_millis(20);
