# Blocks every signal, prints "ready as PID", then "number code pid value" for each signal, until COUNT have come.
# By raw system calls: neither glibc nor Python lets a program wait for 32 and 33.
import ctypes, os, struct, sys

libc = ctypes.CDLL(None, use_errno=True)
SIGPROCMASK, SIGTIMEDWAIT = {"x86_64": (14, 128), "aarch64": (135, 137), "riscv64": (135, 137)}[os.uname().machine]
ALL = ctypes.c_uint64(2**64 - 1)
if libc.syscall(SIGPROCMASK, 0, ctypes.byref(ALL), None, 8) != 0:
    sys.exit("cannot block signals")
count = int(sys.argv[1])
out = open(1, "w", buffering=1)
print("ready as", os.getpid(), file=out)
if len(sys.argv) > 2:
    # Queues one to its parent, as sigqueue(3), with this value.
    libc.sigqueue(os.getppid(), 40, ctypes.c_void_p(int(sys.argv[2])))
info = ctypes.create_string_buffer(128)
while count > 0:
    number = libc.syscall(SIGTIMEDWAIT, ctypes.byref(ALL), info, None, 8)
    if number < 0:
        continue
    # siginfo_t: signo, errno, code, padding, pid, uid, value.
    _, _, code, _, pid, _, value = struct.unpack_from("iiiiiIQ", info)
    print(number, code, pid, value, file=out)
    count -= 1
