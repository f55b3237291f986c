//! The checks, one file for each subject; what they are made of is elsewhere.
//!
//! A chapter is a table of functions, each with its clauses and a sentence. The functions expect what
//! the clauses say; where those leave a choice, the sentence or a comment says which are accepted.

use noctule_mqtt::PacketType;

use crate::check::Chapter;
use crate::heard::Heard;
use crate::lab::Lab;
use crate::outcome::Verdict;

/// The table of a chapter, from its functions, their clauses and their sentences.
macro_rules! chapter {
    ($subject:literal: $($run:ident [$($clause:literal)+] $does:literal;)+) => {
        pub(super) const CHAPTER: crate::check::Chapter = crate::check::Chapter {
            name: $subject,
            checks: &[$(crate::check::Check {
                name: stringify!($run),
                clauses: &[$($clause),+],
                does: $does,
                run: $run,
            }),+],
        };
    };
}

mod alias;
mod connect;
mod connect_fields;
mod disconnect;
mod expiry;
mod flow;
mod header;
mod keep_alive;
mod packet_ids;
mod properties;
mod property_faults;
mod qos;
mod resume;
mod retained;
mod session;
mod session_expiry;
mod shared;
mod subscribe;
mod subscribe_options;
mod topics;
mod unsubscribe;
mod utf8;
mod wildcards;
mod will_delay;
mod wills;

/// All chapters, in the order of a report.
pub(crate) const CHAPTERS: &[Chapter] = &[
    header::CHAPTER,
    packet_ids::CHAPTER,
    utf8::CHAPTER,
    connect::CHAPTER,
    connect_fields::CHAPTER,
    session::CHAPTER,
    session_expiry::CHAPTER,
    keep_alive::CHAPTER,
    wills::CHAPTER,
    will_delay::CHAPTER,
    qos::CHAPTER,
    resume::CHAPTER,
    retained::CHAPTER,
    subscribe::CHAPTER,
    subscribe_options::CHAPTER,
    unsubscribe::CHAPTER,
    topics::CHAPTER,
    wildcards::CHAPTER,
    shared::CHAPTER,
    properties::CHAPTER,
    property_faults::CHAPTER,
    expiry::CHAPTER,
    flow::CHAPTER,
    alias::CHAPTER,
    disconnect::CHAPTER,
];

/// What cannot be read.
const MALFORMED: &[u8] = &[0x81];
/// What may not be said.
const PROTOCOL_ERROR: &[u8] = &[0x82];
/// Where the specification calls something wrong and does not say which of the two it is.
const WRONG: &[u8] = &[0x81, 0x82];

/// A client that is connected and says `bytes` loses its connection; a DISCONNECT before it has one
/// of `codes`.
fn ends(lab: &Lab<'_>, bytes: &[u8], codes: &[u8]) -> Verdict {
    let mut peer = lab.connect("a")?;
    peer.send(bytes);
    peer.expect_end(codes)
}

/// A connection that begins with `bytes` is not accepted: in 3.1.1 it ends without CONNACK
/// (MQTT3-3.1.4), in 5 a CONNACK has one of `codes`.
fn is_refused(lab: &Lab<'_>, bytes: &[u8], codes: &[u8]) -> Verdict {
    let mut peer = lab.open()?;
    peer.send(bytes);
    peer.expect_refused(if lab.is_v5() { codes } else { &[] })
}

/// The first byte of a packet with its flags.
fn first_byte(packet: PacketType, flags: u8) -> u8 {
    (packet as u8) << 4 | flags
}

/// SUBSCRIBE to a filter that is none: the connection ends, or SUBACK says that it failed, as 0x8F
/// is there to say in 5.
fn filter_is_refused(lab: &Lab<'_>, filter: &str) -> Verdict {
    let none = crate::say::property_block(lab.version(), &[]);
    let mut peer = lab.connect("a")?;
    peer.send(&crate::say::raw(0x82, &[&[0, 9], &none, &crate::say::field(filter), &[0]]));
    match peer.next_or_end()? {
        None => Ok(()),
        Some(Heard::Suback(answers)) if answers.codes.iter().all(|code| *code >= 0x80) => Ok(()),
        Some(Heard::Disconnect(end)) if matches!(end.code, 0x81 | 0x82 | 0x8F) => {
            peer.expect_closed()
        }
        Some(other) => peer.wrong("the end of the connection, or SUBACK with a failure", &other),
    }
}
