"""What all scenarios in Python begin and end with: where the broker is, which one is played, how long
anything is waited for.

    SCRIPT HOST PORT VERSION SCENARIO WORD

WORD begins all topics and client ids, so that runs do not meet. A script ends with the line
"ok SCENARIO", or with a traceback and exit code 1. Every wait has a deadline.
"""

import inspect
import socket
import struct
import sys

HOST, PORT, VERSION, SCENARIO, WORD = sys.argv[1:6]
PORT = int(PORT)
DEADLINE = 20
EVERY_BYTE = bytes(range(256))


def topic(rest):
    return f"{WORD}/{rest}"


def seen_to_be_away(name):
    """Returns when the broker knows that this MQTT 5 client, who has left, is away.

    A client that says DISCONNECT and closes its socket can't know when that is read; what is published at
    once may still be on its way to it, and such a message is sent again though it has expired. So a further
    connection takes the session over and says DISCONNECT, and the end of that one comes from the broker.
    """
    client_id = f"{WORD}{name}".encode()
    session_lasts = b"\x05\x11" + struct.pack(">I", 3600)
    wanted = b"\x00\x04MQTT\x05\x00\x00\x3c" + session_lasts + struct.pack(">H", len(client_id)) + client_id
    assert len(wanted) < 128, "a length of one byte"
    with socket.create_connection((HOST, PORT), DEADLINE) as last:
        last.sendall(bytes([0x10, len(wanted)]) + wanted)
        connack = last.recv(4, socket.MSG_WAITALL)
        assert connack[0] == 0x20 and connack[2:] == b"\x01\x00", f"no session: {connack!r}"
        last.sendall(b"\xe0\x00")
        while last.recv(4096):
            pass


def play(*scenarios):
    """Plays the one that was asked for."""
    played = {scenario.__name__: scenario for scenario in scenarios}[SCENARIO]()
    if inspect.iscoroutine(played):
        import asyncio

        asyncio.run(played)
    print("ok", SCENARIO)
