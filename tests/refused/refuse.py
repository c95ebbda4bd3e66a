"""refuse.py ERRNO NR[:ARG] COMMAND...: run COMMAND with system call NR refused by seccomp(2); with ARG, only where that is its
first argument. x86_64 alone: the numbers are that architecture's, and so are the offsets."""
import ctypes
import os
import struct
import sys

ALLOW, ERRNO = 0x7FFF0000, 0x00050000
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
NR_AT, FIRST_ARG_AT = 0, 16


def refuse(errno, nr, arg=None):
    def op(code, true, false, k):
        return struct.pack("HBBI", code, true, false, k)

    program = op(LOAD, 0, 0, NR_AT) + op(EQUAL, 0, 1 if arg is None else 3, nr)
    if arg is not None:
        program += op(LOAD, 0, 0, FIRST_ARG_AT) + op(EQUAL, 0, 1, arg)
    program += op(RETURN, 0, 0, ERRNO | errno) + op(RETURN, 0, 0, ALLOW)
    instructions = ctypes.create_string_buffer(program, len(program))
    filter = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(instructions))
    filter = ctypes.create_string_buffer(filter, 16)
    libc = ctypes.CDLL(None)
    PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    assert libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.c_void_p(ctypes.addressof(filter))) == 0


if __name__ == "__main__":
    number, _, first = sys.argv[2].partition(":")
    refuse(int(sys.argv[1]), int(number, 0), int(first, 0) if first else None)
    os.execv(sys.argv[3], sys.argv[3:])
