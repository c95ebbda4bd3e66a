# Runs a program on a terminal of its own and tells, a line each, what its command sees and gets.
# terminal.py HOW PROGRAM [ARG...]; HOW is `leader`, as in a container with -t, or `job`, as from an interactive shell.
import fcntl, os, pty, select, signal, struct, sys, termios, time

how, words = sys.argv[1], sys.argv[2:]
PROBE = """
import os, signal, sys, time
out = os.open("probe", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def say(text): os.write(out, (text + "\\n").encode())
signals = [signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH, signal.SIGUSR1, signal.SIGHUP, signal.SIGTSTP]
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
say(f"group of its own {os.getpid() == os.getpgrp()}")
say(f"session of its own {os.getpid() == os.getsid(0)}")
try: say(f"in the foreground {os.tcgetpgrp(0) == os.getpgrp()}")
except OSError as error: say(f"no terminal {error.errno}")
say("ready")
while True:
    number = signal.sigwait(signals)
    say(f"got {int(number)}")
    if number == signal.SIGUSR1: os._exit(5)
"""


def wait_for(line, count=1):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if os.path.exists("probe") and open("probe").read().split("\n").count(line) >= count:
            return
        select.select([master], [], [], 0.005)
        try:
            os.read(master, 4096)
        except (BlockingIOError, OSError):
            pass
    sys.exit(f"never came: {line}: {open('probe').read() if os.path.exists('probe') else 'nothing'}")


command = words + [sys.executable, "-ISc", PROBE]
pid, master = pty.fork()
if pid == 0:
    if how == "leader":
        os.execvp(command[0], command)
    # A shell's part: a group for the job, in the foreground, and the code told at the end.
    job = os.fork()
    if job == 0:
        os.setpgid(0, 0)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTTOU])
        os.tcsetpgrp(0, os.getpgrp())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTTOU])
        with open("init", "w") as file:
            file.write(str(os.getpid()))
        os.execvp(command[0], command)
    _, status = os.waitpid(job, 0)
    # Whose the terminal is now: the job's, a shell takes it back itself.
    with open("after", "w") as file:
        file.write(str(os.tcgetpgrp(0) == job))
    os._exit(os.waitstatus_to_exitcode(status))
os.set_blocking(master, False)
wait_for("ready")
init = pid if how == "leader" else int(open("init").read())
# Each with a signal after it that is passed on, so that a second one would be seen before.
for key, number in [(b"\x03", 2), (b"\x1c", 3)]:
    os.write(master, key)
    wait_for(f"got {number}")
fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
wait_for("got 28")
# Not taken for the one that the kernel sends when the terminal is handed over.
for count in 1, 2:
    os.kill(init, signal.SIGHUP)
    wait_for("got 1", count)
os.kill(init, signal.SIGUSR1)
wait_for("got 10")
ended = 0
while not ended:
    # Somebody must read, or the terminal fills up.
    select.select([master], [], [], 0.005)
    try:
        os.read(master, 4096)
    except (BlockingIOError, OSError):
        time.sleep(0.005)
    ended, status = os.waitpid(pid, os.WNOHANG)
print(open("probe").read(), end="")
print("code", os.waitstatus_to_exitcode(status))
if how == "job":
    print("terminal is the job's again", open("after").read())
