"""Scenarios for the MQTT 5 client of the AWS IoT device SDK (awscrt) against any broker.

    aws_scenarios.py HOST PORT VERSION SCENARIO WORD

VERSION is 5; the rest is said in `scenario.py`.
"""

import queue
import time

from awscrt import mqtt5

from scenario import DEADLINE, EVERY_BYTE, HOST, PORT, WORD, topic, play, seen_to_be_away


class Peer:
    """A client whose callbacks have become things to wait for."""

    def __init__(self, name, lasting=False, aliases=False, **connect):
        self.messages = queue.Queue()
        self.connected = queue.Queue()
        self.stopped = queue.Queue()
        behaviour = mqtt5.ClientSessionBehaviorType
        aliasing = mqtt5.TopicAliasingOptions(
            outbound_behavior=mqtt5.OutboundTopicAliasBehaviorType.LRU,
            outbound_cache_max_size=4,
            inbound_behavior=mqtt5.InboundTopicAliasBehaviorType.ENABLED,
            inbound_cache_max_size=4,
        )
        self.client = mqtt5.Client(mqtt5.ClientOptions(
            host_name=HOST,
            port=PORT,
            connect_options=mqtt5.ConnectPacket(client_id=f"{WORD}{name}", **connect),
            session_behavior=behaviour.REJOIN_ALWAYS if lasting else behaviour.CLEAN,
            topic_aliasing_options=aliasing if aliases else None,
            disable_metrics=True,
            on_publish_callback_fn=lambda data: self.messages.put(data.publish_packet),
            on_lifecycle_event_connection_success_fn=self.connected.put,
            on_lifecycle_event_stopped_fn=self.stopped.put,
        ))
        self.client.start()
        connack = self.connected.get(timeout=DEADLINE).connack_packet
        self.had_session = connack.session_present

    def subscribe(self, name, qos):
        wanted = mqtt5.Subscription(topic_filter=name, qos=mqtt5.QoS(qos))
        answer = self.client.subscribe(mqtt5.SubscribePacket([wanted])).result(DEADLINE)
        assert [int(code) for code in answer.reason_codes] == [qos], answer.reason_codes

    def publish(self, name, payload, qos=1, **more):
        packet = mqtt5.PublishPacket(topic=name, payload=payload, qos=mqtt5.QoS(qos), **more)
        return self.client.publish(packet)

    def expect(self, name, payload, qos):
        message = self.messages.get(timeout=DEADLINE)
        got = (message.topic, bytes(message.payload), int(message.qos))
        assert got == (name, payload, qos), f"got {got}, expected {(name, payload, qos)}"
        return message

    def leave(self):
        self.client.stop()
        self.stopped.get(timeout=DEADLINE)


def properties():
    sender, receiver = Peer("s"), Peer("r")
    receiver.subscribe(topic("t"), 1)
    pairs = [("a", "1"), ("b", ""), ("a", "2"), ("ä", "日本")]
    for qos in (0, 1):
        sender.publish(
            topic("t"), b"words", qos,
            user_properties=[mqtt5.UserProperty(name=name, value=value) for name, value in pairs],
            content_type="text/plain", response_topic=topic("answer"),
            correlation_data_bytes=EVERY_BYTE,
            payload_format_indicator=mqtt5.PayloadFormatIndicator.AWS_MQTT5_PFI_UTF8,
        ).result(DEADLINE)
        got = receiver.expect(topic("t"), b"words", qos)
        assert [(pair.name, pair.value) for pair in got.user_properties] == pairs, got
        assert (got.content_type, got.response_topic) == ("text/plain", topic("answer")), got
        assert bytes(got.correlation_data_bytes) == EVERY_BYTE, got
        assert int(got.payload_format_indicator) == 1, got
    sender.leave()
    receiver.leave()


def aliases():
    """Both sides use aliases by themselves, for more topics than there are aliases."""
    sender, receiver = Peer("s", aliases=True), Peer("r", aliases=True)
    receiver.subscribe(topic("+"), 1)
    for number in range(60):
        name = topic(f"t{number % 6}")
        sender.publish(name, str(number)).result(DEADLINE)
        receiver.expect(name, str(number).encode(), 1)
    sender.leave()
    receiver.leave()


def shared_subscriptions():
    sender, members = Peer("s"), [Peer("a"), Peer("b")]
    for member in members:
        member.subscribe(f"$share/{WORD}/{topic('t')}", 1)
        member.subscribe(topic("end"), 1)
    for sent in [sender.publish(topic("t"), str(number)) for number in range(100)]:
        sent.result(DEADLINE)
    sender.publish(topic("end"), b"end").result(DEADLINE)
    got = [numbers(member) for member in members]
    assert sorted(got[0] + got[1]) == list(range(100)), got
    assert all(got), "one member got everything"


def numbers(member):
    """The numbers that came before the end."""
    got = []
    while (message := member.messages.get(timeout=DEADLINE)).payload != b"end":
        got.append(int(message.payload))
    return got


def expiry():
    away = Peer("p", lasting=True, session_expiry_interval_sec=3600)
    assert not away.had_session, "a session that nobody made"
    away.subscribe(topic("t"), 1)
    away.leave()
    seen_to_be_away("p")
    sender = Peer("s")
    for payload, seconds in (("short", 1), ("long", 600)):
        sender.publish(topic("t"), payload, message_expiry_interval_sec=seconds).result(DEADLINE)
    # Time is what is tested here.
    time.sleep(2.5)
    back = Peer("p", lasting=True, session_expiry_interval_sec=3600)
    assert back.had_session, "the session is gone"
    got = back.expect(topic("t"), b"long", 1)
    assert 500 < got.message_expiry_interval_sec < 600, got.message_expiry_interval_sec
    back.leave()


def flow_control():
    sender, receiver = Peer("s"), Peer("r", receive_maximum=3)
    receiver.subscribe(topic("t"), 1)
    sent = [sender.publish(topic("t"), str(number)) for number in range(300)]
    for number in range(300):
        receiver.expect(topic("t"), str(number).encode(), 1)
    for one in sent:
        one.result(DEADLINE)
    sender.leave()
    receiver.leave()


play(properties, aliases, shared_subscriptions, expiry, flow_control)
