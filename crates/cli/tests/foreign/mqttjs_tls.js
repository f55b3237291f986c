// A round trip of MQTT.js over TLS: 200 messages at QoS 2, in order, then `ok`.
//
// Usage: mqttjs_tls.js PORT CA_FILE TOPIC

const fs = require('fs');
const mqtt = require('mqtt');

const [port, caFile, topic] = process.argv.slice(2);
const MESSAGES = 200;
const client = mqtt.connect(`mqtts://localhost:${port}`, {
  ca: fs.readFileSync(caFile),
  protocolVersion: 5,
  reconnectPeriod: 0,
});
const fail = (words) => {
  console.error(words);
  process.exit(1);
};
let received = 0;
client.on('error', fail);
client.on('connect', () => {
  client.subscribe(topic, { qos: 2 }, () => {
    for (let number = 0; number < MESSAGES; number++) {
      client.publish(topic, Buffer.alloc(5000, number), { qos: 2 });
    }
  });
});
client.on('message', (_, payload) => {
  if (payload.length !== 5000 || payload[0] !== received) fail(`message ${received}: ${payload[0]}`);
  received++;
  if (received === MESSAGES) {
    console.log('ok');
    client.end();
  }
});
