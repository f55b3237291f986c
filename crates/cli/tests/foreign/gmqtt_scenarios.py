"""Scenarios for gmqtt, an MQTT 5 client on asyncio, against any broker.

    gmqtt_scenarios.py HOST PORT VERSION SCENARIO WORD

VERSION is 5; the rest is said in `scenario.py`.
"""

import asyncio

import gmqtt

from scenario import DEADLINE, EVERY_BYTE, HOST, PORT, WORD, topic, play, seen_to_be_away


class Peer:
    """A client whose callbacks have become things to wait for."""

    def __init__(self, name, clean=True, **properties):
        self.messages = asyncio.Queue()
        self.connected = asyncio.Queue()
        self.granted = asyncio.Queue()
        self.client = gmqtt.Client(f"{WORD}{name}", clean_session=clean, **properties)
        self.client.set_config({"reconnect_retries": 0})
        self.client.on_connect = lambda _c, flags, _code, _properties: self.connected.put_nowait(flags)
        self.client.on_message = self.take
        self.client.on_subscribe = lambda _c, _mid, codes, _properties: self.granted.put_nowait(codes)

    async def take(self, _client, name, payload, qos, properties):
        self.messages.put_nowait((name, payload, qos, properties))
        return 0

    async def connect(self):
        """Returns whether the broker had a session for us."""
        await asyncio.wait_for(self.client.connect(HOST, PORT), DEADLINE)
        return bool(await asyncio.wait_for(self.connected.get(), DEADLINE) & 1)

    async def subscribe(self, name, qos):
        self.client.subscribe(name, qos=qos)
        codes = await asyncio.wait_for(self.granted.get(), DEADLINE)
        assert list(codes) == [qos], codes

    async def receive(self):
        return await asyncio.wait_for(self.messages.get(), DEADLINE)

    async def expect(self, name, payload, qos):
        """Returns the properties of the message."""
        got = await self.receive()
        assert got[:3] == (name, payload, qos), f"got {got}, expected {(name, payload, qos)}"
        return got[3]


async def started(name, **options):
    peer = Peer(name, **options)
    await peer.connect()
    return peer


async def properties():
    sender, receiver = await started("s"), await started("r")
    await receiver.subscribe(topic("t"), 2)
    pairs = [("a", "1"), ("b", ""), ("a", "2"), ("ä", "日本")]
    for qos in (0, 1, 2):
        sender.client.publish(
            topic("t"), b"words", qos=qos, user_property=pairs, content_type="text/plain",
            response_topic=topic("answer"), correlation_data=EVERY_BYTE, payload_format_id=1,
        )
        got = await receiver.expect(topic("t"), b"words", qos)
        assert got["user_property"] == pairs, got
        assert got["content_type"] == ["text/plain"], got
        assert got["response_topic"] == [topic("answer")], got
        assert [bytes(data) for data in got["correlation_data"]] == [EVERY_BYTE], got
        assert got["payload_format_id"] == [1], got


async def aliases():
    sender, receiver = await started("s"), await started("r")
    for name in ("t", "u"):
        await receiver.subscribe(topic(name), 1)
    sender.client.publish(topic("t"), b"first", qos=1, topic_alias=1)
    sender.client.publish(topic("u"), b"other", qos=1, topic_alias=2)
    for alias, name in ((1, "t"), (2, "u"), (1, "t")):
        sender.client.publish("", name.encode(), qos=1, topic_alias=alias)
    await receiver.expect(topic("t"), b"first", 1)
    await receiver.expect(topic("u"), b"other", 1)
    for name in ("t", "u", "t"):
        await receiver.expect(topic(name), name.encode(), 1)


async def shared_subscriptions():
    members = [await started("a"), await started("b")]
    for member in members:
        await member.subscribe(f"$share/{WORD}/{topic('t')}", 1)
    sender = await started("s")
    for number in range(100):
        sender.client.publish(topic("t"), str(number), qos=1)
    both = [asyncio.ensure_future(collect(member)) for member in members]
    # The end comes to each by a subscription of its own, behind what came before it.
    for member in members:
        await member.subscribe(topic("end"), 1)
    sender.client.publish(topic("end"), b"end", qos=1)
    one, two = await asyncio.wait_for(asyncio.gather(*both), DEADLINE)
    assert sorted(one + two) == list(range(100)), (one, two)
    assert one and two, "one member got everything"


async def collect(member):
    """The numbers that came before the end."""
    numbers = []
    while True:
        _name, payload, _qos, _properties = await member.receive()
        if payload == b"end":
            return numbers
        numbers.append(int(payload))


async def expiry():
    away = await started("p", clean=False, session_expiry_interval=3600)
    await away.subscribe(topic("t"), 1)
    await away.client.disconnect()
    seen_to_be_away("p")
    sender = await started("s")
    sender.client.publish(topic("t"), b"short", qos=1, message_expiry_interval=1)
    sender.client.publish(topic("t"), b"long", qos=1, message_expiry_interval=600)
    # Time is what is tested here.
    await asyncio.sleep(2.5)
    back = Peer("p", clean=False, session_expiry_interval=3600)
    assert await back.connect(), "the session is gone"
    got = await back.expect(topic("t"), b"long", 1)
    assert 500 < got["message_expiry_interval"][0] < 600, got


async def flow_control():
    sender, receiver = await started("s"), await started("r", receive_maximum=3)
    await receiver.subscribe(topic("t"), 2)
    for number in range(300):
        sender.client.publish(topic("t"), str(number), qos=2)
    for number in range(300):
        await receiver.expect(topic("t"), str(number).encode(), 2)


play(properties, aliases, shared_subscriptions, expiry, flow_control)
