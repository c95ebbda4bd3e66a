"""A FastAPI application under prefork-init. From this directory, after `pip install -r requirements.txt`:

    prefork-init -n 2 -b :8000 --drain-signal USR2 --max-requests 10000 --count-requests notify -- \\
        uvicorn app:app --fd {fd}

The supervisor is the process manager, so each worker is one plain uvicorn without `--workers`. gunicorn finds the
listener by itself, in LISTEN_FDS, and must not be given it a second time with `-b`:

    prefork-init -n 2 -b :8000 --drain-signal USR1 -- gunicorn app:app -k asgi --workers 1

Nothing of this application is needed: an application without goodbye.py goes without `--drain-signal`, which would kill
its workers, and one without counting.py without `--max-requests`, which nobody would count towards.
"""

import asyncio
import os
from contextlib import asynccontextmanager

from fastapi import FastAPI, Query

from counting import CountRequests
from goodbye import SayGoodbye


def number(variable):
    # Absent where the application is run by hand.
    return int(os.environ[variable]) if variable in os.environ else None


@asynccontextmanager
async def lifespan(app: FastAPI):
    # Connections to databases and the like are opened here, per worker and never before a fork.
    # uvicorn does not accept until this has yielded, so the supervisor does not call us ready.
    app.state.identity = {
        "worker_id": number("PREFORK_WORKER_ID"),
        "generation": number("PREFORK_GENERATION"),
        "pid": os.getpid(),
    }
    yield
    # What was opened above is closed here: after the last request, before the worker exits.


app = FastAPI(lifespan=lifespan)
app.add_middleware(SayGoodbye)
if "NOTIFY_SOCKET" in os.environ:
    app.add_middleware(CountRequests)


@app.get("/")
async def identity():
    return app.state.identity


@app.get("/slow")
async def slow(ms: int = Query(ge=0, le=60_000)):
    await asyncio.sleep(ms / 1000)
    return app.state.identity
