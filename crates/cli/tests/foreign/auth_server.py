"""Whoever is asked over HTTP who may come in: allows `right`, ignores `stranger`, denies others.

    auth_server.py PORT [CERTIFICATE KEY]

Prints `listening PORT`, and a line of JSON for each question. A line on standard input says how it
answers from then on: `well`, `slow` (never), `broken` (no answer that says something), `failing` (503).
It ends with its standard input.
"""

import json
import ssl
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

manner = "well"
never = threading.Event()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Type"] == "application/json":
            asked = json.loads(body)
        else:
            asked = dict(urllib.parse.parse_qsl(body.decode(), keep_blank_values=True))
        print(json.dumps(asked, sort_keys=True), flush=True)
        if manner == "slow":
            never.wait()
        if manner == "failing":
            return self.answer(503, b"")
        if manner == "broken":
            return self.answer(200, b"<html>hello</html>")
        word = {"right": "allow", "stranger": "ignore"}.get(asked.get("password"), "deny")
        self.answer(200, json.dumps({"result": word}).encode())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_):
        pass  # Whoever asked has gone.


server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print("listening", server.server_address[1], flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
for line in sys.stdin:
    manner = line.strip()
    print("manner", manner, flush=True)
