"""A round trip of paho-mqtt over TLS, in versions 3.1.1 and 5, then `ok`.

Usage: paho_tls.py PORT CA_FILE TOPIC
"""

import sys

import paho.mqtt.client as mqtt

port, ca_file, topic = int(sys.argv[1]), sys.argv[2], sys.argv[3]
# More than one record of TLS.
PAYLOAD = b"0123456789abcdef" * 3000

for version in (mqtt.MQTTv311, mqtt.MQTTv5):
    received = []
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=version)
    client.tls_set(ca_file)
    client.on_connect = lambda client, *rest: client.subscribe(topic, 1)
    client.on_subscribe = lambda client, *rest: client.publish(topic, PAYLOAD, 1)

    def on_message(client, userdata, message):
        received.append(message.payload)
        client.disconnect()

    client.on_message = on_message
    client.connect("localhost", port)
    client.loop_forever()
    assert received == [PAYLOAD], (version, [len(payload) for payload in received])
print("ok")
