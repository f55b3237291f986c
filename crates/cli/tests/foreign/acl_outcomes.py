"""What clients may do at a broker, one line for each thing that was tried.

    acl_outcomes.py HOST PORT VERSION

The broker has the rules of authorization_tests.rs. `root` may do everything, and sees and says what
shows whether the others may. Two brokers with the same rules print the same lines. Ends with the
line "ok". Every wait has a deadline.
"""

import queue
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

HOST, PORT, VERSION = sys.argv[1], int(sys.argv[2]), sys.argv[3]
V5 = VERSION == "5"
DEADLINE = 20

# User name and client identifier.
CLIENTS = [
    (None, "c1"),
    (None, "dev2"),
    ("anna", "c1"),
    ("anna", "dev2"),
    ("otto", "c1"),
    ("with blanks", "c1"),
    ("nobody", "c1"),
    ("plus+", "c1"),
    ("#", "c1"),
    ("anna", "with+plus"),
    ("anna", "#"),
    (None, "#"),
]
TOPICS = [
    "open",
    "open/x",
    "anna/a",
    "anna/secret/a",
    "anna/secret",
    "otto/in",
    "otto/out",
    "w ith/blanks",
    "users/anna/x",
    "users/anna/private",
    "users/otto/x",
    "users/plus+x",
    "clients/c1/x",
    "clients/dev2/x",
    "both/anna/c1",
    "both/anna/dev2",
    "all/x",
    "all/deny",
    "percent/%u",
    "$own/x",
    "$own/anna",
    "/lead",
    "trail/",
    "x//y",
]


class Peer:
    def __init__(self, user, client_id, clean=True, will=None):
        self.messages = queue.Queue()
        self.connected = queue.Queue()
        self.granted = queue.Queue()
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if V5 else clean,
            protocol=mqtt.MQTTv5 if V5 else mqtt.MQTTv311,
            reconnect_on_failure=False,
        )
        if user is not None:
            self.client.username_pw_set(user, "x")
        if will:
            self.client.will_set(*will)
        self.client.on_connect = lambda _c, _d, _f, code, _p: self.connected.put(code)
        self.client.on_message = lambda _c, _d, message: self.messages.put(message)
        self.client.on_subscribe = lambda _c, _d, _mid, codes, _p: self.granted.put(codes)
        more = {}
        if V5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 0 if clean else 300
            more = {"clean_start": clean, "properties": properties}
        self.client.connect(HOST, PORT, keepalive=60, **more)
        self.client.loop_start()
        code = self.connected.get(timeout=DEADLINE)
        assert code == 0, f"{client_id} is refused: {code}"

    def subscribe(self, *filters):
        self.client.subscribe([(name, 1) for name in filters])
        return [code.value for code in self.granted.get(timeout=DEADLINE)]

    def publish(self, topic, payload, qos=1, retain=False):
        # Nobody waits for each: what counts is when the marker behind them is heard.
        self.client.publish(topic, payload, qos=qos, retain=retain)

    def heard(self, marker):
        """The topics heard before the marker, in order of their names. How often, with overlapping
        subscriptions, is the broker's choice."""
        topics = set()
        while True:
            message = self.messages.get(timeout=DEADLINE)
            if message.payload == marker:
                return sorted(topics)
            topics.add(f"{message.topic}{' (retained)' if message.retain else ''}")

    def end(self):
        self.client.disconnect()
        self.client.loop_stop()

    def vanish(self):
        """Without DISCONNECT."""
        self.client.loop_stop()
        self.client._sock_close()


def mark(root, number):
    marker = f"marker {number}".encode()
    root.publish("marker", marker)
    return marker


def publishable(topic):
    return "+" not in topic and "#" not in topic


def main():
    root = Peer("root", "root")
    root.subscribe("#", "$own/#", "users/#")
    topics = [topic for topic in TOPICS if publishable(topic)]
    number = 0
    for user, client_id in CLIENTS:
        name = f"{user} as {client_id}"
        peer = Peer(user, client_id)
        for qos in (0, 1, 2):
            for topic in topics:
                peer.publish(topic, "x", qos)
            # Behind everything else of this client, whatever its quality.
            number += 1
            marker = f"marker {number}".encode()
            peer.publish("marker", marker, 2)
            print(f"{name} publishes at {qos}:", root.heard(marker))
        print(f"{name} subscribes:", peer.subscribe("marker", "#", "+/x", "$own/#", "anna/secret"))
        for topic in topics:
            root.publish(topic, "x")
        number += 1
        marker = mark(root, number)
        print(f"{name} reads:", peer.heard(marker))
        root.heard(marker)
        peer.end()

        # In a session that is kept.
        peer = Peer(user, client_id, clean=False)
        peer.subscribe("marker", "#", "$own/#")
        peer.end()
        for topic in topics:
            root.publish(topic, "x")
        number += 1
        marker = mark(root, number)
        root.heard(marker)
        peer = Peer(user, client_id, clean=False)
        print(f"{name} has waiting:", peer.heard(marker))
        peer.end()
        Peer(user, client_id).end()

    # What is retained.
    for topic in topics:
        root.publish(topic, "kept", retain=True)
    for user, client_id in CLIENTS:
        number += 1
        marker = f"marker {number}".encode()
        peer = Peer(user, client_id)
        # A topic that everybody may read comes last.
        peer.subscribe("#", "$own/#")
        peer.subscribe("zz/last")
        root.publish("zz/last", marker)
        print(f"{user} as {client_id} finds:", peer.heard(marker))
        peer.end()
    root.heard(marker)
    for topic in topics:
        root.publish(topic, "", retain=True)
    root.heard(mark(root, "of what is forgotten"))

    # Wills.
    for topic in ("open", "anna/a", "anna/secret/a", "clients/c1/x"):
        number += 1
        dying = Peer("anna", "c1", will=(topic, "will", 1, False))
        dying.vanish()
        marker = f"marker {number}".encode()
        again = Peer("anna", "c1")
        again.publish("marker", marker, 2)
        print(f"a will on {topic}:", root.heard(marker))
        again.end()
    root.end()
    print("ok")


main()
