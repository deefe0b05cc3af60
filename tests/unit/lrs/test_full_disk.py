"""A full disk is told from everything else, whichever store met it and whatever wrapped its error."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import psycopg
import pytest

from lrs.errors import Busy, DiskFull
from lrs.full_disk import is_full, telling_full_disk


def full_sqlite() -> None:
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("PRAGMA max_page_count = 2")
        connection.execute("CREATE TABLE t (a)")
        connection.execute("INSERT INTO t VALUES (zeroblob(100000))")
    finally:
        connection.close()


def full_file() -> None:
    with Path("/dev/full").open("wb", buffering=0) as file:
        file.write(b"a")


def full_postgresql() -> None:
    raise psycopg.errors.DiskFull


def wrapped() -> None:
    try:
        full_postgresql()
    except psycopg.OperationalError as error:
        raise Busy from error


@pytest.mark.parametrize("write", [full_sqlite, full_file, full_postgresql, wrapped])
def test_a_full_disk_is_told_with_what_is_on_it(write):
    if write is full_file and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    with pytest.raises(DiskFull, match="the disk of the log is full"), telling_full_disk("the log"):
        write()


@pytest.mark.parametrize("error", [OSError(13, "denied"), psycopg.OperationalError(), sqlite3.OperationalError(), None])
def test_other_errors_are_no_full_disk(error):
    assert not is_full(error)


def test_what_is_no_full_disk_goes_on_as_it_is():
    with pytest.raises(PermissionError), telling_full_disk("the log"):
        raise PermissionError
