//! Workers in Python, as small as the question that a test asks.

use crate::harness;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

/// What every script can use.
const PRELUDE: &str = r#"
import errno, json, os, select, signal, socket, sys, threading, time

def note(name, what):
    with open(name, "a") as file:
        file.write(what + "\n")

def notify_address(name=None):
    name = name or os.environ["NOTIFY_SOCKET"]
    return "\0" + name[1:] if name[0] == "@" else name

def say(text):
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(text.encode(), notify_address())

def wait_for_file(name):
    while not os.path.exists(name):
        time.sleep(0.005)

def is_worker(number):
    return os.environ["PREFORK_WORKER_ID"] == str(number)

def answer(listener, body):
    connection, _ = listener.accept()
    connection.recv(65536)
    body = body().encode()
    head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    connection.sendall(head.encode() + body)
    connection.close()

def serve(listener=None, body=lambda: str(os.getpid())):
    listener = listener or socket.socket(fileno=3)
    while True:
        try:
            answer(listener, body)
        except OSError as error:
            # Refused at the stop: what such a program does then is its own business, and not to be stopped by it.
            if error.errno != errno.EINVAL: raise
            sleep_for_ever()

def serve_all(body=lambda: str(os.getpid())):
    # All listeners, and at SIGTERM nothing that was taken is left unanswered.
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(1))
    listeners = [socket.socket(fileno=3 + n) for n in range(int(os.environ["LISTEN_FDS"]))]
    for listener in listeners: listener.setblocking(False)
    while not stopping:
        for listener in select.select(listeners, [], [], 0.02)[0]:
            try:
                connection = listener.accept()[0]
            except OSError:
                # Another was first, or it is refused.
                continue
            with connection:
                connection.settimeout(5)
                connection.recv(65536)
                text = body()
                head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(text)
                connection.sendall((head + text).encode())

def sleep_for_ever():
    # A signal that comes just before the system call is handled after it: Python only looks between two steps.
    while True:
        time.sleep(0.05)

def daemon(act):
    # An orphan in a session of its own, as daemon(3) makes it.
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            act()
        os._exit(0)
    os.wait()
"#;

/// A worker that runs this script.
pub fn python(script: &str) -> Vec<OsString> {
    let program = harness::python();
    // Isolated and without site packages: it starts in 20 ms.
    let script = format!("{PRELUDE}\n{script}");
    [program].into_iter().chain(["-I", "-S", "-c", &script].map(OsString::from)).collect()
}

/// A worker that runs the script of [`write_app`].
pub fn app() -> Vec<OsString> {
    [harness::python()].into_iter().chain(["-I", "-S", "app.py"].map(OsString::from)).collect()
}

/// Puts a version of an application in place, at once.
pub fn write_app(dir: &Path, script: &str) {
    fs::write(dir.join("app.new"), format!("{PRELUDE}\n{script}")).unwrap();
    fs::rename(dir.join("app.new"), dir.join("app.py")).unwrap();
}

/// Answers one connection at a time: `/block` when a file appears, the probe badly while it is ill, and any other path
/// at once, with the number of the slot. Who hangs up meanwhile is no reason to end.
pub const SERVER: &str = r#"
me = os.environ["PREFORK_WORKER_ID"]

def ill():
    return False

def server():
    listener = socket.socket(fileno=3)
    while True:
        connection, _ = listener.accept()
        with connection:
            try:
                path = connection.recv(65536).decode().split(" ")[1]
                if path == "/block":
                    note("blocked", me)
                    wait_for_file("go")
                code = "500 Ill" if path == "/probe" and ill() else "200 OK"
                head = "HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: 1\r\n\r\n" % code
                connection.sendall((head + me).encode())
            except (OSError, IndexError):
                pass

def serve_beside():
    threading.Thread(target=server, daemon=True).start()

def wait_for_signals():
    # The kernel may give a signal to the other thread, and Python handles it in this one, once that wakes.
    sleep_for_ever()
"#;

/// Applications for the real servers: `/` answers with the process's pid, `/slow` after a second.
pub const APPS: &str = r#"
import asyncio, os, time

async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            event = (await receive())["type"]
            await send({"type": event + ".complete"})
            if event == "lifespan.shutdown":
                return
    if scope["path"] == "/slow":
        await asyncio.sleep(1)
    body = str(os.getpid()).encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})

def wsgi(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        time.sleep(1)
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"#;
