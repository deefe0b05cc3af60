"""A reader of the completion stream that may be killed at any moment: entries and cursor in one transaction.

Run as a program: stream_reader.py BASE KEY SECRET FILE. It never ends by itself.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from pathlib import Path

import requests

WAIT_S = 2


def open_kept(file: Path) -> sqlite3.Connection:
    kept = sqlite3.connect(file, isolation_level=None, timeout=30)
    kept.execute("CREATE TABLE IF NOT EXISTS entry (id TEXT PRIMARY KEY, content TEXT NOT NULL)")
    kept.execute("CREATE TABLE IF NOT EXISTS place (one INTEGER PRIMARY KEY, cursor TEXT NOT NULL)")
    return kept


def read(base: str, key: str, secret: str, file: Path) -> None:
    kept = open_kept(file)
    while True:
        place = kept.execute("SELECT cursor FROM place").fetchone()
        asked = {"after": place[0] if place else "", "limit": 3, "wait_s": WAIT_S}
        try:
            answer = requests.get(f"{base}/streams/completions/events", asked, auth=(key, secret), timeout=30)
            answer.raise_for_status()
        except requests.RequestException:
            time.sleep(0.1)  # the server is away; a reader comes back
            continue
        told = answer.json()
        kept.execute("BEGIN IMMEDIATE")
        for entry in told["events"]:
            # An entry that was kept before would be an error here.
            kept.execute("INSERT INTO entry VALUES (?, ?)", (entry["id"], json.dumps(entry)))
        kept.execute("INSERT OR REPLACE INTO place VALUES (1, ?)", (told["next"],))
        kept.execute("COMMIT")


if __name__ == "__main__":
    read(*sys.argv[1:4], Path(sys.argv[4]))
