"""The commands of an init that tell which signals have reached them, and when. `one SIGNAL`: the time (ns, of the clock
that all processes have in common) of each. `queue SIGNAL N`: how many of N that were queued, how many of them in order,
how many with their value, and the time of the last."""

import ctypes
import os
import select
import signal
import struct
import sys
import time

NUMBER = int(sys.argv[2])
# signalfd_siginfo, signalfd(2).
SIZE, VALUE = 128, 44
QUIET = 1.0
FIRST = 4.0


def one() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {NUMBER})
    os.write(1, b"ready\n")
    while True:
        signal.sigwaitinfo({NUMBER})
        os.write(1, b"%d\n" % time.perf_counter_ns())


def queue(wanted: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    mask = (1 << (NUMBER - 1)).to_bytes(128, "little")
    signal.pthread_sigmask(signal.SIG_BLOCK, {NUMBER})
    fd = libc.signalfd(-1, mask, 0)
    os.write(1, b"ready\n")
    values: list[int] = []
    last = 0
    while len(values) < wanted and select.select([fd], [], [], QUIET if values else FIRST)[0]:
        data = os.read(fd, SIZE * 64)
        last = time.perf_counter_ns()
        values += [struct.unpack_from("i", data, at + VALUE)[0] for at in range(0, len(data), SIZE)]
    ordered = sum(later == earlier + 1 for earlier, later in zip(values, values[1:])) + (values[:1] == [1])
    os.write(1, b"%d %d %d %d\n" % (len(values), ordered, len(set(values) - {0}), last))


if sys.argv[1] == "one":
    one()
else:
    queue(int(sys.argv[3]))
