"""What keeps keys from leaving a process by accident: no core dumps, and no looking in from processes of the same user.

A dump of a crashed server would hold every key that was in use. So none may be written, by the limit that the process
inherits on, and on Linux by a mark that also closes its memory to others of the same user (prctl(2), PR_SET_DUMPABLE).
"""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4


def keep_keys_in() -> None:
    """Have this process, and what it starts, write no core dumps. Never fails: an older system has less of this."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
