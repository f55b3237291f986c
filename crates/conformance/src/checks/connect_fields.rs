//! What is inside CONNECT: flags, will, user name, password and the client identifier.

use super::{WRONG, is_refused};
use crate::heard::Heard;
use crate::lab::Lab;
use crate::outcome::{Stop, Verdict, ensure};
use crate::peer::Peer;
use crate::say::{WillWords, field, property_block, raw};

chapter! { "connect_fields":
    reserved_flag ["MQTT3-3.1.2-3" "MQTT5-3.1.2-3"]
        "CONNECT with the reserved connect flag is not accepted.";
    will_qos_3 ["MQTT3-3.1.2-14" "MQTT5-3.1.2-12"]
        "CONNECT with a will at QoS 3 is not accepted.";
    will_qos_without_will ["MQTT3-3.1.2-13" "MQTT3-3.1.2-11" "MQTT5-3.1.2-11"]
        "CONNECT with a will QoS and no will is not accepted.";
    will_retain_without_will ["MQTT3-3.1.2-15" "MQTT3-3.1.2-11" "MQTT5-3.1.2-13"]
        "CONNECT with the will retain flag and no will is not accepted.";
    will_flag_without_will ["MQTT3-3.1.2-9" "MQTT5-3.1.2-9"]
        "CONNECT with the will flag whose payload ends behind the client identifier is not accepted.";
    password_without_user_name ["MQTT3-3.1.2-22"]
        "CONNECT with a password and no user name is not accepted in 3.1.1.";
    password_alone ["MQTT5-3.1.2.9"]
        "CONNECT with a password and no user name is no error in 5: it is accepted or not authorized.";
    user_name_flag_without_user_name ["MQTT3-3.1.2-19" "MQTT5-3.1.2-17"]
        "CONNECT with the user name flag whose payload has no user name is not accepted.";
    user_name_without_flag ["MQTT3-3.1.2-18" "MQTT5-3.1.2-16"]
        "CONNECT with a user name that no flag announces is not accepted.";
    password_flag_without_password ["MQTT3-3.1.2-21" "MQTT5-3.1.2-19"]
        "CONNECT with the password flag whose payload has no password is not accepted.";
    bytes_behind_the_payload ["MQTT3-3.1.4-1" "MQTT5-3.1.4-1"]
        "CONNECT with bytes behind its last field is not accepted.";
    id_of_one_character ["MQTT3-3.1.3-5" "MQTT5-3.1.3-5"]
        "A client identifier of one character is accepted.";
    id_of_23_characters ["MQTT3-3.1.3-5" "MQTT5-3.1.3-5"]
        "Client identifiers of 23 characters, together all letters and digits, are accepted.";
    id_is_empty ["MQTT3-3.1.3-6" "MQTT5-3.1.3-6" "MQTT5-3.1.3-7"]
        "An empty client identifier is accepted, in 5 with the assigned one in CONNACK; or refused as not valid.";
    ids_that_are_assigned_differ ["MQTT3-3.1.3-6" "MQTT5-3.2.2-16" "MQTT5-3.1.3-6"]
        "Two clients with empty identifiers are two clients: neither ends the other.";
    id_is_empty_without_clean_session ["MQTT3-3.1.3-8" "MQTT3-3.1.3-7"]
        "An empty client identifier without Clean Session is refused with 0x02, and the connection ends.";
    ids_differ_by_case ["MQTT3-3.1.3-2" "MQTT5-3.1.3-2"]
        "Clients whose identifiers differ by the case of a letter are two clients.";
    no_keep_alive_of_the_server ["MQTT5-3.2.2-22" "MQTT5-3.2.2.3.14"]
        "CONNACK to a keep alive of 60 s has none of its own, or one that is not 0 for a client that wants one.";
    no_response_information ["MQTT5-3.1.2-28"]
        "CONNACK has no response information for a client that did not ask.";
    no_authentication ["MQTT5-4.12.0-6"]
        "CONNACK has no authentication method for a client that named none.";
    will_over_the_maximum_qos ["MQTT5-3.2.2-12" "MQTT5-3.2.2-9"]
        "CONNECT with a will at QoS 2 is not accepted by a server with a lower maximum QoS.";
    will_to_be_retained ["MQTT5-3.2.2-13"]
        "CONNECT with a will to be retained is not accepted by a server that retains nothing.";
    connack_fits ["MQTT5-3.2.2-19" "MQTT5-3.2.2-20" "MQTT5-3.1.2-24"]
        "CONNACK to a client that takes packets of 60 bytes at most is no larger.";
}

fn reserved_flag(lab: &Lab<'_>) -> Verdict {
    is_refused(lab, &lab.hello("a").bytes_with_flags(|flags| flags | 0x01), WRONG)
}

fn with_will(lab: &Lab<'_>) -> crate::say::Hello {
    lab.hello("a").will(WillWords::new(&lab.topic("will"), "m"))
}

fn will_qos_3(lab: &Lab<'_>) -> Verdict {
    let bytes = with_will(lab).bytes_with_flags(|flags| flags | 0x18);
    is_refused(lab, &bytes, &[0x81, 0x82, 0x9B])
}

fn will_qos_without_will(lab: &Lab<'_>) -> Verdict {
    is_refused(lab, &lab.hello("a").bytes_with_flags(|flags| flags | 0x08), WRONG)
}

fn will_retain_without_will(lab: &Lab<'_>) -> Verdict {
    is_refused(lab, &lab.hello("a").bytes_with_flags(|flags| flags | 0x20), WRONG)
}

/// CONNECT with these flags and fields.
fn connect(lab: &Lab<'_>, flags: u8, fields: &[&[u8]]) -> Vec<u8> {
    let none = property_block(lab.version(), &[]);
    let fields: Vec<u8> = fields.iter().flat_map(field).collect();
    raw(0x10, &[&field("MQTT"), &[lab.version() as u8, flags, 0, 60], &none, &fields])
}

fn will_flag_without_will(lab: &Lab<'_>) -> Verdict {
    is_refused(lab, &connect(lab, 0x06, &[lab.id("a").as_bytes()]), WRONG)
}

fn password_without_user_name(lab: &Lab<'_>) -> Verdict {
    is_refused(lab, &connect(lab, 0x42, &[lab.id("a").as_bytes(), b"secret"]), WRONG)
}

fn password_alone(lab: &Lab<'_>) -> Verdict {
    let mut peer = lab.open()?;
    peer.send(&connect(lab, 0x42, &[lab.id("a").as_bytes(), b"secret"]));
    let connack = peer.expect_connack()?;
    let fine = matches!(connack.code, 0x00 | 0x86 | 0x87 | 0x8C);
    peer.ensure(fine, "CONNACK 0x00, or 0x86, 0x87, 0x8C", Heard::Connack(connack))
}

fn user_name_flag_without_user_name(lab: &Lab<'_>) -> Verdict {
    is_refused(lab, &connect(lab, 0x82, &[lab.id("a").as_bytes()]), WRONG)
}

fn user_name_without_flag(lab: &Lab<'_>) -> Verdict {
    is_refused(lab, &connect(lab, 0x02, &[lab.id("a").as_bytes(), b"somebody"]), WRONG)
}

fn password_flag_without_password(lab: &Lab<'_>) -> Verdict {
    is_refused(lab, &connect(lab, 0xC2, &[lab.id("a").as_bytes(), b"somebody"]), WRONG)
}

fn bytes_behind_the_payload(lab: &Lab<'_>) -> Verdict {
    let mut bytes = lab.hello("a").bytes();
    // Short packets have their length in one byte.
    bytes[1] += 3;
    bytes.extend([1, 2, 3]);
    is_refused(lab, &bytes, WRONG)
}

fn id_of_one_character(lab: &Lab<'_>) -> Verdict {
    lab.connect_as(&lab.hello("").id("Z"))?.ping()
}

fn id_of_23_characters(lab: &Lab<'_>) -> Verdict {
    for id in ["0123456789abcdefghijklm", "nopqrstuvwxyzABCDEFGHIJ", "KLMNOPQRSTUVWXYZ0123456"] {
        lab.connect_as(&lab.hello("").id(id))?.ping()?;
    }
    Ok(())
}

/// A client without an identifier of its own; not applicable if the broker wants one.
fn nameless(lab: &Lab<'_>) -> Result<Peer, Stop> {
    let mut peer = lab.say_hello(&lab.hello("").id(""))?;
    let connack = peer.expect_connack()?;
    let refusal = if lab.is_v5() { 0x85 } else { 0x02 };
    if connack.code == refusal {
        return Err(Stop::not_applicable("the broker refuses empty client identifiers"));
    }
    peer.ensure(connack.code == 0, "CONNACK 0x00", Heard::Connack(connack))?;
    Ok(peer)
}

fn id_is_empty(lab: &Lab<'_>) -> Verdict {
    let peer = nameless(lab)?;
    let assigned = peer.connack().properties().assigned_client_identifier();
    let fine = !lab.is_v5() || assigned.is_some_and(|id| !id.is_empty());
    ensure(fine, "an assigned client identifier in CONNACK", assigned)
}

fn ids_that_are_assigned_differ(lab: &Lab<'_>) -> Verdict {
    let (mut one, mut other) = (nameless(lab)?, nameless(lab)?);
    one.ping()?;
    other.ping()?;
    let ids = [&one, &other].map(|peer| peer.connack().properties().assigned_client_identifier());
    ensure(!lab.is_v5() || ids[0] != ids[1], "two different identifiers", ids)
}

fn id_is_empty_without_clean_session(lab: &Lab<'_>) -> Verdict {
    let mut peer = lab.say_hello(&lab.hello("").id("").clean(false))?;
    let connack = peer.expect_connack()?;
    peer.ensure(connack.code == 2, "CONNACK 0x02", Heard::Connack(connack))?;
    peer.expect_closed()
}

fn ids_differ_by_case(lab: &Lab<'_>) -> Verdict {
    let (mut one, mut other) = (lab.connect("x")?, lab.connect("X")?);
    one.ping()?;
    other.ping()
}

fn no_keep_alive_of_the_server(lab: &Lab<'_>) -> Verdict {
    let peer = lab.connect("a")?;
    let keep_alive = peer.connack().properties().server_keep_alive();
    ensure(keep_alive != Some(0), "no server keep alive of 0", keep_alive)
}

fn no_response_information(lab: &Lab<'_>) -> Verdict {
    let peer = lab.connect("a")?;
    let information = peer.connack().properties().response_information();
    ensure(information.is_none(), "no response information", information)
}

fn no_authentication(lab: &Lab<'_>) -> Verdict {
    let peer = lab.connect("a")?;
    let properties = peer.connack().properties();
    let named = (properties.authentication_method(), properties.authentication_data());
    ensure(named == (None, None), "neither authentication method nor data", named)
}

fn will_over_the_maximum_qos(lab: &Lab<'_>) -> Verdict {
    if lab.granted().maximum_qos == 2 {
        return Err(Stop::not_applicable("the broker has QoS 2"));
    }
    let will = WillWords::new(&lab.topic("will"), "m").qos(2);
    is_refused(lab, &lab.hello("a").will(will).bytes(), &[0x9B])
}

fn will_to_be_retained(lab: &Lab<'_>) -> Verdict {
    if lab.granted().retain_available {
        return Err(Stop::not_applicable("the broker has retained messages"));
    }
    let will = WillWords::new(&lab.topic("will"), "m").retain();
    is_refused(lab, &lab.hello("a").will(will).bytes(), &[0x9A])
}

fn connack_fits(lab: &Lab<'_>) -> Verdict {
    let limit = noctule_mqtt::Property::MaximumPacketSize(60);
    let mut peer = lab.say_hello(&lab.hello("a").with(limit))?;
    // A server that has more to say than fits may only close.
    match peer.next_or_end()? {
        None => Err(Stop::not_applicable("the broker has no CONNACK so small, and closes")),
        Some(Heard::Connack(_)) => {
            let length = peer.last_length();
            ensure(length <= 60, "a packet of 60 bytes at most", length)
        }
        Some(other) => peer.wrong("CONNACK", &other),
    }
}
