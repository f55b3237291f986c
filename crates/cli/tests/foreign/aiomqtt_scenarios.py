"""Scenarios for aiomqtt, an asyncio client, against any broker.

    aiomqtt_scenarios.py HOST PORT VERSION SCENARIO WORD

VERSION is 5; the rest is said in `scenario.py`.
"""

import asyncio

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from scenario import DEADLINE, EVERY_BYTE, HOST, PORT, WORD, topic, play, seen_to_be_away


def client(name, clean=True, **properties):
    wanted = Properties(PacketTypes.CONNECT)
    for key, value in properties.items():
        setattr(wanted, key, value)
    return aiomqtt.Client(
        HOST, PORT, identifier=f"{WORD}{name}", protocol=aiomqtt.ProtocolVersion.V5,
        clean_start=clean, properties=wanted, timeout=DEADLINE,
    )


def with_properties(**properties):
    given = Properties(PacketTypes.PUBLISH)
    for key, value in properties.items():
        setattr(given, key, value)
    return given


async def expect(receiver, name, payload, qos):
    """Returns the properties of the next message."""
    message = await asyncio.wait_for(anext(receiver.messages), DEADLINE)
    got = (str(message.topic), message.payload, message.qos)
    assert got == (name, payload, qos), f"got {got}, expected {(name, payload, qos)}"
    return message.properties


async def properties():
    async with client("s") as sender, client("r") as receiver:
        await receiver.subscribe(topic("t"), qos=2)
        pairs = [("a", "1"), ("b", ""), ("a", "2"), ("ä", "日本")]
        given = with_properties(
            UserProperty=pairs, ContentType="text/plain", ResponseTopic=topic("answer"),
            CorrelationData=EVERY_BYTE, PayloadFormatIndicator=1,
        )
        for qos in (0, 1, 2):
            await sender.publish(topic("t"), b"words", qos=qos, properties=given)
            got = await expect(receiver, topic("t"), b"words", qos)
            for name in ("UserProperty", "ContentType", "ResponseTopic", "CorrelationData"):
                assert getattr(got, name) == getattr(given, name), (name, getattr(got, name))


async def aliases():
    # A topic must come with every message of this library, so an alias is given again and again.
    async with client("s") as sender, client("r") as receiver:
        await receiver.subscribe(topic("+"), qos=1)
        for number in range(20):
            name = topic("tu"[number % 2])
            alias = with_properties(TopicAlias=1 + number % 3)
            await sender.publish(name, str(number), qos=1, properties=alias)
            await expect(receiver, name, str(number).encode(), 1)


async def shared_subscriptions():
    async with client("s") as sender, client("a") as one, client("b") as two:
        for member in (one, two):
            await member.subscribe(f"$share/{WORD}/{topic('t')}", qos=1)
            await member.subscribe(topic("end"), qos=1)
        for number in range(100):
            await sender.publish(topic("t"), str(number), qos=1)
        await sender.publish(topic("end"), b"end", qos=1)
        got = [await numbers(member) for member in (one, two)]
        assert sorted(got[0] + got[1]) == list(range(100)), got
        assert all(got), "one member got everything"


async def numbers(member):
    """The numbers that came before the end."""
    got = []
    while True:
        message = await asyncio.wait_for(anext(member.messages), DEADLINE)
        if message.payload == b"end":
            return got
        got.append(int(message.payload))


async def expiry():
    async with client("p", clean=False, SessionExpiryInterval=3600) as away:
        await away.subscribe(topic("t"), qos=1)
    seen_to_be_away("p")
    async with client("s") as sender:
        for payload, seconds in (("short", 1), ("long", 600)):
            given = with_properties(MessageExpiryInterval=seconds)
            await sender.publish(topic("t"), payload, qos=1, properties=given)
    # Time is what is tested here.
    await asyncio.sleep(2.5)
    async with client("p", clean=False, SessionExpiryInterval=3600) as back:
        got = await expect(back, topic("t"), b"long", 1)
        assert 500 < got.MessageExpiryInterval < 600, got.MessageExpiryInterval


async def flow_control():
    async with client("s") as sender, client("r", ReceiveMaximum=3) as receiver:
        await receiver.subscribe(topic("t"), qos=2)
        sending = asyncio.gather(
            *(sender.publish(topic("t"), str(number), qos=2) for number in range(300))
        )
        for number in range(300):
            await expect(receiver, topic("t"), str(number).encode(), 2)
        await asyncio.wait_for(sending, DEADLINE)


play(properties, aliases, shared_subscriptions, expiry, flow_control)
