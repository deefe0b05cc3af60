"""How often a process looks for garbage in cycles."""

from __future__ import annotations

import gc

GARBAGE_OBJECTS = 50_000
"""So many new containers make the collector look for cycles."""


def spare_the_collector() -> None:
    """Look for cycles less often, and never again in what was made by now: to be called once all is set up.

    A batch is thousands of containers that live for a moment; by default the collector walks them all many times.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS, *gc.get_threshold()[1:])
