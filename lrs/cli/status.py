"""`griffel status`."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import Any

import click
import orjson

from lrs.cli.installation import PLACES, carry_out, reading
from lrs.config import Mode, Settings, with_settings

SAMPLE_S_MAX = 60.0
"""The longest time over which rates are measured."""


@click.command()
@click.option(
    "--seconds",
    type=click.FloatRange(0, SAMPLE_S_MAX),
    default=1.0,
    show_default=True,
    help="Over how long rates are measured; 0 for none.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings(*PLACES)
def status(settings: Settings, seconds: float, *, as_json: bool) -> None:
    """Say how far everything is: the log, the relay and each view, with what they lag behind.

    \b
    position   the newest event that the log has, that is on Kafka, or that the view has applied
    behind     how many events of the log are still to come, and how old the oldest of them is
    per s      events in a second, while the command looked
    dead       events that could not be applied and are kept: griffel dead-letters list

    Reads the databases themselves, so it works while a server runs and while none does.
    """
    found = carry_out(_look_twice(settings, seconds))
    if as_json:
        click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))
        return
    _print(found)


async def _look_twice(settings: Settings, seconds: float) -> dict[str, Any]:
    """Look, and look again after some seconds; give the second with rates."""
    from lrs.places import log_reader, relay_position  # noqa: PLC0415
    from lrs.status import ReaderLog, read_index_status, read_status  # noqa: PLC0415  keeps `griffel --help` quick

    server = await _server_runs(settings) if settings.mode is Mode.EMBEDDED else None
    async with reading(settings) as (_, store, _):
        reader = log_reader(settings)
        log = ReaderLog(reader)
        relay = relay_position(settings)
        try:
            began_s = time.monotonic()
            first = await read_status(log, store, relay)
            await asyncio.sleep(seconds)
            second = await read_status(log, store, relay) if seconds else first
            took_s = time.monotonic() - began_s
            indexes = await asyncio.to_thread(read_index_status, reader, second.position)
        finally:
            log.close()
    told = dataclasses.asdict(second) | {"server_runs": server}
    told["views"] = [*map(dataclasses.asdict, indexes), *told["views"]]
    if seconds:
        told["events_per_s"] = round((second.position - first.position) / took_s, 1)
        before = {(one.name, one.generation): one.position for one in first.views}
        before[indexes[0].name, indexes[0].generation] = first.position
        if second.relay is not None:
            moved = second.relay.position - (first.relay.position if first.relay is not None else 0)
            told["relay"]["events_per_s"] = round(moved / took_s, 1)
        for one in told["views"]:
            moved = one["position"] - before.get((one["name"], one["generation"]), one["position"])
            one["events_per_s"] = round(moved / took_s, 1)
    for one in told["views"]:
        one["partitions"] = {str(at): place.position for at, place in one["partitions"].items()}
    return told


async def _server_runs(settings: Settings) -> bool:
    """Say whether a server answers for the data folder."""
    from lrs.data_folder import control_socket  # noqa: PLC0415

    try:
        _, writer = await asyncio.open_unix_connection(str(control_socket(settings.data)))
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


def _print(found: dict[str, Any]) -> None:
    from rich import box  # noqa: PLC0415  keeps `griffel --help` quick
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=_title(found["server_runs"]), title_justify="left", title_style="", box=box.SIMPLE_HEAD)
    for name in ("what", "state", "position", "behind", "oldest", "per s", "dead"):
        table.add_column(name, justify="left" if name in ("what", "state") else "right", no_wrap=True)
    rate = found.get("events_per_s")
    table.add_row("log", "", f"{found['position']:,}", "", "", _rate(rate), "")
    if (relay := found["relay"]) is not None:
        table.add_row("relay", "", *_numbers(relay), "")
    for one in found["views"]:
        name = one["name"] if one["state"] == "serving" else f"{one['name']} ({one['generation']})"
        table.add_row(name, one["state"], *_numbers(one), str(one["dead_letters"]))
    Console().print(table)


def _numbers(one: dict[str, Any]) -> tuple[str, str, str, str]:
    oldest = f"{one['lag_s']:.1f} s" if one["lag_events"] else ""
    return f"{one['position']:,}", f"{one['lag_events']:,}", oldest, _rate(one.get("events_per_s"))


def _title(server_runs: bool | None) -> str:  # noqa: FBT001  what was found, not an option
    if server_runs is None:
        return "A cluster"
    return "A server runs" if server_runs else "No server runs"


def _rate(events_per_s: float | None) -> str:
    return "" if events_per_s is None else f"{events_per_s:,.1f}"
