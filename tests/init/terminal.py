# Plays a person at a terminal. terminal.py SCENE BINARY; prints what went wrong, or "as it should be".
import fcntl, os, pty, re, select, shutil, signal, struct, sys, termios, time

scene, binary = sys.argv[1:]
TEXT = b""


def start(words):
    global master, pid
    pid, master = pty.fork()
    if pid == 0:
        # So wide that no shell wraps what is typed, however long the path of the program is.
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 1000, 0, 0))
        os.environ.update(PS1="$ ", PREFORK_LOG_LEVEL="error", HISTFILE="", INPUTRC="/dev/null")
        os.execvp(words[0], words)


def type(text):
    os.write(master, text.encode())


def expect(pattern, again=None):
    """Waits for a pattern in what is new on the screen; types something again and again meanwhile."""
    global TEXT
    end = time.monotonic() + 20
    next_time = 0
    while time.monotonic() < end:
        found = re.search(pattern.encode(), TEXT)
        if found:
            TEXT = TEXT[found.end():]
            return
        if again and time.monotonic() > next_time:
            next_time = time.monotonic() + 0.3
            type(again)
        if select.select([master], [], [], 0.1)[0]:
            try:
                TEXT += os.read(master, 65536)
            except OSError:
                break
    sys.exit(f"never came: {pattern}; on the screen: {TEXT!r}")


def expect_code(code, again=None):
    global TEXT
    end = time.monotonic() + 20
    next_time = time.monotonic() + 0.3
    while time.monotonic() < end:
        if again and time.monotonic() > next_time:
            next_time += 0.3
            type(again)
        if select.select([master], [], [], 0.01)[0]:
            try:
                TEXT += os.read(master, 65536)
            except OSError:
                pass
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            got = os.waitstatus_to_exitcode(status)
            return got == code or sys.exit(f"ended with {got}, not {code}")
    sys.exit(f"it did not end; on the screen: {TEXT!r}")


def stop_and_end_a_job():
    """In an interactive shell with its own job control: Ctrl-Z, fg, Ctrl-C."""
    # A key throws away what was typed before: each waits until what it is for runs.
    type("sh -c 'echo up now; exec sleep 1000'\n")
    expect("up now\r\n")
    type("\x1a")
    expect("Stopped")
    type("jobs\n")
    expect(r"\[1\]\+  Stopped .*sleep 1000'")
    type("fg\n")
    expect("sleep 1000'\r\n")
    expect(r"\$ ", again="\x03")
    type("echo code $?\n")
    expect("code 130")


BASH = ["bash", "--norc", "--noprofile", "-i"]

if scene == "shell inside":
    # As in a container with -t: an interactive shell with its own job control.
    start([binary, "--", *BASH])
    expect(r"\$ ")
    stop_and_end_a_job()
    type("cat\n")
    expect("hello\r\nhello", again="hello\n")
    type("\x04")
    type("exit 7\n")
    expect_code(7)

elif scene == "variables of a pool":
    # An image says how its usual command runs; a person asks for a shell in it.
    os.environ.update(PREFORK_WORKERS="4", PREFORK_BIND="127.0.0.1:0", PREFORK_MAX_AGE="1h")
    start([binary, "--log-level", "warn", "--", *BASH])
    expect("no pool: stdin is a terminal")
    b"PREFORK_MAX_AGE" in TEXT and sys.exit(f"more than one line: {TEXT!r}")
    expect(r"\$ ")
    stop_and_end_a_job()
    type("exit 7\n")
    expect_code(7)

elif scene == "pool at a terminal":
    os.environ.update(PREFORK_WORKERS="2", PREFORK_READY="delay:10ms")
    for words in (["--", "sh", "-c", "echo slot {worker_id}; exec sleep 1000"],
                  ["-n", "2", "--", "sh", "-c", "echo slot $PREFORK_WORKER_ID; exec sleep 1000"]):
        TEXT = b""
        start([binary, *words])
        expect(r"slot [01]\r\n(.*\r\n)*slot [01]\r\n")
        os.kill(pid, signal.SIGTERM)
        expect_code(0)

elif scene == "nobody to continue it":
    # In a container without a shell, Ctrl-Z must not stop the command for good.
    start([binary, "--", "sh", "-c", "while read -r line; do echo got $line; done; exit 3"])
    type("one\n")
    expect("got one")
    type("\x1a")
    expect(r"\^Z")
    type("two\n")
    expect("got two")
    type("\x04")
    expect_code(3)

elif scene == "job":
    start(BASH)
    expect(r"\$ ")
    type(f"{binary} -- cat\n")
    expect("hello\r\nhello", again="hello\n")
    type("\x1a")
    expect("Stopped")
    type("echo still $((20 + 3))\n")
    expect("still 23")
    type("fg\n")
    expect("cat")
    expect("again\r\nagain", again="again\n")
    type("\x1a")
    expect("Stopped")
    # In the background it stops as soon as it reads.
    type("bg\n")
    expect(r"cat &")
    expect("Stopped", again="jobs\n")
    type("fg\n")
    expect("cat")
    expect("third\r\nthird", again="third\n")
    type("\x04")
    type("echo code $?\n")
    expect("code 0")
    type("exit 4\n")
    expect_code(4)

elif scene == "background":
    start(BASH)
    expect(r"\$ ")
    type(f"{binary} -- cat &\n")
    expect(r"\[1\]")
    type("echo still $((20 + 3))\n")
    expect("still 23")
    expect(r"\[1\]\+  Stopped", again="jobs\n")
    type("fg\n")
    expect("cat")
    expect("hello\r\nhello", again="hello\n")
    type("\x03")
    expect(r"\$ ")
    type("echo code $?\n")
    expect("code 130")
    # One that does not read goes on, and ends by itself.
    type(f"{binary} -- sh -c 'sleep 0.3; exit 9' & wait $!; echo code $?\n")
    expect("code 9")
    type("exit 4\n")
    expect_code(4)

elif scene == "shell below shell":
    start(BASH)
    expect(r"\$ ")
    type(f"PS1='inner> ' {binary} -- bash --norc --noprofile -i\n")
    expect("inner> ")
    type("suspend\n")
    expect("Stopped")
    type("echo outer $((20 + 3))\n")
    expect("outer 23")
    type("fg\n")
    expect("bash")
    type("echo inner $((20 + 4))\n")
    expect("inner 24")
    type("exit 5\n")
    expect(r"\$ ")
    type("echo code $?\n")
    expect("code 5")
    type("exit 4\n")
    expect_code(4)

elif scene == "pipeline":
    # Others of the job need the terminal, too.
    start(BASH)
    expect(r"\$ ")
    type(f"{binary} -- sh -c 'echo from the left; sleep 0.2' | sh -c 'cat; read -r line </dev/tty; echo read $line'\n")
    expect("from the left")
    type("keys\n")
    expect("read keys")
    type(f"printf one | {binary} -- cat; echo code $?\n")
    expect("onecode 0")
    type("exit 4\n")
    expect_code(4)

elif scene == "script":
    # A script has no job control: the terminal must come back by itself.
    # Whoever ends last waits: what is in a terminal when its session ends, the kernel throws away.
    start(["sh", "-c", f"{binary} -- sh -c 'read -r line; echo inner $line'; read -r line; echo script $line; read -r _; exit 6"])
    type("one\n")
    expect("inner one")
    type("two\n")
    expect("script two")
    type("end\n")
    expect_code(6)

elif scene == "output elsewhere":
    # Redirected, the command still reads the terminal: a password, say.
    start(BASH)
    expect(r"\$ ")
    type(f"{binary} -- head -n 1 >out; echo code $?\n")
    expect(r"echo code \$\?\r\n")
    type("hello\n")
    expect("code 0")
    open("out").read() == "hello\n" or sys.exit("not read")
    type(f"x=$({binary} -- sh -c 'read -r p </dev/tty; echo got $p'); echo $x $?\n")
    expect(r"echo \$x \$\?\r\n")
    type("secret\n")
    expect("got secret 0")
    type(f"{binary} -- head -n 1 | cat; echo code $?\n")
    expect(r"echo code \$\?\r\n")
    type("third\n")
    expect("third\r\n(.*third\r\n)?code 0")
    type("exit 4\n")
    expect_code(4)

elif scene == "leader, output elsewhere":
    start(["sh", "-c", f"exec {binary} -- head -n 1 >out"])
    type("hello\n")
    expect_code(0)
    open("out").read() == "hello\n" or sys.exit("not read")

elif scene == "ends in the background":
    # No key while a shell forks: what is stopped between vfork and exec keeps its parent from stopping.
    start(BASH)
    expect(r"\$ ")
    type(f"{binary} -- sh -c 'sleep 3 & echo up now; wait; echo >ended'\n")
    expect("up now\r\n")
    type("\x1a")
    expect("Stopped")
    type("bg\n")
    end = time.monotonic() + 20
    while not os.path.exists("ended") and time.monotonic() < end:
        time.sleep(0.01)
    expect("still 23", again="echo still $((20 + 3))\n")
    # And stopped, when it is told to end.
    type(f"{binary} -- sh -c 'echo up again; exec sleep 1000'\n")
    expect("up again\r\n")
    type("\x1a")
    expect("Stopped")
    type("kill %+\n")
    # A shell does not end while it believes that a job is stopped.
    expect(r"\[\d\].*(Terminated|Exit 143)", again="\n")
    expect("still 33", again="echo still $((30 + 3))\n")
    type("exit 4\n")
    expect_code(4)

elif scene == "no shell above":
    # The leader of the session is no shell with job control: nothing could continue us.
    for words in [
        ["sh", "-c", f"{binary} -- sh -c 'echo up; read -r x; echo read $x; read -r _'; true"],
        [binary, "--", binary, "--", "sh", "-c", "echo up; read -r x; echo read $x; read -r _"],
        ["sh", "-c", f"{binary} --process-group none -- sh -c 'echo up; read -r x; echo read $x; read -r _'; true"],
    ]:
        TEXT = b""
        start(words)
        expect("up\r\n")
        type("\x1a")
        expect(r"\^Z")
        type("on\n")
        expect("read on")
        type("end\n")
        expect_code(0)

elif scene == "new namespace":
    start(BASH)
    expect(r"\$ ")
    type(f"unshare --pid --fork --mount-proc {binary} -- sh -c 'echo up now; sleep 0.3; echo >ended' &\n")
    expect("up now\r\n")
    end = time.monotonic() + 20
    while not os.path.exists("ended") and time.monotonic() < end:
        time.sleep(0.01)
    expect("still 23", again="echo still $((20 + 3))\n")
    type(f"unshare --pid --fork --mount-proc {binary} -- sh -c 'echo up again; read -r x; echo read $x'; echo code $?\n")
    expect("up again\r\n")
    type("on\n")
    expect("read on")
    expect("code 0")
    type("exit 4\n")
    expect_code(4)

elif scene == "brought to the foreground":
    # bash says nothing to a job that runs.
    start(BASH)
    expect(r"\$ ")
    type(f"{binary} -- sh -c 'while [ ! -e go ]; do sleep 0.05; done; read -r x; echo read $x' &\n")
    expect(r"\[1\]")
    type("fg\n")
    expect("read -r x; echo read")
    open("go", "w").close()
    expect("read on", again="on\n")
    type("exit 4\n")
    expect_code(4)

elif scene == "cannot be executed":
    open("bad", "w").write("#!/no/such\n")
    os.chmod("bad", 0o755)
    start(["sh", "-c", f"{binary} -- ./bad; read -r x; echo script $x; read -r _; exit 6"])
    type("one\n")
    expect("script one")
    type("end\n")
    expect_code(6)

elif scene == "stopped alone":
    start(["sh", "-c", f"{binary} -- sh -c 'echo $$ >pid; while [ ! -e go ]; do sleep 0.05; done; exit 3'; echo script $?; read -r _; exit 6"])
    end = time.monotonic() + 20
    while not (os.path.exists("pid") and open("pid").read().strip()) and time.monotonic() < end:
        time.sleep(0.01)
    command = int(open("pid").read())
    os.kill(command, signal.SIGSTOP)
    while "T" not in open(f"/proc/{command}/stat").read().rsplit(")", 1)[1].split()[0]:
        time.sleep(0.01)
    os.kill(command, signal.SIGCONT)
    open("go", "w").close()
    expect("script 3")
    type("end\n")
    expect_code(6)

elif scene == "below another init":
    # It leads the session, and its child has a group of its own: the kernel would let that stop, for good.
    command = ["sh", "-c", "sh -c 'echo up; read -r x; echo read $x'; read -r _; exit 3"]
    for outer in ["tini", "--"], ["catatonit", "--"], [binary, "--"]:
        for options in [], ["--process-group", "none"], ["--process-group", "group"]:
            TEXT = b""
            start([*outer, binary, *options, "--", *command])
            expect("up\r\n")
            type("\x1a")
            expect(r"\^Z")
            type("on\n")
            expect("read on")
            type("\x1aend\n")
            expect_code(3)
    # The same below a script that such an init runs: all of the job goes on.
    TEXT = b""
    start(["tini", "--", "sh", "-c", f"{binary} --process-group none -- sh -c 'echo up; read -r x; echo read $x'; exit 4"])
    expect("up\r\n")
    type("\x1a")
    expect(r"\^Z")
    type("on\n")
    expect("read on")
    expect_code(4)

elif scene == "other shells":
    # Each shell with job control ignores TSTP itself, and is known by that.
    for shell in ["dash", "-i"], ["zsh", "-f", "-i"], ["fish", "--no-config", "-i"]:
        TEXT = b""
        start(shell)
        master_of_shell = master
        type("echo here $((20 + 3))\n" if shell[0] != "fish" else "echo here (math 20 + 3)\n")
        expect("here 23")
        # A shell that is busy throws away what was typed before.
        type(f"{binary} -- sh -c 'echo up now; read -r x; echo read $x'\n")
        expect("up now\r\n")
        type("\x1a")
        expect("[Ss]topped|suspended")
        type("echo still $((20 + 4))\n" if shell[0] != "fish" else "echo still (math 20 + 4)\n")
        expect("still 24")
        type("fg\n")
        expect("read -r x|continued|foreground")
        expect("read on", again="on\n")
        type("exit 4\n")
        expect_code(4)

elif scene == "sandbox":
    # Each call that asks or says whose a terminal is may be refused, and /dev/tty be something else: gVisor.
    GSID, GPGRP, SPGRP, NOTTY, SCTTY, WINSZ = 0x5429, 0x540F, 0x5410, 0x5422, 0x540E, 0x5413
    ENOTTY, EPERM, ENOSYS = 25, 1, 38
    sets = [[(call, error)] for call in (GSID, GPGRP, SPGRP, NOTTY, SCTTY, WINSZ) for error in (ENOTTY, EPERM, ENOSYS)]
    sets += [[(call, ENOTTY) for call in calls] for calls in (
        (GSID, GPGRP), (GSID, SPGRP), (GPGRP, SPGRP), (GSID, GPGRP, SPGRP), (GSID, GPGRP, SPGRP, NOTTY, SCTTY, WINSZ))]
    for name in "tini", "dumb-init":
        os.path.exists(name) or os.symlink(binary, name)
    hide = ["unshare", "-m", "sh", "-c", 'mount --bind /dev/null /dev/tty; exec "$@"', "sh"]
    command = ["sh", "-c", "trap 'echo got int; exit 4' INT; echo up; read -r x; echo read $x; read -r x; read -r x; exit 5"]
    for refused in sets:
        rules = [f"{error}:16:1={call}" for call, error in refused]
        sandbox = [sys.executable, "-IS", os.environ["SECCOMP"], *rules, "--"]
        for around in [], hide:
            for init in [binary], ["./tini"], ["./dumb-init"]:
                TEXT = b""
                start([*around, *sandbox, *init, "--", *command])
                expect("up\r\n")
                type("on\n")
                expect("read on")
                calls = [call for call, _ in refused]
                if init == ["./dumb-init"] and (NOTTY in calls or SCTTY in calls) and NOTTY not in calls:
                    # As with the original, the terminal is nobody's then.
                    type("\n\n")
                    expect_code(5)
                else:
                    # A shell runs no trap for a signal that comes just before its read(2).
                    expect("got int", again="\x03")
                    expect_code(4)
    for init in [binary], ["./tini"]:
        TEXT = b""
        start([*hide, sys.executable, "-IS", os.environ["SECCOMP"], f"{ENOTTY}:16:1={GSID}", "--", *init, "--", *BASH])
        expect(r"\$ ")
        type("sh -c 'echo up now; exec sleep 1000'\n")
        expect("up now\r\n")
        expect(r"\$ ", again="\x03")
        type("echo code $?; exit 7\n")
        expect("code 130")
        expect_code(7)

elif scene == "log in a sandbox":
    # Another user's terminal cannot be opened again but as /dev/tty, and what that is the kernel does not tell (TIOCGDEV).
    shutil.copy(binary, "init")
    os.chmod(".", 0o755)
    sandbox = [sys.executable, "-IS", os.environ["SECCOMP"], f"25:16:1={0x80045432}", "--"]
    user = ["setpriv", "--reuid=65534", "--clear-groups", "--", "env", "PREFORK_LOG_LEVEL=info"]
    start([*sandbox, *user, "./init", "--", "sh", "-c", "read -r x; exit 3"])
    type("on\n")
    expect("command exited: code 3")
    expect_code(3)

elif scene == "lost to nobody":
    # A job of the command has taken the terminal and ended: the command would stop at its next read, for good.
    script = """
import os, signal
job = os.fork()
if job == 0:
    os.setpgid(0, 0)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTTOU])
    os.tcsetpgrp(0, os.getpgrp())
    os._exit(0)
os.waitpid(job, 0)
print("up", flush=True)
print("read", input(), flush=True)
os._exit(3)
"""
    start([binary, "--", sys.executable, "-ISc", script])
    expect("up\r\n")
    type("on\n")
    expect("read on")
    expect_code(3)

elif scene == "session outside":
    # unshare, bubblewrap, nsenter: whose terminal it is, is known outside of our PID namespace only.
    unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    for words in [binary, "--", "dash", "-i"], ["sh", "-c", f"{binary} -- dash -i; exit $?"]:
        TEXT = b""
        start([*unshare, *words])
        expect("[$#] ")
        type("echo here $((20 + 3))\n")
        expect("here 23")
        type("exit 0\n")
        expect_code(0)
    # Its keys are the command's, and a TERM reaches all of its group. The command does not fork when a key comes: what is
    # stopped between vfork and exec keeps it from stopping, and us from seeing that.
    script = """(trap 'echo term >inner; exit' TERM; echo up; while :; do sleep 0.05; done) &
        trap 'echo got int' INT; trap 'wait; exit 3' TERM; while :; do read -r x && echo read $x; done"""
    TEXT = b""
    start([*unshare, binary, "--", "sh", "-c", script])
    expect("up\r\n")
    type("on\n")
    expect("read on")
    expect("got int", again="\x03")
    type("\x1a")
    expect(r"\^Z")
    expect("read still", again="still\n")
    init = int(open(f"/proc/{pid}/task/{pid}/children").read())
    os.kill(init, signal.SIGTERM)
    expect_code(3, again="\n")
    open("inner").read() == "term\n" or sys.exit("TERM did not reach the group")

elif scene == "hang-up":
    start([binary, "--", "sh", "-c", "trap 'echo hup >hup; exit' HUP; echo ready; while :; do sleep 0.01; done"])
    expect("ready")
    os.close(master)
    end = time.monotonic() + 20
    while not os.path.exists("hup") and time.monotonic() < end:
        time.sleep(0.01)
    os.path.exists("hup") or sys.exit("no HUP")
    os.waitpid(pid, 0)

print("as it should be")
