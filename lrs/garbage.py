"""What a process does about its memory: how often it looks for garbage in cycles, and where threads get theirs from."""

from __future__ import annotations

import contextlib
import ctypes
import gc

GARBAGE_OBJECTS = 50_000
"""So many new containers make the collector look for cycles."""
ARENAS_MAX = 2
"""From so many places glibc gives memory to threads; by default from eight for each core, each half empty."""
_M_ARENA_MAX = -8


def share_arenas() -> None:
    """Have all threads of this process get memory from few places: to be called before there are any.

    Only glibc knows of arenas; elsewhere nothing happens.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS_MAX)


def spare_the_collector() -> None:
    """Look for cycles less often, and never again in what was made by now: to be called once all is set up.

    A batch is thousands of containers that live for a moment; by default the collector walks them all many times.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS, *gc.get_threshold()[1:])
