"""Scenarios for paho-mqtt against any broker.

    paho_scenarios.py HOST PORT VERSION SCENARIO WORD

VERSION is 3.1.1 or 5. The environment may say what carries MQTT: TRANSPORT is tcp, ws or wss, and CA the
file with whom to trust. The rest is said in `scenario.py`.
"""

import os
import queue
import socket

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from scenario import DEADLINE, EVERY_BYTE, HOST, PORT, VERSION, WORD, topic, play

V5 = VERSION == "5"
TRANSPORT = os.environ.get("TRANSPORT", "tcp")


class Peer:
    """A client whose callbacks have become things to wait for."""

    def __init__(self, name, clean=True, expiry=0, will=None, returns=False):
        self.name = name
        self.messages = queue.Queue()
        self.connected = queue.Queue()
        self.disconnected = queue.Queue()
        self.granted = queue.Queue()
        self.unsubscribed = queue.Queue()
        self.clean, self.expiry = clean, expiry
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"{WORD}{name}",
            clean_session=None if V5 else clean,
            protocol=mqtt.MQTTv5 if V5 else mqtt.MQTTv311,
            transport="tcp" if TRANSPORT == "tcp" else "websockets",
            reconnect_on_failure=returns,
        )
        self.client.reconnect_delay_set(1, 1)
        if TRANSPORT != "tcp":
            self.client.ws_set_options(path="/mqtt")
        if TRANSPORT == "wss":
            self.client.tls_set(os.environ["CA"])
        self.client.on_message = lambda _c, _d, message: self.take(message)
        self.client.on_connect = lambda _c, _d, flags, code, props: self.connected.put((flags, code, props))
        self.client.on_disconnect = lambda _c, _d, _flags, code, _props: self.disconnected.put(code)
        self.client.on_subscribe = lambda _c, _d, mid, codes, _props: self.granted.put((mid, codes))
        self.client.on_unsubscribe = lambda _c, _d, mid, _codes, _props: self.unsubscribed.put(mid)
        if will:
            self.client.will_set(*will)

    def take(self, message):
        # A greeting that some brokers send to a client that has subscribed to nothing yet.
        if message.topic != f"$SYS/broker/connection/{WORD}{self.name}":
            self.messages.put(message)

    def connect(self):
        """Returns whether the broker had a session for us."""
        more = {}
        if V5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = self.expiry
            more = {"clean_start": self.clean, "properties": properties}
        self.client.connect(HOST, PORT, keepalive=60, **more)
        self.client.loop_start()
        flags, code, _properties = self.connected.get(timeout=DEADLINE)
        assert code == 0, f"refused: {code}"
        return flags.session_present

    def subscribe(self, *filters_and_qos):
        """Returns the granted QoS of each filter as numbers."""
        if V5:
            wanted = [(name, SubscribeOptions(qos=qos)) for name, qos in filters_and_qos]
        else:
            wanted = list(filters_and_qos)
        result, mid = self.client.subscribe(wanted)
        assert result == mqtt.MQTT_ERR_SUCCESS, result
        answered, codes = self.granted.get(timeout=DEADLINE)
        assert answered == mid, (answered, mid)
        return [code.value for code in codes]

    def unsubscribe(self, name):
        _result, mid = self.client.unsubscribe(name)
        assert self.unsubscribed.get(timeout=DEADLINE) == mid

    def publish(self, name, payload, qos=0, retain=False, properties=None):
        """Returns when the broker has acknowledged it, or when it is sent at QoS 0."""
        sent = self.client.publish(name, payload, qos, retain, properties)
        sent.wait_for_publish(DEADLINE)
        assert sent.is_published(), f"not acknowledged in time: {name}"

    def receive(self):
        return self.messages.get(timeout=DEADLINE)

    def expect(self, name, payload, qos, retain=False):
        message = self.receive()
        seen = (message.topic, message.payload, message.qos, message.retain)
        wanted = (name, payload, qos, retain)
        assert seen == wanted, f"got {seen}, expected {wanted}"
        return message

    def leave(self):
        self.client.disconnect()
        self.disconnected.get(timeout=DEADLINE)
        self.client.loop_stop()

    def vanish(self):
        """Closes the connection without DISCONNECT."""
        self.cut()
        self.client.loop_stop()

    def cut(self):
        """Closes the connection; the client may connect again."""
        carrier = self.client.socket()
        # Of WebSocket and TLS the socket below.
        while not isinstance(carrier, socket.socket):
            carrier = carrier._socket
        carrier.shutdown(socket.SHUT_RDWR)
        self.disconnected.get(timeout=DEADLINE)


def started(name, **options):
    peer = Peer(name, **options)
    peer.connect()
    return peer


def round_trips():
    sender, receiver = started("s"), started("r")
    assert receiver.subscribe((topic("t"), 2)) == [2]
    for qos in (0, 1, 2):
        for payload in (b"words", b"", EVERY_BYTE, "Fledermäuse".encode()):
            sender.publish(topic("t"), payload, qos)
            receiver.expect(topic("t"), payload, qos)
    sender.leave()
    receiver.leave()


def retained():
    sender, live = started("s"), started("l")
    live.subscribe((topic("+"), 1))
    sender.publish(topic("kept"), b"old", 1, retain=True)
    sender.publish(topic("kept"), b"new", 1, retain=True)
    for payload in (b"old", b"new"):
        live.expect(topic("kept"), payload, 1, retain=False)
    late = started("a")
    late.subscribe((topic("+"), 1))
    late.expect(topic("kept"), b"new", 1, retain=True)
    sender.publish(topic("kept"), b"", 1, retain=True)
    later = started("b")
    later.subscribe((topic("+"), 1))
    sender.publish(topic("end"), b"end", 1)
    later.expect(topic("end"), b"end", 1)


def will():
    watch = started("w")
    watch.subscribe((topic("will"), 2))
    started("a", will=(topic("will"), b"left", 1, False)).leave()
    started("b", will=(topic("will"), b"vanished", 2, False)).vanish()
    watch.expect(topic("will"), b"vanished", 2)
    started("c", will=(topic("will"), b"kept", 1, True)).vanish()
    watch.expect(topic("will"), b"kept", 1)
    late = started("l")
    late.subscribe((topic("will"), 1))
    late.expect(topic("will"), b"kept", 1, retain=True)
    watch.publish(topic("will"), b"", 1, retain=True)


def persistent_session():
    sender = started("s")
    away = Peer("p", clean=False, expiry=3600)
    assert not away.connect(), "a session that nobody made"
    away.subscribe((topic("t/+"), 2))
    away.leave()
    for number in range(100):
        sender.publish(topic("t/1"), str(number).encode(), 1)
    for number in range(100):
        sender.publish(topic("t/2"), str(number).encode(), 2)
    back = Peer("p", clean=False, expiry=3600)
    assert back.connect(), "the session is gone"
    for number in range(100):
        back.expect(topic("t/1"), str(number).encode(), 1)
    for number in range(100):
        back.expect(topic("t/2"), str(number).encode(), 2)
    # The subscription is still there, and nothing comes twice.
    sender.publish(topic("t/2"), b"end", 2)
    back.expect(topic("t/2"), b"end", 2)
    back.leave()
    fresh = Peer("p", clean=True)
    assert not fresh.connect(), "a clean start kept the session"
    sender.publish(topic("t/1"), b"nobody", 1)
    fresh.subscribe((topic("end"), 1))
    sender.publish(topic("end"), b"end", 1)
    fresh.expect(topic("end"), b"end", 1)


def thousand(qos):
    sender, receiver = started("s"), started("r")
    receiver.subscribe((topic("t"), qos))
    sent = [sender.client.publish(topic("t"), str(number), qos) for number in range(1000)]
    for number in range(1000):
        receiver.expect(topic("t"), str(number).encode(), qos)
    for message in sent:
        message.wait_for_publish(DEADLINE)
        assert message.is_published()
    sender.publish(topic("t"), b"end", qos)
    receiver.expect(topic("t"), b"end", qos)


def thousand_at_qos_1():
    thousand(1)


def thousand_at_qos_2():
    thousand(2)


def take_over():
    watch = started("w")
    watch.subscribe((topic("will"), 1))
    first = started("x", will=(topic("will"), b"taken", 1, False))
    first.subscribe((topic("t"), 1))
    second = started("x")
    code = first.disconnected.get(timeout=DEADLINE)
    if V5:
        assert code == ReasonCode(PacketTypes.DISCONNECT, "Session taken over"), code
    watch.expect(topic("will"), b"taken", 1)
    second.subscribe((topic("t"), 1))
    watch.publish(topic("t"), b"to the second", 1)
    second.expect(topic("t"), b"to the second", 1)
    assert first.messages.empty()


def unsubscribe():
    sender, receiver = started("s"), started("r")
    receiver.subscribe((topic("a"), 1), (topic("b"), 1))
    receiver.unsubscribe(topic("a"))
    receiver.unsubscribe(topic("never subscribed"))
    sender.publish(topic("a"), b"no more", 1)
    sender.publish(topic("b"), b"still", 1)
    receiver.expect(topic("b"), b"still", 1)


def many_filters():
    sender, receiver = started("s"), started("r")
    filters = [(topic(f"f/{number}"), number % 3) for number in range(50)]
    assert receiver.subscribe(*filters) == [qos for _name, qos in filters]
    for name, qos in filters:
        sender.publish(name, b"x", 2)
        receiver.expect(name, b"x", qos)


def properties():
    sender, receiver = started("s"), started("r")
    receiver.subscribe((topic("t"), 1))
    given = Properties(PacketTypes.PUBLISH)
    given.PayloadFormatIndicator = 1
    given.MessageExpiryInterval = 600
    given.ContentType = "text/plain; charset=utf-8"
    given.ResponseTopic = topic("answer")
    given.CorrelationData = EVERY_BYTE
    given.UserProperty = [("a", "1"), ("b", ""), ("a", "2"), ("ä", "日本")]
    sender.publish(topic("t"), b"words", 1, properties=given)
    got = receiver.expect(topic("t"), b"words", 1).properties
    for name in ("PayloadFormatIndicator", "ContentType", "ResponseTopic", "CorrelationData", "UserProperty"):
        assert getattr(got, name) == getattr(given, name), (name, getattr(got, name))
    # What is left of it: the time it waited is taken off [MQTT5-3.3.2-6].
    assert 590 <= got.MessageExpiryInterval <= 600, got.MessageExpiryInterval
    sender.publish(topic("t"), b"bare", 1)
    assert receiver.expect(topic("t"), b"bare", 1).properties.isEmpty()


def large():
    sender, receiver = started("s"), started("r")
    receiver.subscribe((topic("t"), 2))
    for qos in (0, 1, 2):
        for size in (1, 125, 126, 65_535, 65_536, 300_000, 1_900_000):
            payload = bytes(range(251)) * (size // 251 + 1)
            sender.publish(topic("t"), payload[:size], qos)
            receiver.expect(topic("t"), payload[:size], qos)


def reconnects():
    sender = started("s")
    receiver = started("r", clean=False, expiry=3600, returns=True)
    receiver.subscribe((topic("t"), 2))
    for number in range(3):
        receiver.cut()
        for qos in (1, 2):
            sender.publish(topic("t"), str(number).encode(), qos)
        flags, code, _properties = receiver.connected.get(timeout=DEADLINE)
        assert code == 0 and flags.session_present, (flags, code)
        for qos in (1, 2):
            receiver.expect(topic("t"), str(number).encode(), qos)
    receiver.leave()


play(
    round_trips, retained, will, persistent_session, thousand_at_qos_1, thousand_at_qos_2,
    take_over, unsubscribe, many_filters, properties, large, reconnects,
)
