"""Python's own http.server on descriptor 3, with a thread a connection and nothing else: SIGTERM ends it as it ends
any program, in the middle of whatever it has in hand."""

import http.server
import os
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from plain import body_of


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body, pause = body_of(self.path)
        time.sleep(pause)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("", 0), Handler, bind_and_activate=False)
server.socket.close()
server.socket = socket.socket(fileno=3)
server.serve_forever()
