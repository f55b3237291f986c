//! The room of one check: names that nobody else has, connections to the broker, and what has to be
//! tidied up there afterwards.
//!
//! A check leaves no retained message and no session behind, whatever its outcome.

use noctule_mqtt::ProtocolVersion;
use std::cell::RefCell;
use std::time::Duration;

use crate::outcome::{Stop, Verdict};
use crate::peer::{Patience, Peer};
use crate::say::{self, Hello};
use crate::target::{Granted, Target};

/// What a check is given.
pub(crate) struct Lab<'t> {
    target: &'t Target,
    version: ProtocolVersion,
    granted: &'t Granted,
    word: String,
    sessions: RefCell<Vec<String>>,
    retained: RefCell<Vec<String>>,
}

impl<'t> Lab<'t> {
    pub(crate) fn new(target: &'t Target, version: ProtocolVersion, granted: &'t Granted) -> Self {
        Self {
            target,
            version,
            granted,
            word: format!("{:08x}", fastrand::u32(..)),
            sessions: RefCell::default(),
            retained: RefCell::default(),
        }
    }

    pub(crate) fn version(&self) -> ProtocolVersion {
        self.version
    }

    pub(crate) fn is_v5(&self) -> bool {
        self.version == ProtocolVersion::V5
    }

    pub(crate) fn patience(&self) -> Patience {
        self.target.patience
    }

    /// What the broker said of itself in a CONNACK of MQTT 5.
    pub(crate) fn granted(&self) -> &Granted {
        self.granted
    }

    /// The word that all names of this check have in them.
    pub(crate) fn word(&self) -> &str {
        &self.word
    }

    /// A topic or filter of this check alone.
    pub(crate) fn topic(&self, rest: &str) -> String {
        format!("conform/{}/{rest}", self.word)
    }

    /// A client identifier of this check alone, letters and digits, at most 23 with a `name` of 13.
    pub(crate) fn id(&self, name: &str) -> String {
        format!("cf{}{name}", self.word)
    }

    /// A CONNECT of this client.
    pub(crate) fn hello(&self, name: &str) -> Hello {
        let mut hello = Hello::new(self.version, self.id(name));
        hello.user_name = self.target.user_name.clone();
        hello.password = self.target.password.clone();
        hello
    }

    /// A CONNECT that goes on with a session and wants it kept for a minute at least.
    pub(crate) fn lasting(&self, name: &str) -> Hello {
        self.hello(name).clean(false).expiry(60)
    }

    /// A connection on which nothing is said yet.
    pub(crate) fn open(&self) -> Result<Peer, Stop> {
        let wire = self
            .target
            .connect()
            .map_err(|error| Stop::failed("a connection", format!("{error}")))?;
        Ok(Peer::new(wire, self.version, self.target.patience))
    }

    /// A client that is connected and has no session yet.
    pub(crate) fn connect(&self, name: &str) -> Result<Peer, Stop> {
        self.connect_as(&self.hello(name))
    }

    /// A client that is connected.
    pub(crate) fn connect_as(&self, hello: &Hello) -> Result<Peer, Stop> {
        let mut peer = self.say_hello(hello)?;
        let connack = peer.expect_connack()?;
        peer.ensure(connack.code == 0, "CONNACK 0x00", format!("CONNACK 0x{:02X}", connack.code))?;
        Ok(peer)
    }

    /// A client that has sent CONNECT.
    pub(crate) fn say_hello(&self, hello: &Hello) -> Result<Peer, Stop> {
        self.sessions.borrow_mut().push(hello.client_id.clone());
        let mut peer = self.open()?;
        peer.hello(hello);
        Ok(peer)
    }

    /// Notes that `topic` may have a retained message.
    pub(crate) fn keep(&self, topic: &str) {
        self.retained.borrow_mut().push(topic.into());
    }

    /// Publishes a message to be retained, at QoS 1, with these properties.
    pub(crate) fn retain(&self, peer: &mut Peer, topic: &str, payload: &str) -> Verdict {
        self.need(self.granted.retain_available, "retained messages")?;
        self.keep(topic);
        peer.complete(&say::publish(topic, payload).retain(), 1).map(|_| ())
    }

    /// Not applicable if the broker says that it does not have `what`.
    pub(crate) fn need(&self, has: bool, what: &str) -> Verdict {
        if has {
            return Ok(());
        }
        Err(Stop::not_applicable(format!("the broker announces that it has no {what}")))
    }

    /// Lets time pass that is part of what is checked, such as an expiry interval.
    pub(crate) fn pass(&self, time: Duration) {
        std::thread::sleep(time);
    }

    /// Ends sessions and removes retained messages.
    pub(crate) fn tidy(&self) {
        // Whatever goes wrong here is no finding.
        let retained = self.retained.take();
        if !retained.is_empty()
            && let Ok(mut peer) = self.connect("tidy")
        {
            for topic in retained {
                let _ = peer.complete(&say::publish(&topic, "").retain(), 1);
            }
            peer.leave();
        }
        let mut ids = self.sessions.take();
        ids.sort();
        ids.dedup();
        for id in ids.iter().filter(|id| !id.is_empty()) {
            if let Ok(peer) = self.connect_as(&self.hello("").id(id)) {
                peer.leave();
            }
        }
    }

    /// A pair that most checks begin with: one that publishes, one that has subscribed.
    pub(crate) fn pair(&self, filter: &str, qos: u8) -> Result<(Peer, Peer), Stop> {
        let mut receiver = self.connect("receiver")?;
        receiver.subscribe(filter, qos)?;
        Ok((self.connect("sender")?, receiver))
    }

    /// A persistent session that has subscribed to `filter` and is away.
    pub(crate) fn away(&self, name: &str, filter: &str, qos: u8) -> Verdict {
        let mut peer = self.connect_as(&self.lasting(name))?;
        peer.subscribe(filter, qos)?;
        peer.leave();
        Ok(())
    }
}
