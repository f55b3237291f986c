"""Runs a command at a terminal of its own and types passwords into it.

Usage: type_passwords.py PASSWORD... -- COMMAND...

Each password is typed when the terminal has stopped to show what is typed, so that nothing depends on
how fast the command is. What the terminal showed is printed; the exit code is the command's.
"""

import os
import pty
import select
import sys
import termios
import time

split = sys.argv.index("--")
passwords, command = sys.argv[1:split], sys.argv[split + 1:]
deadline = time.monotonic() + 30

child, terminal = pty.fork()
if child == 0:
    os.execv(command[0], command)


def shows_what_is_typed():
    return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)


def read():
    """What the terminal shows within a moment; nothing at its end."""
    if not select.select([terminal], [], [], 0.01)[0]:
        return b""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return None


shown = b""
for number, password in enumerate(passwords, start=1):
    # One prompt per password: the last one's must be answered before the next is looked for.
    while shown.count(b": ") < number or shows_what_is_typed():
        assert time.monotonic() < deadline, ("no prompt", shown)
        more = read()
        assert more is not None, ("ended before its prompt", shown)
        shown += more
    os.write(terminal, password.encode() + b"\n")

while (more := read()) is not None:
    assert time.monotonic() < deadline, ("does not end", shown)
    shown += more
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
