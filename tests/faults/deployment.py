"""A whole cluster for faults: PostgreSQL, three brokers, two servers, the relay, two consumers of each projection.

`refute` is the one check after every fault: each statement that was answered 2xx is in the log once, on Kafka once in
effect, and in the view; each completion is in the stream once; of what was not answered, all or nothing is there.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import subprocess
import sys
import time
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

import requests

from projections.postgres_views import PostgresViews
from projections.view_store import SERVING, StoreBusy
from tests.acceptance.truth import ask
from tests.copied_log import refute as refute_kafka
from tests.copied_log import relayed
from tests.faults import workload
from tests.faults.workload import Json, Posts
from tests.integration.stream_tools import came_to, expected
from tests.kafka_services import Kafka
from tests.services import Griffel, Postgres, free_port

PARTITIONS = 4
REBUILD_BOUND_S = 300
"""Many rounds leave hundreds of thousands of statements."""
PROJECTIONS = ("progress", "completion_stream")
READY_BOUND_S = 90
SETTLE_BOUND_S = 120
STOP_BOUND_S = 40
LOOK_S = 0.1
_NO_KEYS: Any = None
"""How far a view is can be read without opening anything."""


class Program:
    """`griffel ARGUMENTS` as an operator starts it beside a server; it may be killed, paused and started again."""

    def __init__(self, server: Griffel, *arguments: str) -> None:
        self._server = server
        self._arguments = arguments
        self._address = f"127.0.0.1:{free_port()}"
        self.log_path = server.folder / f"{'-'.join(arguments)}-{secrets.token_hex(3)}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        with self.log_path.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lrs", *self._arguments, "--listen", self._address],
                cwd=self._server.folder,
                env=self._server.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return self

    def await_ready(self) -> None:
        """Return when it says that it works."""
        ends = time.monotonic() + READY_BOUND_S
        while True:
            try:
                told = requests.get(f"http://{self._address}/health/ready", timeout=STOP_BOUND_S)
                if told.status_code == HTTPStatus.OK:
                    return
                said = told.text
            except requests.ConnectionError:
                said = "nothing"
            assert self.runs, f"it ended:\n{self.said()[-3000:]}"
            assert time.monotonic() < ends, f"it does not become ready and says {said}\n{self.said()[-3000:]}"
            time.sleep(LOOK_S)

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(STOP_BOUND_S)
            self.process = None

    def stop(self) -> int:
        """SIGTERM, and return the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_BOUND_S)
        finally:
            self.kill()

    def pause(self) -> None:
        """Stop it as a machine does that is suspended: it does not know."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def said(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""


class Deployment:
    """A new installation on services that are there: its own databases, topics, servers, relay and consumers."""

    def __init__(self, folder: Path, postgres: Postgres, kafka: Kafka) -> None:
        name = f"griffel_test_{secrets.token_hex(6)}"
        self.postgres = postgres
        self.kafka = kafka
        self.first = Griffel(
            folder / "first",
            "cluster",
            database_url=postgres.create_database(f"{name}_events"),
            keys_url=postgres.create_database(f"{name}_keys"),
            settings={"GRIFFEL_KAFKA": kafka.bootstrap},
        )
        self.first.start()
        self.first.credential("all")
        self.servers = [self.first, self.first.sibling(folder / "second").start()]
        copies = str(len(kafka.brokers))
        self.first.command("topics", "create", "--partitions", str(PARTITIONS), "--replication", copies)
        self.relay = Program(self.first, "relay").start()
        self.consumers = [Program(self.first, "consume", *PROJECTIONS).start() for _ in range(2)]
        self._views = PostgresViews(self.first.database_url, _NO_KEYS, read_only=True)
        for program in self.programs:
            program.await_ready()
        self.rounds: list[Posts] = []
        self.counts = ""
        """What `refute` counted last, in words."""

    @property
    def programs(self) -> list[Program]:
        return [self.relay, *self.consumers]

    def close(self) -> None:
        """Stop every process, as an operator does, and demand that each ends well."""
        statuses = [one.stop() for one in self.programs if one.process] + [one.stop() for one in self.servers]
        assert statuses == [0] * len(statuses), self.said()

    def kill(self) -> None:
        self._views.close()
        for one in (*self.programs, *self.servers):
            one.kill()

    def said(self) -> str:
        """The end of what every process printed."""
        return "\n".join([one.said()[-1500:] for one in self.programs] + [one.log()[-1500:] for one in self.servers])

    # ── the check ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def refute(self) -> list[str]:
        """What is wrong with what is there, in words, once everything has come to rest: empty when nothing is."""
        found: list[Json] = []
        wrong: list[str] = []
        async with workload.session(self.first) as client:
            for posts in self.rounds:
                there = await workload.stored(client, self.first, posts.registration)
                wrong += workload.refute(posts.made, there)
                found += there
            wrong += await workload.lost_attachments(client, self.first, self.rounds[-1].made)
        completions = set(expected(workload.truth_of(found)))
        await self._settle(len(completions))
        made = [post for posts in self.rounds for post in posts.made]
        sent, answered = (sum(len(one.ids) for one in some) for some in (made, [one for one in made if one.answered]))
        self.counts = f"{sent} statements sent, {answered} answered, {len(found)} found, {len(completions)} completions"
        positions, head = workload.log_positions(self.first)
        if positions != list(range(1, head + 1)):
            wrong.append(f"the log has {len(positions)} events and ends at {head}")
        wrong += await refute_kafka(self.first.database_url, self.kafka.bootstrap, PARTITIONS)
        if any("the log ends before" in one.log() for one in self.servers):
            wrong.append("a server believed that events were lost")
        entries = await asyncio.to_thread(self._entries)
        if set(came_to(entries)) != completions:
            wrong.append(f"{len(entries)} entries of the completion stream for {len(completions)} completions")
        return wrong + await asyncio.to_thread(self._refute_view, len(found))

    async def _settle(self, completions: int) -> None:
        """Return when relay, views and sequencers are where the log ends, and that does not move any more."""
        ends = time.monotonic() + SETTLE_BOUND_S
        told: Any = None
        while time.monotonic() < ends:
            head = workload.log_positions(self.first)[1]
            try:
                told = await asyncio.to_thread(self.reached)
            except StoreBusy:
                # A connection of this check's own, from before the database was killed.
                continue
            entries = await asyncio.to_thread(self._entries)
            if min(told) >= head and len(entries) >= completions and workload.log_positions(self.first)[1] == head:
                return
            await asyncio.sleep(LOOK_S)
        raise AssertionError(f"it does not come to rest: relay and views {told}, the log {head}\n{self.said()}")

    def reached(self) -> list[int]:
        """How far the relay is, and each partition of the view."""
        serving = [one for one in self._views.generations("progress") if one.state == SERVING]
        reached = [place.through_position for one in serving for place in self._views.places(one).values()]
        return [relayed(self.first.database_url), *reached, *([] if len(reached) == PARTITIONS else [0])]

    def _entries(self) -> list[Json]:
        """Every entry of the completion stream, read as an institution does."""
        found: list[Json] = []
        cursor = ""
        while True:
            told = requests.get(
                f"{self.first.base}/streams/completions/events",
                {"after": cursor, "limit": 500},
                headers=self.first.headers(),
                timeout=STOP_BOUND_S,
            ).json()
            if not told["events"]:
                break
            found += told["events"]
            cursor = told["next"]
        assert [int(one["sequence"]) for one in found] == list(range(1, len(found) + 1))
        return found

    def _refute_view(self, facts: int) -> list[str]:
        """What is wrong with the view: every statement of this workload is a fact, and a rebuild changes nothing."""
        wrong = []
        before = ask(self.first, "views", "dump", "progress")
        rows = [json.loads(line) for line in before.splitlines()]
        if (kept := sum(row["table"] == "fact" for row in rows)) != facts:
            wrong.append(f"the view has {kept} facts of {facts} statements")
        self.first.command("views", "rebuild", "progress", "--quiet", bound_s=REBUILD_BOUND_S)
        if ask(self.first, "views", "dump", "progress") != before:
            wrong.append("the view is not what a rebuild from the log gives")
        if letters := self._views.dead_letters():
            wrong.append(f"{len(letters)} dead letters")
        return wrong
