# Refuses system calls, as sandboxes do, to a command and all below it (seccomp(2); x86_64).
# seccomp.py RULE... -- COMMAND...; a rule is ERRNO:NUMBER, or ERRNO:NUMBER:N=VALUE for those whose argument N is that.
import ctypes, os, struct, sys

end = sys.argv.index("--")
LOAD, JUMP_IF_EQUAL, RETURN, ALLOW, ERRNO = 0x20, 0x15, 6, 0x7FFF0000, 0x50000
program = []
for rule in sys.argv[1:end]:
    error, number, argument = (rule.split(":") + [""])[:3]
    refuse = (RETURN, 0, 0, ERRNO | int(error))
    if argument:
        index, value = (int(word, 0) for word in argument.split("="))
        program += [(LOAD, 0, 0, 0), (JUMP_IF_EQUAL, 0, 3, int(number)), (LOAD, 0, 0, 16 + 8 * index)]
        program += [(JUMP_IF_EQUAL, 0, 1, value), refuse]
    else:
        program += [(LOAD, 0, 0, 0), (JUMP_IF_EQUAL, 0, 1, int(number)), refuse]
program.append((RETURN, 0, 0, ALLOW))
code = b"".join(struct.pack("HBBI", operation, yes, no, value) for operation, yes, no, value in program)
code = ctypes.create_string_buffer(code, len(code))
filter = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code)), 16)
libc = ctypes.CDLL(None)
libc.prctl(38, 1, 0, 0, 0)
if libc.prctl(22, 2, ctypes.c_void_p(ctypes.addressof(filter))) != 0:
    sys.exit("no filter")
os.execvp(sys.argv[end + 1], sys.argv[end + 1:])
