"""A plain application for ASGI and WSGI: it knows nothing of a supervisor, and handles no signal. `/echo/17` answers
with `17` at once, `/slow/17` after `$SLOW` seconds."""

import asyncio
import os
import time

SLOW = float(os.environ["SLOW"])


def body_of(path):
    """The answer, and how long it takes."""
    kind, _, number = path.removeprefix("/").partition("/")
    if kind == "slow":
        with open("taken", "a") as file:
            file.write("%d\n" % os.getpid())
    return number.encode(), SLOW if kind == "slow" else 0


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("no lifespan, no WebSockets")
    body, pause = body_of(scope["path"])
    if pause:
        await asyncio.sleep(pause)
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def wsgi(environ, start_response):
    body, pause = body_of(environ["PATH_INFO"])
    time.sleep(pause)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
