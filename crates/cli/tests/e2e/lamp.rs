//! Who answers requests in tests: a lamp that is asked on `lamp/ask` and says that it is on.

use std::sync::Arc;
use std::thread::JoinHandle;

use noctule_client::blocking::Client;
use noctule_client::{ClientOptions, Property, Publish, QoS, Subscribe};

/// Something that answers requests: a lamp that says that it is on.
pub(crate) struct Lamp {
    client: Arc<Client>,
    answering: Option<JoinHandle<()>>,
}

impl Lamp {
    /// One for the broker at this port; dropped, it is taken down.
    pub(crate) fn hang(port: u16) -> Self {
        let client = Client::connect(ClientOptions::new("127.0.0.1", port)).expect("it can be");
        let client = Arc::new(client);
        let ask = Subscribe::new("lamp/ask").qos(QoS::AtLeastOnce);
        let questions = client.subscribe(ask).expect("granted");
        let answerer = Arc::clone(&client);
        let answering = std::thread::spawn(move || {
            for question in questions {
                let properties = question.properties();
                let Some(topic) = properties.response_topic() else { continue };
                let mut answer = Publish::new(topic, "on");
                if let Some(data) = properties.correlation_data() {
                    answer = answer.property(Property::CorrelationData(data));
                }
                answerer.publish(answer).expect("it is taken");
            }
        });
        Self { client, answering: Some(answering) }
    }
}

impl Drop for Lamp {
    fn drop(&mut self) {
        // Its questions end with the connection.
        let _ = self.client.disconnect();
        if let Some(answering) = self.answering.take() {
            let _ = answering.join();
        }
    }
}
