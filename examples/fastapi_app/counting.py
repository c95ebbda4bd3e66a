"""Tells prefork-init how many requests this worker has served, so that it can recycle it in good time."""

import os
import socket


class CountRequests:
    """ASGI middleware: sends the total to $NOTIFY_SOCKET after each request. A WebSocket counts when it comes."""

    def __init__(self, app):
        self.app = app
        self.total = 0
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.socket.setblocking(False)
        address = os.environ["NOTIFY_SOCKET"]
        self.address = "\0" + address[1:] if address.startswith("@") else address

    async def __call__(self, scope, receive, send):
        if scope["type"] == "websocket":
            self.count()  # It may stay for days.
        try:
            await self.app(scope, receive, send)
        finally:
            # Failed ones count too: what they leaked is leaked.
            if scope["type"] == "http":
                self.count()

    def count(self):
        self.total += 1
        try:
            self.socket.sendto(b"X_PREFORK_REQUESTS=%d" % self.total, self.address)
        except OSError:
            pass  # No request waits or fails for it, and the next total makes good for this one.
