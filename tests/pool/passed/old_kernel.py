"""old_kernel.py COMMAND...: runs it where the kernel knows no SO_PASSRIGHTS (before 6.16). x86_64."""
import ctypes, os, struct, sys

LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
NR, THIRD_ARGUMENT = 0, 32
SETSOCKOPT, GETSOCKOPT, SO_PASSRIGHTS, ENOPROTOOPT = 54, 55, 83, 92


def step(code, if_true, if_false, value):
    return struct.pack("HBBI", code, if_true, if_false, value)


program = b"".join([
    step(LOAD, 0, 0, NR),
    step(EQUAL, 1, 0, SETSOCKOPT),
    step(EQUAL, 0, 3, GETSOCKOPT),
    step(LOAD, 0, 0, THIRD_ARGUMENT),
    step(EQUAL, 0, 1, SO_PASSRIGHTS),
    step(RETURN, 0, 0, 0x50000 | ENOPROTOOPT),
    step(RETURN, 0, 0, 0x7FFF0000),
])
buffer = ctypes.create_string_buffer(program, len(program))
filter = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer)), 16)
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(22, 2, ctypes.c_void_p(ctypes.addressof(filter))) == 0 or \
    (libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.c_void_p(ctypes.addressof(filter))) == 0)
os.execvp(sys.argv[1], sys.argv[1:])
