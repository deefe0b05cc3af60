"""What can go wrong, as one tree. HTTP codes live in lrs/http/problem.py, never here.

    GriffelError
    ├── Refused                 the caller may not have this done
    │   ├── NotAuthenticated
    │   ├── NotAllowed          the credential lacks the scope
    │   ├── LearnerErased       everyone the statement is about has been erased
    │   └── PurposeWithdrawn    the learner has withdrawn the purpose
    ├── NotFound
    ├── Conflict                the same id with another statement, a document that exists already
    ├── PreconditionFailed      If-Match or If-None-Match does not hold
    ├── Busy (retry helps)
    │   ├── QueueFull
    │   ├── WriterGone
    │   ├── DiskFull            somebody has to make room
    │   ├── KeysAway            who holds the root keys does not answer
    │   └── LogBehind           the database may lack events that were in it
    ├── Damaged                 data or keys are not what they must be; an operator is needed
    └── Misconfigured           a setting is missing or wrong; the message names it and the mend

InvalidInput and TooLarge (a caller's bad input) are in schemas/errors.py.
The docstring of a class is its message when none is given.
"""

from __future__ import annotations


class GriffelError(Exception):
    """Something went wrong in Griffel."""

    retry_helps = False

    def __init__(self, detail: str | None = None, *, pointer: str | None = None) -> None:
        self.detail = detail or (type(self).__doc__ or "").strip()
        self.pointer = pointer
        self.pointers: list[str] = []
        super().__init__(self.detail)


class Refused(GriffelError):
    """This is not allowed."""


class NotAuthenticated(Refused):
    """Send a credential: HTTP Basic with key and secret, or a bearer token."""


class NotAllowed(Refused):
    """The credential lacks the scope that this needs."""


class LearnerErased(Refused):
    """Everyone this statement is about has been erased."""


class PurposeWithdrawn(Refused):
    """The learner has withdrawn the purpose that this statement is kept for."""


class NotFound(GriffelError):
    """There is nothing here."""


class Conflict(GriffelError):
    """Something else is there already."""


class PreconditionFailed(GriffelError):
    """If-Match or If-None-Match does not hold: read the document again and repeat."""


class Busy(GriffelError):
    """The store is busy. Nothing was stored; try again."""

    retry_helps = True
    retry_after_s = 1


class QueueFull(Busy):
    """More is waiting to be written than the queue holds. Nothing was stored; try again."""


class WriterGone(Busy):
    """The writer stopped and is being started again. What was under way may be stored; repeat it with the same ids."""


class DiskFull(Busy):
    """A disk is full; nothing was stored. Once there is room, writing goes on by itself."""

    retry_after_s = 10


class KeysAway(Busy):
    """Who holds the root keys does not answer, so nothing can be opened. Griffel goes on by itself once it does."""

    retry_after_s = 5


class LogBehind(Busy):
    """The log is being compared with its copy, or brought up to it. Nothing was done; /health/ready says how it is."""

    retry_after_s = 5


class Damaged(GriffelError):
    """Stored data or its keys are damaged; an operator must look."""


class Misconfigured(GriffelError):
    """A setting is missing or wrong."""
