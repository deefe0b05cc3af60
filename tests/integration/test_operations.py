"""What an operator asks the relay and the consumers: are you well, what is missing, how far are you."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from lrs.errors import Misconfigured
from lrs.http.operations import listening, relay_health
from lrs.relay import RelayStatus
from tests.benchmarks.statements import statements
from tests.copied_log import wait_until
from tests.services import Griffel, free_port

BATCH = 50


@contextlib.contextmanager
def process(server: Griffel, *arguments: str) -> Iterator[str]:
    """`griffel ARGUMENTS --listen …` beside a server; the address it listens on. What goes wrong tells what it said."""
    address = f"127.0.0.1:{free_port()}"
    log = server.folder / f"{arguments[0]}.log"
    with log.open("ab") as output:
        running = subprocess.Popen(
            [sys.executable, "-m", "lrs", *arguments, "--listen", address],
            env=server.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield f"http://{address}"
        running.terminate()
        assert running.wait(40) == 0
    except BaseException as error:
        error.add_note(
            f"griffel {' '.join(arguments)} said:\n{log.read_text()}\nand tells: {metrics(f'http://{address}')}"
        )
        raise
    finally:
        running.kill()
        running.wait(40)


def ready(base: str) -> dict:
    try:
        return requests.get(f"{base}/health/ready", timeout=5).json()
    except requests.ConnectionError:
        return {}


def metrics(base: str) -> dict[str, float]:
    found: dict[str, float] = {}
    try:
        text = requests.get(f"{base}/metrics", timeout=10).text
    except requests.ConnectionError:
        return found
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0) + sample.value
    return found


def test_relay_and_consumers_say_how_they_are(make_lrs, kafka) -> None:
    server = replace(make_lrs("cluster"), settings={"GRIFFEL_KAFKA": kafka.bootstrap}).start()
    server.credential("all")
    try:
        server.command("topics", "create", "--partitions", "3", "--replication", "1")
        with (
            process(server, "relay") as relay,
            process(server, "consume", "progress", "completions") as consumers,
        ):
            answer = requests.post(
                f"{server.url}/statements", json=statements(BATCH), headers=server.headers(), timeout=60
            )
            assert answer.status_code == 200
            for base in (relay, consumers):
                wait_until(lambda base=base: ready(base) == {"ready": True, "missing": []})
                assert requests.get(f"{base}/health/live", timeout=5).json() == {"live": True}
                assert requests.post(f"{base}/metrics", timeout=5).status_code == 405
            wait_until(lambda: metrics(relay).get("griffel_relay_events_total", 0) >= BATCH)
            wait_until(lambda: metrics(consumers).get("griffel_consumer_events_total", 0) >= 2 * BATCH)
            found = metrics(relay)
            assert found["griffel_relay_running"] == 1
            assert found["griffel_relay_lag_seconds"] == 0
            assert "griffel_positions_known" not in found
            found = metrics(consumers)
            assert found["griffel_positions_known"] == found["griffel_kafka_connected"] == 1
            assert found["griffel_consumer_batches_total"] > 0
            assert found["griffel_consumer_dead_letters_total"] == found["griffel_dead_letters"] == 0
            assert found["griffel_log_position"] >= BATCH
            assert "griffel_view_lag_seconds" in found
            with process(server, "relay") as second:
                wait_until(lambda: ready(second) == {"ready": True, "missing": []})
                assert metrics(second)["griffel_relay_standby"] == 1
    finally:
        server.stop()


async def test_a_relay_that_waits_says_for_what() -> None:
    away = await relay_health(RelayStatus(state="waiting", waits_for="kafka"))
    assert (away.ok, away.missing) == (False, ["relay", "kafka"])
    assert (await relay_health(RelayStatus(state="standby"))).ok
    assert not (await relay_health(RelayStatus())).ok


@pytest.mark.parametrize("address", ["8081", ":8081", "localhost:", "localhost:port", "localhost:70000"])
async def test_an_address_that_is_none_is_said(address: str) -> None:
    with pytest.raises(Misconfigured, match="host:port"):
        async with listening(address, None, None):
            pass
