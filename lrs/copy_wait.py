"""Nothing is destroyed before Kafka has acknowledged the event that says so: a database that is lost undoes nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from lrs.errors import Busy

COPY_POLL_S = 0.05
COPY_WAIT_S = 10.0
"""How long a request waits for Kafka; over it the erasure is pending: fenced, and taken up when Kafka is back."""

Copied = Callable[[], int | None]
"""Gives the position up to which Kafka has acknowledged the log. Blocks."""


class Pending(Busy):
    """Nothing more is recorded of this person; keys are destroyed as soon as Kafka has acknowledged the request."""


async def wait_for_copy(copied: Copied | None, position: int) -> None:
    """Wait until Kafka has acknowledged the log up to a position. Raises Pending after COPY_WAIT_S."""
    if copied is None:
        return
    ends = time.monotonic() + COPY_WAIT_S
    while (await asyncio.to_thread(copied) or 0) < position:
        if time.monotonic() > ends:
            raise Pending
        await asyncio.sleep(COPY_POLL_S)
