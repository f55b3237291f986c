//! Everything in a store as JSON, one line for each thing, for programs and for the curious.
//!
//! Messages are read in pieces, so a large queue needs little memory.

use noctule_store::{Inspection, Message, Owed, RecoveredSession, Sequence, StoreError};
use serde_json::{Value, json};

use super::AT_ONCE;
use crate::output;

/// Prints all sessions, each with its subscriptions and messages behind it, and all retained messages.
pub(super) fn everything(store: &Inspection) -> Result<(), StoreError> {
    let found = store.recovered()?;
    for one in &found.sessions {
        print(&session(one));
        for subscription in &one.subscriptions {
            let options = subscription.options;
            print(&json!({
                "kind": "subscription",
                "client_id": one.client_id,
                "filter": subscription.filter,
                "qos": options.qos.bits(),
                "no_local": options.no_local,
                "retain_as_published": options.retain_as_published,
                "retain_handling": options.retain_handling as u8,
                "subscription_identifier": subscription.identifier,
            }));
        }
        let mut after = Sequence(0);
        loop {
            let messages = store.queue(one.key, after, AT_ONCE)?;
            let Some(last) = messages.last() else { break };
            after = last.sequence;
            messages.iter().for_each(|each| print(&owed(&one.client_id, each)));
        }
    }
    for (sequence, retained) in &found.retained {
        print(&json!({ "kind": "retained", "sequence": sequence, "message": message(retained) }));
    }
    Ok(())
}

fn session(session: &RecoveredSession) -> Value {
    let in_flight: Vec<_> = session
        .in_flight
        .iter()
        .map(|one| {
            json!({
                "sequence": one.sequence.0,
                "packet_id": one.packet_id.get(),
                "received": one.received,
            })
        })
        .collect();
    let will = session.will.as_ref();
    json!({
        "kind": "session",
        "client_id": session.client_id,
        "user_name": session.principal.user_name,
        "belongs_to": session.principal.owner(),
        "key": session.key.0,
        "expiry_seconds": session.expiry,
        "away_since_ms": session.away_since_ms,
        // What a will says is its client's business until it is published.
        "will": will.map(|will| json!({ "topic": will.message.topic(), "delay_seconds": will.delay })),
        "queued": session.queued,
        "queued_bytes": session.queued_bytes,
        "in_flight": in_flight,
        "held_packet_ids": session.held.iter().map(|held| held.get()).collect::<Vec<_>>(),
        "received_not_routed":
            session.received.iter().map(|(packet_id, _)| packet_id.get()).collect::<Vec<_>>(),
    })
}

fn owed(client_id: &str, owed: &Owed) -> Value {
    json!({
        "kind": "owed",
        "client_id": client_id,
        "sequence": owed.sequence.0,
        "qos": owed.qos.bits(),
        "retain": owed.retain,
        "subscription_identifiers": Some(owed.identifiers()).filter(|numbers| !numbers.is_empty()),
        "shared_filter": owed.shared(),
        "message": message(&owed.message),
    })
}

fn message(message: &Message) -> Value {
    let payload = message.payload();
    let mut value = json!({
        "topic": message.topic(),
        "qos": message.qos().bits(),
        "retain": message.retain(),
        "payload_size": payload.len(),
        "published_by": message.published_by().map(|publisher| {
            json!({ "client_id": publisher.client_id, "user_name": publisher.user_name })
        }),
        // Zero stands for a message of which that was not noted.
        "received_ms": Some(message.received_ms()).filter(|received_ms| *received_ms > 0),
    });
    match std::str::from_utf8(payload) {
        Ok(text) => value["payload_text"] = json!(text),
        Err(_) => value["payload_hex"] = json!(hex(payload)),
    }
    if !message.properties().is_empty() {
        value["properties_hex"] = json!(hex(message.properties()));
    }
    value
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn print(value: &Value) {
    output::answer(&format!("{value}\n"));
}
