"""Erasure where several processes serve, and one of them stands still (privacy.md, T-ERASE-5)."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from urllib.parse import urlencode

import orjson
import pytest
import requests

from lrs.key_lease import LEASE_S
from tests.conformance.builders import agent, iri, statement
from tests.conformance.client import Api, must
from tests.integration.privacy_desk import BOUND_S, begin_erasure, certificate_of, identity_of
from tests.services import Griffel, running

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="asks /proc whether a process stands still"
)

STATEMENTS = 60
TEXT_CHARACTERS = 300
"""So little that an answer leaves at once: of one that was half sent when the process stood still the rest follows."""
READERS = 4
WAITING = 6


@contextmanager
def standing_still(server: Griffel) -> Iterator[Callable[[], None]]:
    """Stop a server's processes as a machine does that is suspended; gives what wakes them."""
    assert server.process is not None
    group = os.getpgid(server.process.pid)

    def wake() -> None:
        os.killpg(group, signal.SIGCONT)

    os.killpg(group, signal.SIGSTOP)
    try:
        while Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "T":
            time.sleep(0.01)
        yield wake
    finally:
        wake()


@contextmanager
def alive(server: Griffel) -> Iterator[Griffel]:
    """Another server of a cluster, with the credential that there is."""
    server.start()
    try:
        yield server
    finally:
        server.kill()


class Reading:
    """Reads without a pause from several connections; notes of each answer when it came and what it had in it."""

    def __init__(self, server: Griffel, path: str, wanted: bytes) -> None:
        self._server = server
        self._path = path
        self._wanted = wanted
        self._stopping = threading.Event()
        self.answers: list[tuple[float, int, bool]] = []
        self._threads = [threading.Thread(target=self._read) for _ in range(READERS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(BOUND_S)

    def _read(self) -> None:
        with requests.Session() as session:
            while not self._stopping.is_set():
                try:
                    told = session.get(self._server.url + self._path, headers=self._server.headers(), timeout=BOUND_S)
                except requests.ConnectionError:
                    continue
                self.answers.append((time.monotonic(), told.status_code, self._wanted in told.content))


def sent(server: Griffel, path: str) -> socket.socket:
    """A connection on which a request waits."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=BOUND_S)
    lines = [f"GET /xapi{path} HTTP/1.1", "Host: localhost", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in server.headers().items()]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    return connection


def received(connection: socket.socket) -> bytes:
    content = b""
    with connection:
        while piece := connection.recv(1 << 16):
            content += piece
    return content


def test_a_server_that_stood_still_serves_nobody_who_was_erased_meanwhile(
    make_lrs: Callable[..., Griffel], tmp_path: Path
) -> None:
    someone, other = agent(name="Somebody"), agent()
    word = someone["mbox"].encode()
    with running(make_lrs("cluster")) as first, alive(first.sibling(tmp_path / "b")) as second:
        api = Api(first.url, first.key, first.secret, "2.0.0")
        long = {"extensions": {iri(): "x" * TEXT_CHARACTERS}}
        api.store(*[statement(actor=someone, result=long) for _ in range(STATEMENTS)], statement(actor=other))
        asked = "/statements?" + urlencode({"agent": orjson.dumps(identity_of(someone)).decode(), "limit": 500})
        with Reading(second, asked, word) as reading:
            deadline = time.monotonic() + BOUND_S
            while len(reading.answers) < 3 * READERS:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert {(status, found) for _, status, found in reading.answers} == {(200, True)}
            with standing_still(second) as wake:
                erasure = begin_erasure(first, someone)
                began = time.monotonic()
                waiting = [sent(second, asked) for _ in range(WAITING)]
                certificate = certificate_of(first, erasure)
                ended = time.monotonic()
                assert ended - began >= LEASE_S, "whoever stands still may hold keys for as long as a lease lasts"
                assert certificate["statements"]["erased"] == STATEMENTS
                wake()
                late = [received(one) for one in waiting]
                deadline = time.monotonic() + BOUND_S
                while len([when for when, *_ in reading.answers if when > ended]) < 2 * READERS:
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
        told = [(status, found) for when, status, found in reading.answers if when > ended]
        assert [one for one in told if one[1]] == [], "an answer that was under way was given after the certificate"
        assert (200, False) in told
        assert not [one for one in late if word in one]
        assert all(one.startswith((b"HTTP/1.1 200", b"HTTP/1.1 503")) for one in late)
        both = [Api(one.url, first.key, first.secret, "2.0.0") for one in (first, second)]
        for one in both:
            assert one.found(agent=identity_of(someone)) == []
            assert len(one.found(agent=identity_of(other))) == 1
            must(403, one.post(statement(actor=identity_of(someone))))
