"""Clients of 127.0.0.1:8000 that count what they lose: half of them with a connection for each request, half keep theirs.

They write `N` lines to standard output, one whenever another 100 requests are answered, and run until the file that is
named on the command line is there, or the server is gone. The last line is the counts, as JSON.

answered: a whole answer to this very request. refused: no connection, so nothing was sent, and the client goes
elsewhere. lost: the request was sent, and no whole answer came.
"""

import collections
import http.client
import json
import os
import sys
import threading

enough = sys.argv[1]
counts = {"each": collections.Counter(), "kept": collections.Counter()}
lock = threading.Lock()
# Each client is refused some times in a row before it takes the server for gone.
GONE = 20


def count(kind, what):
    with lock:
        counts[kind][what] += 1
        answered = counts["each"]["answered"] + counts["kept"]["answered"]
        if what == "answered" and answered % 100 == 0:
            print(answered, flush=True)


def client(kind, number):
    connection, in_a_row = None, 0
    while in_a_row < GONE and not os.path.exists(enough):
        number += 1
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", 8000, timeout=30)
            try:
                connection.connect()
            except OSError:
                count(kind, "refused")
                connection, in_a_row = None, in_a_row + 1
                continue
        in_a_row = 0
        try:
            # http.client says Connection: close for nobody: the header does.
            headers = {} if kind == "kept" else {"Connection": "close"}
            connection.request("GET", f"/echo/{number}", headers=headers)
            answer = connection.getresponse()
            good = answer.status == 200 and answer.read() == b"%d" % number
        except (OSError, http.client.HTTPException) as error:
            print(f"{kind}: {error!r}", file=sys.stderr)
            good = False
        count(kind, "answered" if good else "lost")
        if not good or answer.will_close:
            connection.close()
            connection = None


threads = [
    threading.Thread(target=client, args=(kind, base * 1_000_000)) for base in range(1, 7) for kind in ("each", "kept")
]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps(counts))
