# Looks at a pool on a terminal. terminal.py SCENE BINARY; prints what went wrong, or "as it should be".
import fcntl, os, pty, re, select, signal, struct, subprocess, sys, termios, time

scene, binary = sys.argv[1:]
WIDTH = 24 if scene == "narrow" else 100
WORKER = """
import os, signal, socket, sys, time
def say(text):
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(text.encode(), os.environ['NOTIFY_SOCKET'])
def wait_for(name):
    while not os.path.exists(name): time.sleep(0.005)
me = os.environ['PREFORK_WORKER_ID']
signal.signal(signal.SIGTERM, lambda *_: (os.environ['PREFORK_GENERATION'] == '1' or wait_for('end' + me), os._exit(0)))
if os.environ['PREFORK_GENERATION'] != '1': wait_for('go' + me)
say('READY=1')
while True: time.sleep(0.02)
"""


class Screen:
    """As much of a terminal as we use: what is on it, and what each line was while it was the last one."""

    def __init__(self):
        self.lines, self.column, self.rest, self.raw, self.drawn, self.seen = [""], 0, "", b"", [], 0

    def feed(self, data):
        self.raw += data
        self.rest += data.decode()
        while self.rest:
            found = re.match(r"\x1b\[[0-9;]*[A-Za-z]", self.rest)
            if found:
                if found[0] == "\x1b[K": self.lines[-1] = self.lines[-1][:self.column]
                elif not found[0].endswith("m"): sys.exit(f"what is {found[0]!r}?")
                self.rest = self.rest[found.end():]
                continue
            if self.rest[0] == "\x1b": return
            char, self.rest = self.rest[0], self.rest[1:]
            if char == "\r": self.column = 0
            elif char == "\n": self.lines.append(""); self.column = 0
            else:
                line = self.lines[-1].ljust(self.column)
                self.lines[-1] = line[:self.column] + char + line[self.column + 1:]
                self.column += 1
                self.drawn.append(self.lines[-1])

    def expect(self, pattern):
        """Waits until the last line is this, or was since the last call: it may have been for a moment only."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            was = next((at for at in range(self.seen, len(self.drawn)) if re.fullmatch(pattern, self.drawn[at])), None)
            if was is not None: self.seen = was + 1
            if was is not None or re.fullmatch(pattern, self.lines[-1]): return
            self.read(0.1)
        sys.exit(f"never came: {pattern}; on the screen: {self.lines}")

    def read(self, wait):
        if select.select([master], [], [], wait)[0]:
            try:
                data = os.read(master, 65536)
            except OSError:
                return False
            self.feed(data)
            return bool(data)
        return True

    def read_to_the_end(self):
        while self.read(20): pass


def start(*options):
    global master
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, WIDTH, 0, 0))
    environment = dict(os.environ, TERM="dumb" if scene == "dumb" else "xterm")
    words = [binary, "-n", "2", "--ready", "notify", "--drain-time", "0s", "--replacement-gap", "0s",
             "--graceful-timeout", "20s", *options, "--", sys.executable, "-IS", "-c", WORKER]
    if scene == "pipe": words = ["sh", "-c", 'exec 2>&1 "$@" | cat', "sh", *words]
    child = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True)
    os.close(slave)
    return child


def allow(name):
    open(name, "w").close()


def log(message):
    end = time.monotonic() + 20
    while not any(message in line for line in screen.lines[:-1]):
        if time.monotonic() > end: sys.exit(f"never logged: {message}; on the screen: {screen.lines}")
        screen.read(0.1)


screen = Screen()
if scene in ("whole", "narrow"):
    child = start("--drain-delay", "2s")
    log("pool ready")
    screen.expect("")
    child.send_signal(signal.SIGHUP)
    cut = slice(0, WIDTH - 1)
    screen.expect("reloading: 0 of 2 workers new"[cut])
    # In which order they are replaced is not for us to know.
    allow("go0"), allow("go1")
    log("reload finished")
    screen.expect("")
    if scene == "whole" and "reloading: 1 of 2 workers new" not in screen.drawn: sys.exit(f"drawn: {screen.drawn}")
    child.send_signal(signal.SIGTERM)
    for text in "draining: 2 of 2 workers serve, for 2 s", "draining: 2 of 2 workers serve, for 1 s":
        screen.expect(text[cut])
    for text in "stopping: 2 of 2 workers left, 20 s of grace", "stopping: 2 of 2 workers left, 19 s of grace":
        screen.expect(text[cut])
    allow("end0")
    screen.expect("stopping: 1 of 2 workers left, 1[0-9] s of grace"[cut])
    allow("end1")
    screen.read_to_the_end()
    if child.wait() != 0: sys.exit("it failed")
    longest = max(len(line) for line in screen.drawn if re.match("(reload|drain|stopp)ing:", line))
    if longest >= WIDTH: sys.exit(f"{longest} columns of {WIDTH}")
    # What is left is the log, each line whole.
    if any(re.search("^(reload|drain|stopp)ing:", line) for line in screen.lines): sys.exit(f"left: {screen.lines}")
    if screen.lines[-1] != "" or "pool stopped" not in screen.lines[-2]: sys.exit(f"the end: {screen.lines}")
    if not all(re.match(r"\d{4}-.* (INFO|WARN) ", line) for line in screen.lines[:-1]): sys.exit(f"torn: {screen.lines}")
else:
    child = start(*(["--log-format", "json"] if scene == "json" else []))
    log("pool ready")
    if scene != "pipe":
        child.send_signal(signal.SIGHUP)
        allow("go0"), allow("go1")
        log("reload finished")
        allow("end0"), allow("end1")
        child.send_signal(signal.SIGTERM)
    else:
        os.killpg(child.pid, signal.SIGTERM)
    screen.read_to_the_end()
    child.wait()
    if b"\x1b[K" in screen.raw or b"ing: " in screen.raw: sys.exit(f"a line was drawn: {screen.raw}")
print("as it should be")
