"""Every store is on the list of what an erasure reaches, or says why it need not (T-ERASE-9)."""

from __future__ import annotations

import re
from pathlib import Path

from lrs.cli.erase import STEPS
from lrs.stores import STORES, Step, reached

ROOT = Path(__file__).parents[3]
MADE = re.compile(r"CREATE TABLE (?:IF NOT EXISTS )?([a-z_]+)")
OF_VIEWS = {"view", "view_position", "dead_letter", "forgotten"}
"""The tables beside those of the views themselves, whose names are made from their generations."""


def tables() -> set[str]:
    packages = [ROOT / one for one in ("lrs", "projections", "consumers")]
    files = [path for one in packages for kind in ("*.sql", "*.py") for path in one.rglob(kind)]
    return {name for path in files for name in MADE.findall(path.read_text(encoding="utf-8"))}


def test_every_table_is_on_the_list() -> None:
    found = tables()
    assert {"events", "key", "document", *OF_VIEWS} <= found, "the tables were not found"
    listed = {one.name for one in STORES}
    assert sorted(found - OF_VIEWS - listed) == [], "a store without an eraser, and without a reason"
    elsewhere = {"attachments", "views", "kafka", "backups", "forgotten"}
    assert sorted(listed - found - elsewhere) == [], "a store that is no more"


def test_every_step_is_one_that_an_erasure_tells() -> None:
    assert {one.value for one in Step} <= set(STEPS)


def test_no_store_is_listed_twice_or_without_a_reason() -> None:
    assert len({one.name for one in STORES}) == len(STORES)
    assert all(one.why for one in STORES)
    assert {"events", "key", "identifier", "views", "document", "attachments", "kafka"} <= set(reached())
