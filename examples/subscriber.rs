//! Prints what is published below `example/` until Ctrl-C:
//! `cargo run --example subscriber -- localhost 1883`.

use noctule_client::{Client, ClientOptions, Error, QoS, Subscribe};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let host = arguments.next().unwrap_or_else(|| "localhost".to_owned());
    let port = arguments.next().and_then(|port| port.parse().ok()).unwrap_or(1883);
    subscribe(ClientOptions::new(host, port), |line| println!("{line}")).await
}

/// Hands each message to `print`, as a line.
pub async fn subscribe(options: ClientOptions, mut print: impl FnMut(String)) -> Result<(), Error> {
    let client = Client::connect(options)?;
    let wanted = Subscribe::new("example/#").qos(QoS::AtLeastOnce);
    let mut messages = client.subscribe(wanted).await?;
    loop {
        tokio::select! {
            message = messages.next() => match message {
                Some(message) => {
                    let payload = String::from_utf8_lossy(message.payload());
                    print(format!("{} {payload}", message.topic()));
                }
                None => return client.disconnect().await,
            },
            _ = tokio::signal::ctrl_c() => return client.disconnect().await,
        }
    }
}
