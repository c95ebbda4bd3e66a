"""An application that knows nothing of prefork-init, for tests/docker.sh: with state beside its code, a home and a log."""

import pathlib
import sqlite3
import time

from fastapi import FastAPI

beside = pathlib.Path(__file__).with_name("state.sqlite")
home = pathlib.Path.home()
app = FastAPI()


@app.get("/echo/{number}")
def echo(number: int):
    # A handler that takes its time, in a thread, as most do.
    time.sleep(0.02)
    return number


@app.get("/state")
def state():
    (home / "cache").write_text("warm")
    with sqlite3.connect(beside, timeout=10) as database:
        database.execute("create table if not exists seen (at real)")
        database.execute("insert into seen values (?)", (time.time(),))
    print("state was written")
    return "written"
