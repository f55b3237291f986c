//! A script: what happens, read from bytes that a fuzzer chooses.
//!
//! Every byte string is a script, and a small change of the bytes is a small change of what happens:
//! whoever asks for more than there is gets zeros, and each step takes what it needs from the front.
//! What a broker should do must not be known here.

use super::scram::{CLIENT_FIRST, right_proof};
use noctule_mqtt::packet::RetainHandling;
use noctule_mqtt::{Property, ProtocolVersion, ReasonCode};
use noctule_testkit::packets::{
    Connecting, auth, disconnect, disconnect_expiring, pingreq, puback, pubcomp, publish, pubrec,
    pubrel, subscribe, unsubscribe, will,
};
use noctule_testkit::{Pieces, Said};

/// So many clients at once.
pub(crate) const SLOTS: usize = 4;
/// Whom the fuzzer cannot be; its client identifier anybody may try.
pub(crate) const KEEPER: &str = "keeper";
/// The users, with one password for all.
pub(crate) const PASSWORD: &[u8] = b"secret";

const CLIENT_IDS: [&str; 8] = ["", "a", "b", "c", "d", KEEPER, "a/b", "$x"];
const USERS: [&str; 5] = ["anna", "bert", "cert", "nobody", KEEPER];
const TOPICS: [&str; 12] = [
    "a",
    "a/b",
    "a/b/c",
    "b",
    "/",
    "a//b",
    "$SYS/x",
    "$share/g/a",
    "ä/ö",
    "a/a/a/a/a/a/a/a/a/a",
    "",
    "c",
];
const FILTERS: [&str; 20] = [
    "a",
    "a/b",
    "a/+",
    "+/b",
    "#",
    "a/#",
    "+",
    "/+",
    "$SYS/#",
    "$share/g/a",
    "$share/g/#",
    "$share/h/a/+",
    "$share//a",
    "$share/g",
    "a/#/b",
    "a+",
    "",
    "+/+/#",
    "a/a/a/a/a/a/a/a/a/a/#",
    "$share/g/b",
];
const SECONDS: [u32; 6] = [0, 1, 2, 30, 200, u32::MAX];
const METHODS: [&str; 3] = ["SCRAM-SHA-256", "", "PLAIN"];

/// Something that happens.
#[derive(Debug)]
pub(crate) enum Step {
    /// A client opens a connection, or breaks the one it has and opens another.
    Open(usize),
    /// A client says a packet, so many times, whole or damaged.
    Say { slot: usize, said: Said, damage: Option<Damage>, times: usize },
    /// A client says bytes.
    Bytes { slot: usize, bytes: Vec<u8> },
    /// A client acknowledges what it has heard, so many packets of it.
    Acknowledge { slot: usize, count: usize },
    /// A client is gone.
    Lose(usize),
    /// A client takes so many more bytes, or all.
    Room { slot: usize, bytes: Option<usize> },
    /// Who asks to come in waits, or is answered.
    HoldGate(bool),
    /// The store does nothing, or everything at once.
    HoldStore(bool),
    /// The held store does so many requests.
    ReleaseStore(usize),
    /// The held store says what is written.
    WriteStore,
    /// Time passes.
    Pass { ms: u64 },
    /// The broker says something of itself.
    System,
    /// Bytes travel in other pieces.
    Pieces(Pieces),
}

/// What becomes of the bytes of a packet on its way.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Damage {
    /// A byte at this place is changed.
    Changed { at: usize, by: u8 },
    /// Bytes are missing at the end.
    Cut { by: usize },
    /// A byte comes in at this place.
    Inserted { at: usize, byte: u8 },
}

impl Damage {
    pub(crate) fn done_to(self, mut bytes: Vec<u8>) -> Vec<u8> {
        let len = bytes.len();
        match self {
            Self::Changed { at, by } => bytes[at % len] ^= by,
            Self::Cut { by } => bytes.truncate(len - by.min(len)),
            Self::Inserted { at, byte } => bytes.insert(at % (len + 1), byte),
        }
        bytes
    }
}

/// The bytes that are not read yet.
pub(crate) struct Script<'a> {
    rest: &'a [u8],
    /// Of messages, so that no two are the same by chance.
    messages: u32,
    next_id: [u16; SLOTS],
}

impl<'a> Script<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, messages: 0, next_id: [0; SLOTS] }
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else {
            return 0;
        };
        self.rest = rest;
        *first
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.byte()) % all.len()]
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let (taken, rest) = self.rest.split_at(most.min(self.rest.len()));
        self.rest = rest;
        taken.into()
    }

    /// The next step; none when all is read. `versions` are those that the clients speak.
    pub(crate) fn step(&mut self, versions: &[ProtocolVersion; SLOTS]) -> Option<Step> {
        if self.rest.is_empty() {
            return None;
        }
        let first = self.byte();
        let slot = usize::from(first >> 6) % SLOTS;
        let version = versions[slot];
        let step = match first & 0x1F {
            0 => Step::Open(slot),
            1..=4 => self.connect(slot),
            5..=12 => {
                let said = self.publish(slot, version);
                self.say(slot, said)
            }
            13..=16 => {
                let said = self.subscribe(slot, version);
                self.say(slot, said)
            }
            17 => {
                let id = self.id(slot);
                let filter = self.pick(&FILTERS);
                self.say(slot, unsubscribe(id, &[filter]))
            }
            18..=20 => Step::Acknowledge { slot, count: 1 + usize::from(self.byte() & 0x1F) },
            21 => {
                let said = self.small(version);
                self.say(slot, said)
            }
            22 => {
                let most = usize::from(self.byte());
                Step::Bytes { slot, bytes: self.bytes(most) }
            }
            23 => Step::Lose(slot),
            24 => {
                let room = self.byte();
                let bytes = (room < 0x80).then(|| usize::from(room) * 8);
                Step::Room { slot, bytes }
            }
            25 => Step::HoldGate(self.byte() & 1 == 0),
            26 => Step::HoldStore(self.byte() & 1 == 0),
            27 => Step::ReleaseStore(1 + usize::from(self.byte() & 7)),
            28 => Step::WriteStore,
            29 | 30 => self.pass(),
            _ => self.rare(),
        };
        Some(step)
    }

    fn rare(&mut self) -> Step {
        match self.byte() & 3 {
            0 => Step::System,
            1 => Step::Pieces(Pieces::Whole),
            2 => Step::Pieces(Pieces::Bytes),
            _ => Step::Pieces(Pieces::Random(u64::from(self.byte()))),
        }
    }

    fn pass(&mut self) -> Step {
        let byte = self.byte();
        let ms = u64::from(byte & 0x3F);
        Step::Pass { ms: ms * [1, 50, 500, 1_000][usize::from(byte >> 6)] }
    }

    /// Says a packet, most often once and whole.
    fn say(&mut self, slot: usize, said: impl Into<Said>) -> Step {
        let how = self.byte();
        let damage = match how & 0x0F {
            0 => Some(Damage::Changed { at: self.byte().into(), by: self.byte() }),
            1 => Some(Damage::Cut { by: self.byte().into() }),
            2 => Some(Damage::Inserted { at: self.byte().into(), byte: self.byte() }),
            _ => None,
        };
        let times = if how & 0xF0 == 0xF0 { usize::from(self.byte()) } else { 1 };
        Step::Say { slot, said: said.into(), damage, times }
    }

    /// A packet identifier: most often one that was not used before.
    fn id(&mut self, slot: usize) -> u16 {
        match self.byte() {
            byte @ 0..8 => 1 + u16::from(byte),
            _ => {
                let next = &mut self.next_id[slot];
                *next = *next % 60_000 + 1;
                *next + 100
            }
        }
    }

    fn connect(&mut self, slot: usize) -> Step {
        let flags = self.byte();
        let version = ProtocolVersion::ALL[usize::from(flags & 3) % 3];
        let mut connect = Connecting::of(version).id(self.pick(&CLIENT_IDS)).clean(flags & 4 != 0);
        connect = connect.keep_alive(self.pick(&[0, 0, 0, 1, 5, 60, u16::MAX]));
        if flags & 8 != 0 {
            connect = connect.user(self.pick(&USERS));
            connect = connect.password(self.pick(&[PASSWORD, PASSWORD, b"wrong", b""]));
        }
        if flags & 16 != 0 {
            connect = connect.will(self.will(version));
        }
        if version == ProtocolVersion::V5 {
            let which = self.byte();
            if which & 1 != 0 {
                connect = connect.expiry(self.pick(&SECONDS));
            }
            if which & 2 != 0 {
                connect = connect.receive_maximum(self.pick(&[1, 2, 3, u16::MAX]));
            }
            if which & 4 != 0 {
                connect = connect.aliases(self.pick(&[0, 1, 2, u16::MAX]));
            }
            if which & 8 != 0 {
                connect = connect.packet_max(self.pick(&[1, 20, 60, 300, u32::MAX]));
            }
            if which & 16 != 0 {
                let method = self.pick(&METHODS);
                connect = connect.method(method, &self.authentication_data());
            }
            if which & 32 != 0 {
                connect = connect.property(Property::UserProperty(("k", "v")));
                connect = connect.property(Property::RequestProblemInformation(which >> 7));
                connect = connect.property(Property::RequestResponseInformation(which >> 6 & 1));
            }
        }
        self.say(slot, connect)
    }

    fn will(&mut self, version: ProtocolVersion) -> noctule_testkit::packets::Willing {
        let flags = self.byte();
        let mut will = will(self.pick(&TOPICS), "will").qos((flags & 3) % 3);
        if flags & 4 != 0 {
            will = will.retain();
        }
        if version == ProtocolVersion::V5 && flags & 8 != 0 {
            will = will.delay(self.pick(&SECONDS));
            will = will.property(Property::MessageExpiryInterval(self.pick(&SECONDS)));
        }
        will
    }

    fn publish(&mut self, slot: usize, version: ProtocolVersion) -> Said {
        let flags = self.byte();
        let qos = (flags & 3) % 3;
        self.messages += 1;
        let mut payload = format!("#{}", self.messages).into_bytes();
        if flags & 4 != 0 {
            let filler = self.pick(&[0, 1, 30, 400, 1_000, 3_000]);
            payload.resize(payload.len() + filler, b'.');
        }
        if flags & 0xF8 == 0xF8 {
            payload.clear();
        }
        let mut said = publish(self.pick(&TOPICS), payload).qos(qos);
        if qos > 0 {
            said = said.id(self.id(slot));
        }
        if flags & 8 != 0 {
            said = said.retain();
        }
        if flags & 0x30 == 0x30 && qos > 0 {
            said = said.dup();
        }
        if version == ProtocolVersion::V5 && flags & 0x40 != 0 {
            let which = self.byte();
            if which & 1 != 0 {
                said = said.alias(self.pick(&[1, 1, 2, 3, 4, u16::MAX]));
            }
            if which & 2 != 0 {
                said = said.expiring(self.pick(&SECONDS));
            }
            if which & 4 != 0 {
                said = said.property(Property::PayloadFormatIndicator(which >> 7));
                said = said.property(Property::ContentType("text"));
            }
            if which & 8 != 0 {
                said = said.property(Property::ResponseTopic("r"));
                said = said.property(Property::CorrelationData(&[which]));
            }
            for _ in 0..which >> 5 {
                said = said.property(Property::UserProperty(("k", "v")));
            }
        }
        said.into()
    }

    fn subscribe(&mut self, slot: usize, version: ProtocolVersion) -> Said {
        let id = self.id(slot);
        let flags = self.byte();
        let mut said = subscribe(id, self.pick(&FILTERS), (flags & 3) % 3);
        for _ in 0..flags >> 6 {
            said = said.and(self.pick(&FILTERS), (flags >> 2 & 3) % 3);
        }
        if version == ProtocolVersion::V5 {
            let which = self.byte();
            if which & 1 != 0 {
                said = said.no_local();
            }
            if which & 2 != 0 {
                said = said.retain_as_published();
            }
            said = match which & 0x0C {
                4 => said.retain_handling(RetainHandling::IfNew),
                8 => said.retain_handling(RetainHandling::Never),
                _ => said,
            };
            if which & 16 != 0 {
                said = said.identifier(self.pick(&[1, 127, 128, 268_435_455]));
            }
        }
        said.into()
    }

    fn small(&mut self, version: ProtocolVersion) -> Said {
        let kind = self.byte();
        let id = 1 + u16::from(self.byte());
        let said = match kind & 0x0F {
            0 => puback(id),
            1 => pubrec(id),
            2 => pubrel(id),
            3 => pubcomp(id),
            4 => pubrec(id).because(ReasonCode::UnspecifiedError),
            5 => disconnect(ReasonCode::Success),
            6 => disconnect(ReasonCode::DisconnectWithWill),
            7 => disconnect_expiring(ReasonCode::Success, self.pick(&SECONDS)),
            8 => Said::Connack {
                session_present: false,
                reason: ReasonCode::Success,
                properties: None,
            },
            9 => noctule_testkit::packets::suback(id, &[0]),
            10..=13 => {
                let reason = self.pick(&[
                    ReasonCode::ContinueAuthentication,
                    ReasonCode::Reauthenticate,
                    ReasonCode::Success,
                ]);
                auth(reason, self.pick(&METHODS), &self.authentication_data())
            }
            _ => pingreq(),
        };
        let is_plain = version == ProtocolVersion::V5 || !matches!(kind & 0x0F, 4 | 6 | 7);
        if is_plain { said } else { pingreq() }
    }

    fn authentication_data(&mut self) -> Vec<u8> {
        match self.byte() & 3 {
            0 => CLIENT_FIRST.into(),
            1 => right_proof().into(),
            2 => Vec::new(),
            _ => {
                let mut data = CLIENT_FIRST.to_vec();
                let at = usize::from(self.byte()) % data.len();
                data[at] = self.byte();
                data
            }
        }
    }
}
