"""HTTP of the smallest kind."""

from __future__ import annotations

import socket


def free_port() -> int:
    """Free until a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def connect(port: int, seconds: float = 10) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=seconds)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def ask(client: socket.socket, path: str, close: bool = False) -> tuple[int, bytes]:
    """A request on a connection: the status and the body. ConnectionError where there is no whole answer."""
    kind = "close" if close else "keep-alive"
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: race\r\nConnection: {kind}\r\n\r\n".encode())
    data = b""
    while True:
        part = client.recv(65536)
        if not part:
            raise ConnectionError("closed without a whole answer")
        data += part
        head, end, body = data.partition(b"\r\n\r\n")
        if not end:
            continue
        fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:])
        if len(body) >= int(fields.get(b"content-length", b"0")):
            return int(head.split(b" ", 2)[1]), body


def get(port: int, path: str, seconds: float = 10) -> tuple[int, bytes]:
    with connect(port, seconds) as client:
        return ask(client, path, close=True)
