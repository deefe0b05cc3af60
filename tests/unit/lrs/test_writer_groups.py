"""What arrives together is committed together, and what one request fails with is nobody else's."""

from __future__ import annotations

import socket
import sqlite3
import threading
from collections.abc import Sequence

from lrs.appending import Advanced, AdvanceRequest, Failed, Outcome, Request
from lrs.forgetting import Forget, ForgetRequest
from lrs.writer import decode_outcome, frame, serve, split_frames

STEP = ForgetRequest(Forget.STATEMENTS, b"p" * 16)


class Recorder:
    """A log whose disk fails at every step of forgetting, if told so."""

    def __init__(self, *, fails: bool) -> None:
        self.groups: list[list[Request]] = []
        self._fails = fails

    def create_table(self) -> None:
        """Nothing to make."""

    def write(self, requests: Sequence[Request]) -> list[Outcome]:
        self.groups.append(list(requests))
        if self._fails and STEP in requests:
            raise sqlite3.OperationalError("disk I/O error")
        return [Advanced(number) for number, _ in enumerate(requests)]

    def settle(self) -> int:
        return 0


def answers(recorder: Recorder, *requests: Request) -> list[Outcome]:
    """Ask a writer for all of these at once; give what it answers, in order."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"".join([frame(number, request) for number, request in enumerate(requests)]))
        writer = threading.Thread(target=serve, args=(theirs, recorder))
        writer.start()
        buffer, found = bytearray(), {}
        while len(found) < len(requests):
            buffer += ours.recv(1 << 16)
            found |= {number: decode_outcome(body) for number, body in split_frames(buffer)}
        ours.shutdown(socket.SHUT_WR)
        writer.join(10)
        assert not writer.is_alive()
    return [found[number] for number in range(len(requests))]


def test_a_step_of_forgetting_shares_the_commit_of_others() -> None:
    recorder = Recorder(fails=False)
    answers(recorder, AdvanceRequest(), STEP, AdvanceRequest())
    assert recorder.groups == [[AdvanceRequest(), STEP, AdvanceRequest()]]


def test_what_a_step_of_forgetting_fails_with_is_nobody_elses() -> None:
    first, step, last = answers(Recorder(fails=True), AdvanceRequest(), STEP, AdvanceRequest())
    assert isinstance(first, Advanced)
    assert isinstance(last, Advanced)
    assert isinstance(step, Failed)
    assert "disk I/O" not in step.reason
