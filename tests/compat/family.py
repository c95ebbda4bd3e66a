# A command with a relative in its process group and one in a session of its own. Each blocks every signal and writes
# "ready PID" and then the number of each signal it gets to a file: `main`, `member`, `outsider`. At signal 64 the
# command ends with 7; the others never end by themselves.
import ctypes, os

libc = ctypes.CDLL(None, use_errno=True)
SIGPROCMASK, SIGTIMEDWAIT = {"x86_64": (14, 128), "aarch64": (135, 137), "riscv64": (135, 137)}[os.uname().machine]
ALL = ctypes.c_uint64(2**64 - 1)
libc.syscall(SIGPROCMASK, 0, ctypes.byref(ALL), None, 8)
read_ready, write_ready = os.pipe()


def record(name):
    out = open(name, "w", buffering=1)
    print("ready", os.getpid(), file=out)
    os.write(write_ready, b".")
    info = ctypes.create_string_buffer(128)
    while True:
        number = libc.syscall(SIGTIMEDWAIT, ctypes.byref(ALL), info, None, 8)
        if number > 0:
            print(number, file=out)
            if number == 64 and name == "main":
                os._exit(7)


if os.fork() == 0:
    record("member")
if os.fork() == 0:
    os.setsid()
    record("outsider")
for _ in range(2):
    os.read(read_ready, 1)
record("main")
