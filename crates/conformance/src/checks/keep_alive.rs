//! Keep alive: PINGREQ, silence, and what counts as none.

use std::time::{Duration, Instant};

use crate::lab::Lab;
use crate::outcome::{Stop, Verdict};
use crate::peer::Peer;
use crate::say::{WillWords, publish};

chapter! { "keep_alive":
    pingreq ["MQTT3-3.12.4-1" "MQTT5-3.12.4-1"]
        "PINGREQ is answered with PINGRESP, each of three.";
    silence ["MQTT3-3.1.2-24" "MQTT5-3.1.2-22"]
        "A client with a keep alive of one second that says nothing loses its connection, and its will is published; in 5, DISCONNECT has 0x8D.";
    not_before ["MQTT3-3.1.2-24" "MQTT5-3.1.2-22"]
        "A client with a keep alive of two seconds that says nothing keeps its connection for two and a half.";
    any_packet_counts ["MQTT3-3.1.2-24" "MQTT5-3.1.2-22"]
        "A client with a keep alive of two seconds that publishes every half keeps its connection.";
    off ["MQTT3-3.1.2.10" "MQTT5-3.1.2.10"]
        "A client with a keep alive of 0 that says nothing for three seconds keeps its connection.";
}

fn pingreq(lab: &Lab<'_>) -> Verdict {
    let mut peer = lab.connect("a")?;
    (0..3).try_for_each(|_| peer.ping())
}

/// A client with this keep alive. Not applicable if the broker wants another one.
fn kept(lab: &Lab<'_>, seconds: u16, will: Option<WillWords>) -> Result<Peer, Stop> {
    let mut hello = lab.hello("a").keep_alive(seconds);
    if let Some(will) = will {
        hello = hello.will(will);
    }
    let mut peer = lab.connect_as(&hello)?;
    // Whether a client without a subscription is left alone is the business of another check.
    peer.subscribe(&lab.topic("none"), 0)?;
    match peer.connack().properties().server_keep_alive() {
        Some(other) if other != seconds => Err(Stop::not_applicable(format!(
            "the broker replaces a keep alive of {seconds} s by one of {other} s"
        ))),
        _ => Ok(peer),
    }
}

fn silence(lab: &Lab<'_>) -> Verdict {
    let topic = lab.topic("will");
    let mut watcher = lab.connect("watcher")?;
    watcher.subscribe(&topic, 0)?;
    let mut peer = kept(lab, 1, Some(WillWords::new(&topic, "silent")))?;
    // Nothing says how often a server has to look.
    peer.be_patient(lab.patience().answer + Duration::from_secs(10));
    peer.expect_end(&[0x8D])?;
    watcher.expect_message(&topic, "silent", 0).map(|_| ())
}

fn not_before(lab: &Lab<'_>) -> Verdict {
    kept(lab, 2, None)?.expect_silence_for(Duration::from_millis(2_500))
}

fn any_packet_counts(lab: &Lab<'_>) -> Verdict {
    let mut peer = kept(lab, 2, None)?;
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(5) {
        peer.send_publish(&publish(&lab.topic("t"), "m"));
        peer.expect_silence_for(Duration::from_millis(500))?;
    }
    peer.ping()
}

fn off(lab: &Lab<'_>) -> Verdict {
    let mut peer = kept(lab, 0, None)?;
    peer.expect_silence_for(Duration::from_secs(3))?;
    peer.ping()
}
