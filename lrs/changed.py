"""What a request to the log is handed back with when something else is true than whoever made it knew."""

from __future__ import annotations

import msgspec

from schemas.person_states import PersonStateRow


class Changed(msgspec.Struct, array_like=True, frozen=True, tag="changed"):
    """Nothing of the request was written: streams known already (by index), and the state of the people it names."""

    known: tuple[int, ...]
    states: tuple[PersonStateRow, ...]
