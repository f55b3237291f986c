"""Logs in by SCRAM-SHA-256 with nothing but Python's own library, and proves itself again.

Usage: scram_login.py HOST PORT CLIENT_ID USER PASSWORD [USER_OF_THE_SECOND_PROOF]

Prints the steps: the reason codes of CONNACK, AUTH and DISCONNECT, and whether the broker has proved
that it knows the password. What the broker asks of a client is printed, too: iterations and the
length of the salt.
"""

import base64
import hashlib
import hmac
import os
import socket
import sys

METHOD = b"SCRAM-SHA-256"
CONNACK, DISCONNECT, AUTH = 2, 14, 15
CONTINUE, REAUTHENTICATE = 0x18, 0x19

host, port, client_id, user, password = sys.argv[1:6]
second_user = sys.argv[6] if len(sys.argv) > 6 else user
stream = socket.create_connection((host, int(port)), timeout=30)


def binary(value):
    return len(value).to_bytes(2, "big") + value


def variable(number):
    out = b""
    while True:
        number, digit = divmod(number, 128)
        out += bytes([digit | (0x80 if number else 0)])
        if not number:
            return out


def properties(data):
    content = b"\x15" + binary(METHOD) + b"\x16" + binary(data)
    return variable(len(content)) + content


def send(first, body):
    stream.sendall(bytes([first]) + variable(len(body)) + body)


def read(count):
    out = b""
    while len(out) < count:
        more = stream.recv(count - len(out))
        if not more:
            raise EOFError
        out += more
    return out


def read_variable(source):
    number, shift = 0, 0
    while True:
        digit = source(1)[0]
        number |= (digit & 0x7F) << shift
        shift += 7
        if digit < 0x80:
            return number


def receive():
    """Type of the next packet, its reason code and authentication data."""
    kind = read(1)[0] >> 4
    body = read(read_variable(read))
    place = 1 if kind == CONNACK else 0
    if len(body) <= place + 1:
        return kind, body[place] if body else 0, b""
    reason, rest = body[place], body[place + 1:]

    def take(count):
        nonlocal rest
        taken, rest = rest[:count], rest[count:]
        return taken

    take_text = lambda: take(int.from_bytes(take(2), "big"))
    end = read_variable(take)
    rest, data = rest[:end], b""
    while rest:
        identifier = take(1)[0]
        if identifier == 0x16:
            data = take_text()
        elif identifier == 0x26:
            take_text(), take_text()
        elif identifier in (0x15, 0x12, 0x1A, 0x1C, 0x1F):
            take_text()
        elif identifier in (0x11, 0x27):
            take(4)
        elif identifier in (0x21, 0x22, 0x13):
            take(2)
        else:
            take(1)
    return kind, reason, data


class Exchange:
    def __init__(self, user):
        self.nonce = base64.b64encode(os.urandom(15)).decode()
        self.bare = f"n={user.replace('=', '=3D').replace(',', '=2C')},r={self.nonce}"
        self.first = f"n,,{self.bare}".encode()

    def answer(self, challenge):
        text = challenge.decode()
        fields = dict(field.split("=", 1) for field in text.split(","))
        assert fields["r"].startswith(self.nonce) and len(fields["r"]) > len(self.nonce), text
        salt, iterations = base64.b64decode(fields["s"]), int(fields["i"])
        print("challenge", iterations, len(salt))
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
        mac = lambda key, message: hmac.new(key, message, "sha256").digest()
        client_key = mac(salted, b"Client Key")
        without_proof = f"c=biws,r={fields['r']}"
        said = f"{self.bare},{text},{without_proof}".encode()
        signature = mac(hashlib.sha256(client_key).digest(), said)
        proof = bytes(one ^ other for one, other in zip(client_key, signature))
        self.expected = base64.b64encode(mac(mac(salted, b"Server Key"), said))
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def is_proved(self, data):
        return data == b"v=" + self.expected


def prove(exchange, name):
    """Answers the challenge; returns what ends the exchange."""
    kind, reason, data = receive()
    if (kind, reason) != (AUTH, CONTINUE):
        return kind, reason, data
    send(0xF0, bytes([CONTINUE]) + properties(exchange.answer(data)))
    return receive()


first = Exchange(user)
send(0x10, binary(b"MQTT") + b"\x05\x02\x00\x00" + properties(first.first) + binary(client_id.encode()))
kind, reason, data = prove(first, user)
print({CONNACK: "connack"}.get(kind, kind), hex(reason))
if reason == 0:
    print("proved" if first.is_proved(data) else "not proved")
    again = Exchange(second_user)
    send(0xF0, bytes([REAUTHENTICATE]) + properties(again.first))
    kind, reason, data = prove(again, second_user)
    print({AUTH: "auth", DISCONNECT: "disconnect"}.get(kind, kind), hex(reason))
    if kind == AUTH:
        print("proved" if again.is_proved(data) else "not proved")
        send(0xC0, b"")
        print("pingresp" if read(2) == b"\xd0\x00" else "no pingresp")
