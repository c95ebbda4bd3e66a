"""cases.py init|pool|transient BINARY WORKER: refuses the system calls of our own process, one a run.

The cases are generated: strace(1) tells which calls a start, a life and an end make, so that a new one cannot be forgotten. Those
that are left out are below, each with its reason. A call of an init is refused by seccomp(2), and so is the command's, which
inherits the filter: what the command alone ends with under it is what "works" means. A call that the dynamic loader makes too is
refused from our `main` on, by strace, and so is every call of a pool: there the worker is not concerned.

Accepted is: it works, or it ends with 125, 126 or 127 and a last line that names the call. Never a hang, a spin, a panic.
"""
import concurrent.futures
import errno as errnos
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

MODE, BINARY, WORKER = sys.argv[1:4]
HERE = os.path.dirname(os.path.abspath(__file__))
REFUSE = [sys.executable, "-IS", os.path.join(HERE, "../harness/seccomp.py")]
NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
SH = shutil.which("sh", path="/bin:/usr/bin")

LIMIT = 20  # seconds a run may take, with strace, on a busy machine
SPIN = 4  # seconds of processor time, which include strace's, or Python's start
ERRORS = {"EPERM": errnos.EPERM, "ENOSYS": errnos.ENOSYS}

# Left out, and why.
EXCLUDED = {
    "execve": "the command cannot be executed, nor can we",
    "exit_group": "nothing can end without it",
    "write": "nothing can be told without it",
    "brk": "memory of libc's, which has mmap as well, and aborts where it has neither",
    "mmap": "memory of libc's; the stack of a new child is had or named",
    "munmap": "libc keeps the memory",
    "mremap": "libc copies",
    "madvise": "advice",
    "rt_sigreturn": "no handler of ours runs",
    "mprotect": "libc's, before main",
    "set_tid_address": "libc's, before main and in a fork, and never refused",
    "set_robust_list": "libc's, before main and in a fork",
    "rseq": "libc's, before main and in a fork",
    "futex": "libc's",
}

# What the line may say in place of the call's own name.
ALSO = {
    "clone": {"clone", "fork"},
    "rt_sigprocmask": {"rt_sigprocmask", "sigprocmask"},
    "rt_sigaction": {"rt_sigaction", "sigaction"},
    "signalfd4": {"signalfd"},
    "epoll_create1": {"epoll_create"},
    "eventfd2": {"eventfd"},
    "pipe2": {"pipe"},
    "accept4": {"accept"},
    "newfstatat": {"fstat"},
}


def names_of(call):
    return ALSO.get(call, {call})


class Calls:
    """The calls of our process from main on, and how many of each the loader has made before."""

    def __init__(self):
        self.before, self.numbers, self.own, self.children = {}, {}, {}, {}

    def add(self, trace):
        lines = [re.match(r"(\d+)\s+(?:\[\s*(\d+)\] )(.*)", line) for line in open(trace, errors="replace")]
        lines = [(int(m[1]), int(m[2]), m[3]) for m in lines if m]
        own = next(pid for pid, _, text in lines if text.startswith("execve(") and BINARY in text)
        in_main, programs, before = False, set(), {}
        for pid, number, text in lines:
            name = re.match(r"\w+", text)
            if not name or text.startswith("<... "):
                continue
            name = name[0]
            self.numbers[name] = number
            if pid == own:
                in_main |= text.startswith("rt_sigprocmask(SIG_SETMASK, ~[")
                into = self.own if in_main else before
                into[name] = into.get(name, 0) + 1
            elif pid not in programs:
                # A child of ours until it is a program of somebody else's.
                if name == "execve" and "ENOENT" not in text:
                    programs.add(pid)
                self.children[name] = self.children.get(name, 0) + 1

        self.before = before

    def cases(self):
        names = {**self.own, **self.children}
        return sorted(name for name in names if name not in EXCLUDED)


class Run:
    """A run to its end, or for as long as it may take."""

    def __init__(self, words, directory):
        self.begin, self.directory = time.monotonic(), directory
        self.log = os.path.join(directory, "stderr")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFORK_")}
        environment |= {"PATH": "/usr/local/bin:/usr/bin:/bin", "PREFORK_COLOR": "never"}
        environment.pop("WEB_CONCURRENCY", None)
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [*NAMESPACE, *words], cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )
        self.code = self.cpu = None

    def ended(self):
        if self.code is None:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if pid:
                self.process.returncode = self.code = os.waitstatus_to_exitcode(status)
                self.cpu = usage.ru_utime + usage.ru_stime
        return self.code is not None

    def wait(self):
        while not self.ended():
            if time.monotonic() - self.begin > LIMIT:
                return self.kill()
            time.sleep(0.005)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.code = "hangs"

    def lines(self):
        with open(self.log, errors="replace") as log:
            return [line.rstrip("\n") for line in log]

    def fault(self, names, works):
        """What is wrong with how it went, if anything is. Who gives up says one of these."""
        text = "\n".join(self.lines())
        for sign in ["panicked", "internal error", "stack overflow"]:
            if sign in text:
                return f"{sign}:\n{text}"
        if self.code == "hangs":
            return f"hangs:\n{text[-2000:]}"
        if self.cpu > SPIN:
            return f"spins: {self.cpu} s of processor time\n{text[-2000:]}"
        if self.code == works:
            return None
        last = self.lines()[-1:] or [""]
        named = any(name in last[0] for name in names)
        if self.code in [125, 126, 127] and named:
            return None
        return f"ends with {self.code}, not {works}:\n{text[-2000:]}"


def injected(name, how):
    return ["strace", "-qq", "-o", "/dev/null", "-e", f"trace={name}", "-e", f"inject={name}:{how}"]


def refused(calls, name, error, in_children=False):
    """What runs a program without this call: seccomp, or strace where the loader needs it too."""
    if name in calls.before or not in_children:
        return injected(name, f"error={error}:when={calls.before.get(name, 0) + 1}+")
    return [*REFUSE, f"{ERRORS[error]}:{calls.numbers[name]}", "--"]


def init(words, through, directory):
    run = Run([*through, BINARY, "--health", "127.0.0.1:0", *words], directory)
    run.wait()
    return run


COMMAND = ["--", SH, "-c", "exit 7"]


def init_case(calls, name, error, directory):
    through = refused(calls, name, error, in_children=True)
    alone = 7
    if through[0] != "strace":
        control = Run([*through, *COMMAND[1:]], directory)
        control.wait()
        alone = control.code
    return init(COMMAND, through, directory).fault(names_of(name), alone)


def ask(path, what):
    """The status of an answer of the endpoint; None if there is none."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(path)
            client.sendall(f"GET {what} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            return int(client.recv(4096).split(b" ")[1])
    except (OSError, IndexError, ValueError):
        return None


def ours(pid):
    """Our own process, below what was started."""
    try:
        if os.readlink(f"/proc/{pid}/exe") == BINARY:
            return pid
        with open(f"/proc/{pid}/task/{pid}/children") as children:
            found = [ours(int(child)) for child in children.read().split()]
        return next((pid for pid in found if pid), None)
    except OSError:
        return None


def pool(through, directory, *options, binary=BINARY):
    health = os.path.join(directory, "health")
    words = ["--workers", "1", "-b", "127.0.0.1:0", "--health", f"unix:{health}", "--drain-time", "50ms"]
    run = Run([*through, binary, *words, "--", WORKER, *options], directory)
    run.served = False
    while not run.ended() and time.monotonic() - run.begin < LIMIT:
        if ask(health, "/readyz") == 200 and ask(health, "/livez") == 200:
            run.served = True
            break
        time.sleep(0.02)
    if not run.ended():
        pid = ours(run.process.pid)
        if pid:
            os.kill(pid, signal.SIGTERM)
    run.begin = time.monotonic()
    run.wait()
    return run


def pool_case(calls, name, error, directory):
    # It says that it is ready as well: one that cannot be seen to accept has to.
    run = pool(refused(calls, name, error, in_children=name not in calls.own), directory, "--notify")
    fault = run.fault(names_of(name), 0)
    if not fault and run.code == 0 and not run.served:
        text = "\n".join(run.lines())
        return f"was never ready, or did not answer:\n{text[-2000:]}"
    return fault


def collected(mode, directory):
    calls = Calls()
    for options in [[], ["--notify"]]:
        trace = os.path.join(directory, "trace")
        through = ["strace", "-f", "-n", "-qq", "-o", trace]
        run = init(COMMAND, through, directory) if mode == "init" else pool(through, directory, *options)
        assert run.code == (7 if mode == "init" else 0), (run.code, run.lines())
        calls.add(trace)
    return calls


# Errors that pass, of a call that may give them: once, at the first call from main on.
TRANSIENT = {
    "clone": ["EAGAIN", "ENOMEM"],
    "pipe2": ["EMFILE", "ENFILE"],
    "epoll_ctl": ["ENOMEM"],
    "epoll_wait": ["EINTR"],
    "epoll_create1": ["EMFILE", "ENOMEM"],
    "signalfd4": ["ENFILE", "ENOMEM"],
    "socket": ["ENOBUFS", "EMFILE"],
    "bind": ["ENOMEM"],
    "listen": ["ENOBUFS"],
    "accept4": ["EINTR", "ECONNABORTED", "EMFILE", "ENOMEM"],
    "openat": ["EINTR", "EMFILE", "ENOMEM"],
    "read": ["EINTR"],
    "poll": ["EINTR", "ENOMEM"],
    "waitid": ["EINTR"],
    "getrandom": ["EINTR", "EAGAIN"],
    "readlink": ["ENOMEM"],
}


def transient_case(mode, calls, name, error, directory):
    told = os.strerror(getattr(errnos, error))
    through = injected(name, f"error={error}:when={calls.before.get(name, 0) + 1}")
    if mode == "init":
        return init(COMMAND, through, directory).fault([told], 7)
    run = pool(through, directory)
    fault = run.fault([told], 0)
    return fault or (None if run.served or run.code != 0 else "was never ready:\n" + "\n".join(run.lines()))


def memory_case(calls, after, directory):
    """The kernel gives no memory from this call of main's on; before anything is started, that is one line."""
    injects = []
    # brk(2) says by a low address that it has failed.
    for name, how in [("brk", "retval=0"), ("mmap", "error=ENOMEM")]:
        injects += ["-e", f"inject={name}:{how}:when={calls.before.get(name, 0) + after}+"]
    through = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=brk,mmap", *injects]
    return init(COMMAND, through, directory).fault(["memory"], 7)


def main():
    if os.uname().machine != "x86_64":
        print("NOT TESTED: calls are refused by their numbers, which are those of x86_64", flush=True)
        return 0
    only = sys.argv[4:]
    with tempfile.TemporaryDirectory(prefix="refused-") as top:
        os.chmod(top, 0o755)

        def directory(*names):
            path = os.path.join(top, "-".join(names))
            os.mkdir(path)
            return path

        def attempt(case):
            mode, name, error, kind = case
            place = directory(*map(str, case))
            if kind == "memory":
                return case, memory_case(calls[mode], error, place)
            if kind == "transient":
                return case, transient_case(mode, calls[mode], name, error, place)
            refused_case = init_case if mode == "init" else pool_case
            return case, refused_case(calls[mode], name, error, place)

        cases = []
        modes = ["init", "pool"] if MODE == "transient" else [MODE]
        calls = {mode: collected(mode, directory("collect", mode)) for mode in modes}
        for mode in modes:
            if MODE == "transient":
                cases += [(mode, n, e, "transient") for n in TRANSIENT if n in calls[mode].own for e in TRANSIENT[n]]
            else:
                cases += [(mode, n, e, "refused") for n in calls[mode].cases() for e in ERRORS]
        if MODE == "transient":
            cases += [("init", "mmap", after, "memory") for after in [1, 2, 3, 4]]
        cases = [case for case in cases if not only or case[1] in only]
        faults, begin = 0, time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(4) as workers:
            for (mode, name, error, _), fault in workers.map(attempt, cases):
                if fault:
                    faults += 1
                    print(f"--- {mode}: {name} gives {error}: {fault}\n", flush=True)
        print(f"{len(cases)} cases in {time.monotonic() - begin:.0f} s, {faults} faults", flush=True)
    return 1 if faults or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
