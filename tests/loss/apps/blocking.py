"""The plainest worker: one connection after the other, each taken by an accept(2) that blocks, and closed after its
answer. At SIGTERM it finishes the one that it has in hand."""

import os
import signal
import socket

listener = socket.socket(fileno=3)
listener.setblocking(True)
idle = stopping = False


def stop(*_):
    global stopping
    stopping = True
    if idle:
        raise SystemExit


def serve(connection):
    request = b""
    while b"\r\n\r\n" not in request:
        chunk = connection.recv(65536)
        if not chunk:
            return
        request += chunk
    path = request.split(b" ", 2)[1]
    if path == b"/used-up":
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
            supervisor.sendto(b"X_PREFORK_REQUESTS=1000000000", os.environ["NOTIFY_SOCKET"])
    body = path.removeprefix(b"/echo/")
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    connection.sendall(head + body)


signal.signal(signal.SIGTERM, stop)
while not stopping:
    idle = True
    try:
        connection, _ = listener.accept()
    except OSError:
        break  # The supervisor has shut the listener: the stop signal is about to follow.
    idle = False
    with connection:
        serve(connection)
