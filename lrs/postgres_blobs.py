"""Attachments on PostgreSQL (lrs/attachments.py)."""

from __future__ import annotations

from typing import Any

import psycopg

from lrs.attachments import WHAT
from lrs.errors import Busy
from lrs.full_disk import disk_full, is_full


class BlobTable:
    """Sealed chunks in PostgreSQL, in a table beside the log."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._open: psycopg.Connection[Any] | None = None

    def append(self, blob_id: bytes, number: int, chunk: bytes) -> None:
        self._run("INSERT INTO blob_chunk (blob_id, number, chunk) VALUES (%s, %s, %s)", blob_id, number, chunk)

    def seal_off(self, blob_id: bytes) -> None:
        """Do nothing: each chunk was committed."""

    def chunk(self, blob_id: bytes, number: int) -> bytes:
        rows = self._run("SELECT chunk FROM blob_chunk WHERE blob_id = %s AND number = %s", blob_id, number).fetchall()
        return bytes(rows[0][0]) if rows else b""

    def delete(self, blob_id: bytes) -> None:
        self._run("DELETE FROM blob_chunk WHERE blob_id = %s", blob_id)

    def older_than(self, age_s: float) -> list[bytes]:
        rows = self._run(
            "SELECT blob_id FROM blob_chunk WHERE number = 0 AND begun <= now() - make_interval(secs => %s)", age_s
        )
        return [bytes(row[0]) for row in rows.fetchall()]

    def close(self) -> None:
        if self._open is not None:
            self._open.close()

    def _run(self, text: str, *parameters: Any) -> psycopg.Cursor[Any]:
        try:
            if self._open is None or self._open.closed:
                self._open = psycopg.connect(self._url, autocommit=True, application_name="griffel attachments")
            return self._open.execute(text, parameters)
        except psycopg.OperationalError as error:
            if is_full(error):
                raise disk_full(WHAT) from error
            raise Busy("the database does not answer; nothing was stored, try again") from error
