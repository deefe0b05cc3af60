"""The log's, the vault's and the views' tables, beside a running server."""

from __future__ import annotations

import sqlite3
from typing import Any

import psycopg

from tests.services import Griffel


class Databases:
    """Runs SQL on a server's databases; `?` is a parameter."""

    def __init__(self, lrs: Griffel) -> None:
        self._lrs = lrs

    def log(self, text: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self._run(self._lrs.database_url, "log/log.db", text, parameters)

    def vault(self, text: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self._run(self._lrs.keys_url, "vault/vault.db", text, parameters)

    def views(self, text: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self._run(f"{self._lrs.database_url}?options=-csearch_path%3Dviews", "views/views.db", text, parameters)

    def _run(self, url: str, file: str, text: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        if self._lrs.mode == "embedded":
            connection = sqlite3.connect(self._lrs.data_dir / file, isolation_level=None, timeout=10)
            try:
                return connection.execute(text, parameters).fetchall()
            finally:
                connection.close()
        with psycopg.connect(url, autocommit=True) as other:
            cursor = other.execute(text.replace("?", "%s"), parameters)
            return cursor.fetchall() if cursor.description else []
