"""Subscribes once with paho-mqtt, in a session that is kept, and says what comes, whatever becomes of the
broker meanwhile.

    paho_retained.py HOST PORT FILTER CLIENT_ID

Each message is a line: its payload. Ends when it is killed.
"""

import sys

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

HOST, PORT, FILTER, CLIENT_ID = sys.argv[1:5]
subscribed = False


def on_connect(client, _userdata, flags, _code, _properties):
    global subscribed
    if not subscribed:
        client.subscribe(FILTER, 2)
    elif not flags.session_present:
        print("the session is gone")


def on_subscribe(_client, _userdata, _mid, _codes, _properties):
    global subscribed
    subscribed = True


client = mqtt.Client(
    CallbackAPIVersion.VERSION2, client_id=CLIENT_ID, clean_session=False, protocol=mqtt.MQTTv311
)
client.reconnect_delay_set(1, 1)
client.on_connect = on_connect
client.on_subscribe = on_subscribe
client.on_message = lambda _client, _userdata, message: print(message.payload.decode())
client.connect(HOST, int(PORT))
client.loop_forever()
