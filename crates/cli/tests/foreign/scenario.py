"""What all scenarios in Python begin and end with: where the broker is, which one is played, how long
anything is waited for.

    SCRIPT HOST PORT VERSION SCENARIO WORD

WORD begins all topics and client ids, so that runs do not meet. A script ends with the line
"ok SCENARIO", or with a traceback and exit code 1. Every wait has a deadline.
"""

import inspect
import sys

HOST, PORT, VERSION, SCENARIO, WORD = sys.argv[1:6]
PORT = int(PORT)
DEADLINE = 20
EVERY_BYTE = bytes(range(256))


def topic(rest):
    return f"{WORD}/{rest}"


def play(*scenarios):
    """Plays the one that was asked for."""
    played = {scenario.__name__: scenario for scenario in scenarios}[SCENARIO]()
    if inspect.iscoroutine(played):
        import asyncio

        asyncio.run(played)
    print("ok", SCENARIO)
