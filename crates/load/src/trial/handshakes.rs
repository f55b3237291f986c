//! Handshakes of TLS: how many of them a broker bears, what each costs it, and what those notice
//! who are connected in plain.

use std::time::Duration;

use super::{Scene, Trial};
use crate::dialer::{Dialed, Dialing, dial};
use crate::endpoint::Endpoint;
use crate::schedule::Schedule;
use crate::watcher::Nobody;
use crate::{LoadError, process};

/// Connections over TLS that come and go.
#[derive(Debug, Clone, Copy)]
pub struct Handshakes {
    /// Per second, in the phases that have a rate.
    pub rate: u32,
    /// How long each phase lasts.
    pub duration: Duration,
}

impl Trial for Handshakes {
    fn name(&self) -> String {
        "handshakes".into()
    }

    fn run(&self, scene: &mut Scene) -> Result<(), LoadError> {
        let tls = scene.tls.clone().ok_or_else(|| LoadError::new("the broker speaks no TLS"))?;
        let trust = tls.tls.clone().ok_or_else(|| LoadError::new("nobody is trusted for TLS"))?;
        let full = Endpoint { tls: Some(trust.without_resumption()), ..tls.clone() };
        let plain = Endpoint { tls: None, ..Endpoint::from(scene.address) };
        scene.phase("nothing else");
        let idle_ns = self.rest(scene)?;
        let at_rate = Schedule::new(f64::from(self.rate), Duration::ZERO);
        for (name, endpoint) in [("full", &full), ("resumed", &tls), ("no TLS", &plain)] {
            scene.phase(format!("{name}, {}/s", self.rate));
            self.connect(scene, endpoint, Some(at_rate), idle_ns)?;
            scene.phase(format!("{name}, all that go"));
            self.connect(scene, endpoint, None, idle_ns)?;
        }
        Ok(())
    }
}

impl Handshakes {
    /// Lets the good clients be alone; the processor time that they cost meanwhile.
    fn rest(&self, scene: &Scene) -> Result<Option<u64>, LoadError> {
        let before = scene.pid.map(process::cpu_ns).transpose()?;
        std::thread::sleep(self.duration);
        let after = scene.pid.map(process::cpu_ns).transpose()?;
        Ok(after.zip(before).map(|(after, before)| after - before))
    }

    fn connect(
        &self,
        scene: &mut Scene,
        endpoint: &Endpoint,
        schedule: Option<Schedule>,
        idle_ns: Option<u64>,
    ) -> Result<(), LoadError> {
        let dialing = Dialing { at_once: AT_ONCE, schedule, duration: self.duration };
        let before = scene.pid.map(process::cpu_ns).transpose()?;
        let dialed = dial(endpoint, dialing, scene.run, &mut Nobody)?;
        let after = scene.pid.map(process::cpu_ns).transpose()?;
        note(scene, &dialed);
        if let (Some(before), Some(after), Some(idle)) = (before, after, idle_ns) {
            // What the good clients cost in that time is not the connections'.
            let share = dialed.elapsed.as_secs_f64() / self.duration.as_secs_f64();
            let ns = (after - before) as f64 - idle as f64 * share;
            scene.fact("broker µs each", ns / 1_000.0 / dialed.made.max(1) as f64);
        }
        Ok(())
    }
}

fn note(scene: &mut Scene, dialed: &Dialed) {
    scene.fact("connections", dialed.made as f64);
    scene.fact("per second", dialed.made as f64 / dialed.elapsed.as_secs_f64());
    scene.fact("resumed", dialed.resumed as f64);
    scene.fact("refused", dialed.refused as f64);
    scene.fact("failed", dialed.failed as f64);
    scene.fact("left out", dialed.left_out as f64);
    scene.fact("p50 ms to CONNACK", dialed.latency.quantile_ms(0.5).unwrap_or(0.0));
    scene.fact("p99 ms", dialed.latency.quantile_ms(0.99).unwrap_or(0.0));
}

/// Enough to keep a broker busy, and no more than the client keeps tickets for: who finds none cannot
/// resume.
const AT_ONCE: u16 = 8;
