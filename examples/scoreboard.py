"""Shows prefork-init what a worker has in hand: requests begun, requests done, and by when the oldest must be done.

    app = scoreboard.ASGI(app)  # FastAPI, Starlette, Django under uvicorn, hypercorn, gunicorn
    app = scoreboard.WSGI(app)  # Flask, Django under gunicorn

Without prefork-init it does nothing. A request is done when the application has returned, with its background tasks. A
WebSocket counts as one that is done when it comes: it may stay for days, and has no deadline.

ASGI also says goodbye: once the supervisor has taken new connections from the worker, answers say `Connection: close`.
WSGI cannot: an application may not set that header (PEP 3333), and servers drop it or fail.
"""

import fcntl
import mmap
import os
import threading
import time


class Board:
    """This process's line: four numbers in memory that is shared with the supervisor, of which it writes the last."""

    def __init__(self):
        self.lock, self.in_hand, self.line = threading.Lock(), {}, None
        self.timeout = int(float(os.environ.get("PREFORK_REQUEST_TIMEOUT") or 0) * 1e9)
        try:
            fd, offset = int(os.environ["PREFORK_SCOREBOARD_FD"]), int(os.environ["PREFORK_SCOREBOARD_OFFSET"])
            # A child has the variables, but may have another file under that number: this one is sealed.
            if fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK:
                words = memoryview(mmap.mmap(fd, 0)).cast("Q")
                self.line = words[offset // 8 : offset // 8 + 4]
                self.line[1], self.line[2] = self.line[0], 0  # What a predecessor had in hand died with it.
        except (KeyError, ValueError, OSError):
            pass

    def begin(self):
        """A request has come; returns what to call when it is done."""
        if self.line is None:
            return lambda: None
        with self.lock:
            self.line[0] += 1
            number = self.line[0]
            self.in_hand[number] = time.monotonic_ns() + self.timeout if self.timeout else 0
            self.line[2] = next(iter(self.in_hand.values()))  # All have the same time: the first is due first.
        return lambda: self.end(number)

    def count(self):
        """Something has come that counts, and is not in hand."""
        if self.line is not None:
            with self.lock:
                self.line[0] += 1
                self.line[1] += 1

    def says_goodbye(self):
        """Whether clients should be told to come back by another connection."""
        return self.line is not None and self.line[3] != 0

    def end(self, number):
        with self.lock:
            if self.in_hand.pop(number, None) is not None:
                self.line[2] = next(iter(self.in_hand.values()), 0)
                self.line[1] += 1


board = Board()


class ASGI:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] == "websocket":
            board.count()
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def send_with_goodbye(message):
            if message["type"] == "http.response.start" and board.says_goodbye():
                headers = [(name, value) for name, value in message.get("headers", ()) if name.lower() != b"connection"]
                message = {**message, "headers": [*headers, (b"connection", b"close")]}
            await send(message)

        end = board.begin()
        try:
            # HTTP/2 says goodbye by itself, and has no such header.
            is_http_1 = scope.get("http_version", "1.1").startswith("1")
            await self.app(scope, receive, send_with_goodbye if is_http_1 else send)
        finally:
            end()


class WSGI:
    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        end = board.begin()
        try:
            return Body(self.app(environ, start_response), end)
        except BaseException:
            end()
            raise


class Body:
    """The answer; servers close it when they have sent it, or when the client has gone."""

    def __init__(self, body, end):
        self.body, self.end = body, end

    def __iter__(self):
        return iter(self.body)

    def close(self):
        try:
            getattr(self.body, "close", lambda: None)()
        finally:
            self.end()
