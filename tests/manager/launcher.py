# Binds sockets, gives them to a program as systemd does (LISTEN_FDS), and keeps its own copies meanwhile.
# launcher.py SPEC,SPEC,... NAMES PROGRAM ARG...; SPEC is tcp:HOST:PORT, unix:PATH, one of udp: deaf: connected: file: none:,
# or fd:PATH, where somebody gives one. Prints where each is, a line each.
import os, signal, socket, sys

specs, names, *command = sys.argv[1:]
sockets = []
for spec in specs.split(","):
    kind, rest = spec.split(":", 1)
    if kind == "tcp":
        host, port = rest.rsplit(":", 1)
        made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, int(port)))
        made.listen(1000)
        print("%s:%d" % made.getsockname()[:2], flush=True)
    elif kind == "unix":
        made = socket.socket(socket.AF_UNIX)
        made.bind("\0" + rest[1:] if rest[0] == "@" else rest)
        made.listen(1000)
        print(rest, flush=True)
    elif kind == "fd":
        giver = socket.socket(socket.AF_UNIX)
        giver.connect(rest)
        made = socket.socket(fileno=socket.recv_fds(giver, 1, 1)[1][0])
    elif kind == "none":
        made = None
    elif kind == "udp":
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(("127.0.0.1", 0))
    elif kind == "deaf":
        made = socket.socket()
        made.bind(("127.0.0.1", 0))
    elif kind == "connected":
        made = socket.socketpair()[0]
    elif kind == "file":
        made = open("/dev/null")
    sockets.append(made)

child = os.fork()
if child == 0:
    # Out of the way first: one of them may have the number that another is to get.
    high = [made and os.dup2(made.fileno(), 500 + index) for index, made in enumerate(sockets)]
    os.closerange(3, 500)
    for index, fd in enumerate(high):
        if fd: os.dup2(fd, 3 + index, inheritable=True)
    os.closerange(500, 1000)
    os.environ.update(LISTEN_FDS=str(len(sockets)), LISTEN_PID=str(os.getpid()))
    if names: os.environ["LISTEN_FDNAMES"] = names
    os.execvp(command[0], command)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
sys.exit(code if code >= 0 else 128 - code)
