"""Says goodbye to clients that keep their connections, when prefork-init asks for it (--drain-signal).

A server that is told to stop closes connections on which a request may be on its way. A client that has read
`Connection: close` sends none. Importing this installs the handlers: do it in the main thread.
"""

import signal

draining = False


def drain(*_):
    global draining
    draining = True


# USR2 under uvicorn and hypercorn. gunicorn's master keeps that one for itself, and passes USR1 on.
signal.signal(signal.SIGUSR1, drain)
signal.signal(signal.SIGUSR2, drain)


class SayGoodbye:
    """ASGI middleware: from the drain signal on, each answer carries `Connection: close`."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def send_goodbye(message):
            if draining and message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (b"connection", b"close")]
            await send(message)

        await self.app(scope, receive, send_goodbye)
