"""The application under load, for ASGI and WSGI. `/echo/17` answers with `17`, `/pid` with who it is, and after
`/used-up` the supervisor takes this worker for one that has served its requests.

From the drain signal on, the ASGI one tells its clients to go: `Connection: close` with every answer. That is the one
thing a server cannot be told from outside, and all that an application has to do for `--drain-signal`.
"""

import os
import signal
import socket

draining = False


def drain(*_):
    global draining
    draining = True


# Imported in the main thread, and after the fork of every server that forks. gunicorn's master keeps USR2 for itself
# and passes USR1 on.
signal.signal(signal.SIGUSR1, drain)
signal.signal(signal.SIGUSR2, drain)


def body_of(path):
    if path == "/pid":
        return b"%d" % os.getpid()
    if path == "/used-up" and "NOTIFY_SOCKET" in os.environ:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
            supervisor.sendto(b"X_PREFORK_REQUESTS=1000000000", os.environ["NOTIFY_SOCKET"])
    return path.removeprefix("/echo/").encode()


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            event = (await receive())["type"]
            await send({"type": event + ".complete"})
            if event == "lifespan.shutdown":
                return
    body = body_of(scope["path"])
    headers = [(b"content-length", b"%d" % len(body))]
    if draining:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def wsgi(environ, start_response):
    body = body_of(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
