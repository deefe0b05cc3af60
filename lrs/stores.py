"""Every store that Griffel has, and what an erasure does there. A test fails for one that is not on this list.

What holds nothing of a person says why. The others name the step of an erasure (lrs/erasure.py) that reaches them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Step(StrEnum):
    """The step of an erasure in which a store forgets, as it is told while it is carried out."""

    KEYS = "keys destroyed"
    VIEWS = "views"
    DOCUMENTS = "documents"
    STATEMENTS = "statements"
    LISTS = "lists"
    COMPLETED = "completed"


class Store(NamedTuple):
    """A table or a kind of file. step is None where it holds nothing that leads to a person; why says so."""

    name: str
    step: Step | None
    why: str


STORES = (
    # The log's database.
    Store("events", Step.KEYS, "sealed; what remains beside is the pseudonym, positions, times and lengths"),
    Store("statement", Step.STATEMENTS, "keyed hashes of what a statement is found by, and whom it names"),
    Store("term", Step.LISTS, "keyed hashes of what statements are found by"),
    Store("event_people", Step.COMPLETED, "which events name a pseudonym"),
    Store("person_state", None, "that a pseudonym is erased: the fence, which stays"),
    Store("document", Step.DOCUMENTS, "state and profile documents, sealed"),
    Store("blob", Step.STATEMENTS, "which statement holds which attachment"),
    Store("blob_chunk", Step.STATEMENTS, "attachments, sealed; deleted with the last statement that holds them"),
    Store("attachments", Step.STATEMENTS, "files of the same"),
    Store("voiding", None, "keyed hashes of statements' ids, of nobody's"),
    Store("log_head", None, "positions and times"),
    Store("index_build", None, "how far a new index is; given up by each erasure"),
    Store("relay", None, "positions"),
    # The views.
    Store("views", Step.VIEWS, "rows, counts and dead letters of every generation"),
    Store("forgotten", None, "tombstones: pseudonyms that lead to nobody"),
    # The vault.
    Store("key", Step.KEYS, "keys, wrapped; the row stays without its bytes, as a fact"),
    Store("identifier", Step.KEYS, "what leads to a person"),
    Store("erased", None, "pseudonyms that lead to nobody"),
    Store("suppressed", None, "keyed hashes under a pepper that is destroyed with its month"),
    Store("change", None, "pseudonyms of the newest changes"),
    Store("holder", None, "random numbers of processes"),
    Store("journal", None, "a count and a hash"),
    Store("credential", None, "credentials are systems', not learners'"),
    Store("secret", None, "the store's own"),
    Store("epoch", None, "the store's own"),
    Store("vault", None, "the store's own"),
    Store("witness", None, "positions"),
    # Copies.
    Store("kafka", Step.KEYS, "the sealed events, as they are in the log"),
    Store("backups", Step.KEYS, "as the log and the vault; those of the vault die with their epochs"),
)


def reached() -> list[str]:
    """Give the stores that an erasure reaches, as the certificate names them."""
    return [one.name for one in STORES if one.step is not None]
