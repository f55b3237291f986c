//! Publishes a temperature at QoS 1 every second until Ctrl-C:
//! `cargo run --example publisher -- localhost 1883`.

use std::time::Duration;

use noctule_client::{Client, ClientOptions, Error, Publish, QoS};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let host = arguments.next().unwrap_or_else(|| "localhost".to_owned());
    let port = arguments.next().and_then(|port| port.parse().ok()).unwrap_or(1883);
    publish(ClientOptions::new(host, port), usize::MAX, Duration::from_secs(1)).await
}

/// Publishes `count` values, one per `interval`.
pub async fn publish(
    options: ClientOptions,
    count: usize,
    interval: Duration,
) -> Result<(), Error> {
    let client = Client::connect(options)?;
    let mut tick = tokio::time::interval(interval);
    for number in 0..count {
        tokio::select! {
            _ = tick.tick() => {}
            _ = tokio::signal::ctrl_c() => break,
        }
        let value = format!("{:.1}", 20.0 + (number as f64 / 10.0).sin());
        client.publish(Publish::new("example/temperature", value).qos(QoS::AtLeastOnce)).await?;
    }
    client.disconnect().await
}
