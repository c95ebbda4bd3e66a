#!/usr/bin/env python3
"""Writes start.ld: the functions that a plain start runs, in the order of their first use.

    cargo static --config 'profile.release.strip="none"' && .cargo/static/order.py "$(cargo static)"

The kernel maps program text 16 pages at a fault (fault_around_bytes), so functions that lie next to each other cost one
fault where they would cost twenty. The names are patterns: the hash at the end of a symbol is another in each build. A
name that is not there any more does no harm; tests/static.sh counts the faults. Needs nm, and ptrace(2) on x86-64.
"""
import bisect
import ctypes
import os
import re
import subprocess
import sys
from pathlib import Path

TRACEME, PEEKUSER, SINGLESTEP = 0, 3, 9
RIP = 16 * 8
LIBC = "/usr/lib/x86_64-linux-gnu/libc.a"


def steps(args):
    """The addresses of all instructions that a program runs in user mode, in the order of their first use."""
    libc = ctypes.CDLL(None)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    pid = os.fork()
    if pid == 0:
        libc.ptrace(TRACEME, 0, None, None)
        os.execv(args[0], args)
    seen = {}
    while os.WIFSTOPPED(os.waitpid(pid, 0)[1]):
        seen.setdefault(libc.ptrace(PEEKUSER, pid, RIP, None))
        libc.ptrace(SINGLESTEP, pid, None, None)
    return list(seen)


def symbols(binary):
    """Where each function begins, and its name."""
    lines = subprocess.run(["nm", "-n", binary], check=True, capture_output=True, text=True).stdout.split("\n")
    found = [line.split() for line in lines if re.fullmatch(r"[0-9a-f]+ [tTwWiI] \S+", line)]
    return [int(address, 16) for address, _, _ in found], [name for _, _, name in found]


def members():
    """In which file of the C library each of its functions is."""
    out = subprocess.run(["nm", "-A", LIBC], check=True, capture_output=True, text=True).stdout
    found = re.findall(r":([^:]+\.o):[0-9a-f]+ [tTwWiI] (\S+)$", out, re.M)
    return {name: member for member, name in found}


def main(binary):
    addresses, names = symbols(binary)
    in_libc = members()
    patterns = {}
    for address in steps([binary, "--", "/bin/true"]):
        at = bisect.bisect_right(addresses, address) - 1
        if at < 0 or address >= addresses[-1] + 4096:
            continue
        # Functions that are the same are one: each name may be the one that is kept.
        for name in (names[i] for i in range(len(names)) if addresses[i] == addresses[at]):
            hashed = re.sub(r"17h[0-9a-f]{16}E.*", "17h*", name)
            if hashed != name or name.startswith("_R"):
                patterns.setdefault(f"*(.text.{hashed})")
            elif name in in_libc:
                patterns.setdefault(f"*libc.a:{in_libc[name]}(.text .text.*)")
            else:
                patterns.setdefault(f"*(.text.{name})")
    out = Path(__file__).with_name("start.ld")
    body = "\n".join(f"    {pattern}" for pattern in patterns)
    out.write_text(f"/* Written by order.py. */\nSECTIONS {{ .text.start : {{\n{body}\n}} }} INSERT BEFORE .text;\n")
    print(f"{out}: {len(patterns)} patterns")


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
