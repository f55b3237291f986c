//! Resident memory of a broker per idle connection.
//!
//! A connection here has done CONNECT and nothing since: no subscription, no will, nothing under
//! way. What the kernel keeps for its socket is not the broker's and not counted.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::LoadError;
use crate::link::Opening;
use crate::process::{Memory, memory};
use crate::socket::Socket;
use crate::table::Table;
use crate::target::Broker;

/// Memory of one broker with and without idle connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdleCost {
    /// Which broker.
    pub broker: String,
    /// Keep alive of the connections in seconds; 0 is none.
    pub keep_alive: u16,
    /// How many connections were held.
    pub connections: u32,
    /// With one connection, which has shown the broker its way.
    pub before: Memory,
    /// With all of them.
    pub after: Memory,
}

impl IdleCost {
    /// Growth of the resident memory per connection in bytes.
    pub fn bytes_each(&self) -> f64 {
        let grown = self.after.resident as f64 - self.before.resident as f64;
        grown / f64::from(self.connections.max(1))
    }
}

/// Opens the connections, lets the broker settle for `settle`, and compares its memory.
///
/// # Errors
/// If the broker's process is not known or it refuses a connection.
pub fn measure(
    broker: &mut Broker,
    connections: u32,
    keep_alive: u16,
    settle: Duration,
) -> Result<IdleCost, LoadError> {
    let pid =
        broker.pid.ok_or_else(|| LoadError::new("memory is measured of a known process only"))?;
    let address = broker.address;
    let first = connect(address, keep_alive, 0)?;
    std::thread::sleep(settle);
    let before = memory(pid)?;
    let held: Vec<_> = (1..=connections)
        .map(|number| connect(address, keep_alive, number))
        .collect::<Result<_, _>>()?;
    std::thread::sleep(settle);
    let after = memory(pid)?;
    broker.check_alive()?;
    // Held until now; a broker that closed them in between would look cheap.
    for stream in held.iter().chain([&first]) {
        check_open(stream)?;
    }
    Ok(IdleCost { broker: broker.name.clone(), keep_alive, connections, before, after })
}

fn connect(address: SocketAddr, keep_alive: u16, number: u32) -> Result<Socket, LoadError> {
    Opening::connect(&address.into(), &format!("idle-{number:08}"), keep_alive)
        .and_then(Opening::into_quiet)
}

pub(crate) fn check_open(socket: &Socket) -> Result<(), LoadError> {
    match socket.is_at_end() {
        Ok(false) => Ok(()),
        _ => Err(LoadError::new("the broker closed an idle connection")),
    }
}

/// The costs as a table for people.
pub fn table(costs: &[IdleCost]) -> String {
    let headings = [
        "broker",
        "keep alive",
        "connections",
        "RSS before KiB",
        "RSS after KiB",
        "PSS before KiB",
        "PSS after KiB",
        "bytes each",
    ];
    let mut table = Table::new(&headings, 1);
    for cost in costs {
        let proportional = |memory: &Memory| memory.proportional.map_or("–".into(), kib);
        table.row(vec![
            cost.broker.clone(),
            cost.keep_alive.to_string(),
            cost.connections.to_string(),
            kib(cost.before.resident),
            kib(cost.after.resident),
            proportional(&cost.before),
            proportional(&cost.after),
            format!("{:.0}", cost.bytes_each()),
        ]);
    }
    table.text()
}

fn kib(bytes: u64) -> String {
    (bytes / 1024).to_string()
}

/// The costs for programs.
pub fn json(costs: &[IdleCost]) -> Value {
    let cost_json = |cost: &IdleCost| {
        json!({
            "broker": cost.broker,
            "keep_alive": cost.keep_alive,
            "connections": cost.connections,
            "resident_before": cost.before.resident,
            "resident_after": cost.after.resident,
            "bytes_each": cost.bytes_each(),
        })
    };
    Value::Array(costs.iter().map(cost_json).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(before: u64, after: u64) -> IdleCost {
        let memory = |resident| Memory { resident, proportional: None };
        IdleCost {
            broker: "a".into(),
            keep_alive: 60,
            connections: 1_000,
            before: memory(before),
            after: memory(after),
        }
    }

    #[test]
    fn growth_is_divided_by_the_connections() {
        assert_eq!(cost(2_048_000, 2_560_000).bytes_each(), 512.0);
        // A broker that shrinks is strange, and not free of charge by an overflow.
        assert_eq!(cost(2_048_000, 1_048_000).bytes_each(), -1_000.0);
    }

    #[test]
    fn the_table_has_the_figure_and_a_dash_for_what_is_not_known() {
        let text = table(&[cost(2_048_000, 2_560_000)]);
        let last = text.lines().last().unwrap();
        let cells: Vec<_> = last.split_whitespace().collect();
        assert_eq!(cells, ["a", "60", "1000", "2000", "2500", "–", "–", "512"]);
        assert_eq!(json(&[cost(0, 1_000)])[0]["bytes_each"], 1.0);
    }
}
