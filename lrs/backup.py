"""Backups: copies of the log and of the vault, apart, that fit together while a server goes on writing.

The log is copied first and the vault last: a key is durable in the vault before anything sealed with it is in the log.
The journal of what was ended is not copied, so that a restored backup has to be brought up to it; nor are the root
keys, which belong elsewhere, nor the views, which are computed again.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from lrs.errors import Busy, Misconfigured
from lrs.full_disk import telling_full_disk

PAGES_AT_ONCE = 2_000
PAUSE_S = 0.002
"""Between two pieces of a copy, so that the server can write."""
CHUNK_BYTES = 1024 * 1024
MANIFEST = "manifest.json"
_WHAT = "the backup's folder"

Tell = Callable[[str, float], None]
"""Told what is being copied, and how much of it is done (0 to 1)."""


def back_up_embedded(data: Path, target: Path, tell: Tell) -> dict[str, Any]:
    """Copy an embedded installation into a folder that is empty or not there; give the manifest.

    Raises Misconfigured where there is no installation, or something in the folder; DiskFull, with nothing left behind.
    """
    if not (data / "log" / "log.db").exists() or not (data / "vault" / "vault.db").exists():
        raise Misconfigured(f"there is no installation in {data}; name the data folder of a server with --data")
    with _Draft(target) as draft:
        _copy_database(data / "log" / "log.db", draft / "log" / "log.db", tell)
        _copy_attachments(data / "attachments", draft / "attachments", tell)
        vault = draft / "vault" / "vault.db"
        _copy_database(data / "vault" / "vault.db", vault, tell)
        _mark_as_copy(vault)
        with sqlite3.connect(draft / "log" / "log.db") as log, sqlite3.connect(vault) as keys:
            position = log.execute("SELECT position FROM log_head").fetchone()[0]
            epoch = keys.execute("SELECT max(epoch) FROM epoch").fetchone()[0]
        log.close()
        keys.close()
        return _finish(draft, {"mode": "embedded", "log_position": position, "key_epoch": epoch})


def back_up_cluster(database_url: str, keys_url: str, target: Path, tell: Tell) -> dict[str, Any]:
    """Dump both databases of a cluster with PostgreSQL's own program; give the manifest.

    Raises Misconfigured where there is no pg_dump, Busy with what it said.
    """
    program = shutil.which("pg_dump")
    if program is None:
        raise Misconfigured("pg_dump is not on the path; it comes with PostgreSQL: apt-get install postgresql-client")
    with _Draft(target) as draft:
        for name, url in (("log", database_url), ("vault", keys_url)):
            tell(name, 0.0)
            (draft / name).mkdir(mode=0o700)
            _dump(program, url, draft / name / f"{name}.dump")
            tell(name, 1.0)
        return _finish(draft, {"mode": "cluster"})


class _Draft:
    """A folder that takes its name only when everything in it is whole and durable."""

    def __init__(self, target: Path) -> None:
        if target.exists() and any(target.iterdir()):
            raise Misconfigured(f"{target} is not empty; a backup goes into a folder of its own")
        self._target = target
        self._draft = target.with_name(f".{target.name}.partial")

    def __enter__(self) -> Path:
        shutil.rmtree(self._draft, ignore_errors=True)
        self._draft.mkdir(parents=True, mode=0o700)
        return self._draft

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            shutil.rmtree(self._draft, ignore_errors=True)
            return
        if self._target.exists():
            self._target.rmdir()
        self._draft.rename(self._target)
        _sync(self._target.parent)


def _copy_database(source: Path, target: Path, tell: Tell) -> None:
    """Copy a database in use, by SQLite's own backup: the copy is the database at one moment."""
    name = source.parent.name
    target.parent.mkdir(mode=0o700)
    target.touch(mode=0o600)
    with telling_full_disk(_WHAT):
        reading = sqlite3.connect(f"file:{source}?mode=ro", uri=True)
        writing = sqlite3.connect(target)
        try:

            def progress(_status: int, remaining: int, total: int) -> None:
                tell(name, 1 - remaining / total if total else 1.0)

            reading.backup(writing, pages=PAGES_AT_ONCE, progress=progress, sleep=PAUSE_S)
            # One file, without a log beside it.
            writing.execute("PRAGMA journal_mode=DELETE")
        finally:
            writing.close()
            reading.close()


def _copy_attachments(source: Path, target: Path, tell: Tell) -> None:
    target.mkdir(mode=0o700)
    files = sorted(path for path in source.glob("*/*") if path.is_file()) if source.exists() else []
    with telling_full_disk(_WHAT):
        for done, path in enumerate(files, 1):
            folder = target / path.parent.name
            folder.mkdir(exist_ok=True, mode=0o700)
            try:
                shutil.copy2(path, folder / path.name)
            except FileNotFoundError:
                continue  # erased meanwhile
            tell("attachments", done / len(files))


def _mark_as_copy(vault: Path) -> None:
    """Have the copy know that it is one: it serves only together with the journal (lrs/journal.py)."""
    connection = sqlite3.connect(vault)
    try:
        with connection:
            connection.execute(
                "INSERT INTO journal (one, entries, head, copied) VALUES (1, 0, zeroblob(16), 1) "
                "ON CONFLICT (one) DO UPDATE SET copied = 1"
            )
    finally:
        connection.close()


def _dump(program: str, url: str, target: Path) -> None:
    given = conninfo_to_dict(url)
    password = given.pop("password", None)
    environment = dict(os.environ) | ({"PGPASSWORD": str(password)} if password else {})
    conninfo = make_conninfo("", **{name: str(value) for name, value in given.items() if value is not None})
    said = subprocess.run(  # noqa: S603  our own words, and what the operator set
        [program, "--format=custom", f"--file={target}", f"--dbname={conninfo}"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if said.returncode:
        raise Busy(f"pg_dump ended with {said.returncode}: {said.stderr.strip().splitlines()[-1:]}")
    target.chmod(0o600)


def _finish(draft: Path, told: dict[str, Any]) -> dict[str, Any]:
    files = sorted(path for path in draft.rglob("*") if path.is_file())
    manifest = {
        "type": "griffel.backup",
        "made_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        **told,
        "files": {str(path.relative_to(draft)): _sha256(path) for path in files},
    }
    with telling_full_disk(_WHAT):
        (draft / MANIFEST).write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
        for path in (*files, draft / MANIFEST, *{path.parent for path in files}, draft):
            _sync(path)
    return manifest


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def restore_embedded(source: Path, data: Path) -> dict[str, Any]:
    """Put a backup where an embedded installation is to be; journal and root keys stay as they are there.

    What was there of log, attachments, vault and views is put aside, beside it. Raises Misconfigured when the backup is
    not whole; nothing is changed then. Give the manifest.
    """
    manifest_path = source / MANIFEST
    if not manifest_path.exists():
        raise Misconfigured(f"there is no backup in {source}: it has no {MANIFEST}")
    manifest: dict[str, Any] = orjson.loads(manifest_path.read_bytes())
    if manifest.get("mode") != "embedded":
        raise Misconfigured("this is a backup of a cluster: pg_restore puts its dumps into databases")
    for name, digest in manifest["files"].items():
        if not (source / name).is_file() or _sha256(source / name) != digest:
            raise Misconfigured(f"{name} in this backup is not what was written there; nothing was changed")
    aside = data / f"before-restore-{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%SZ}"
    for name in ("log", "attachments", "vault", "views"):
        if (data / name).exists():
            aside.mkdir(parents=True, exist_ok=True, mode=0o700)
            (data / name).rename(aside / name)
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in ("log", "attachments", "vault"):
        if (source / name).exists():
            shutil.copytree(source / name, data / name)
            (data / name).chmod(0o700)
    return manifest | {"aside": str(aside) if aside.exists() else None}


def forget_journal(data: Path, journal: Path) -> None:
    """Have a vault begin a new journal: an operator has accepted that the old one is lost. It is put aside if there."""
    vault = data / "vault" / "vault.db"
    if not vault.exists():
        raise Misconfigured(f"there is no key vault in {data}; name the data folder of a server with --data")
    if journal.exists():
        journal.rename(journal.with_name(f"{journal.name}.given-up"))
    connection = sqlite3.connect(vault)
    try:
        with connection:
            connection.execute("DELETE FROM journal")
    finally:
        connection.close()
