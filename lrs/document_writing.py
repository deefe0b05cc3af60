"""What it means to write documents: those that change together, if they are still as they were looked at.

Like an append it is decided under the log's lock, by revisions and by what is true of the person; nothing is half done.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from lrs.changed import Changed
from schemas.person_states import PersonStateRow


class DocumentPut(msgspec.Struct, array_like=True, frozen=True):
    """A document as it shall be. expected_revision 0: there must be none; people as in an event."""

    document_key: bytes
    scope: bytes
    wide_scope: bytes | None
    owner: bytes
    expected_revision: int
    sealed: bytes


class DocumentDelete(msgspec.Struct, array_like=True, frozen=True):
    """A document that shall go, if it is still the revision that was looked at."""

    document_key: bytes
    expected_revision: int


class DocumentRequest(msgspec.Struct, array_like=True, frozen=True, tag="documents"):
    """Documents that change together or not at all, about one person (or none)."""

    puts: tuple[DocumentPut, ...] = ()
    deletes: tuple[DocumentDelete, ...] = ()
    person: bytes | None = None
    seen: tuple[PersonStateRow, ...] = ()


class DocumentsChanged(msgspec.Struct, array_like=True, frozen=True, tag="documented"):
    """The documents are as asked; updated_us is when."""

    updated_us: int


class DocumentTables(Protocol):
    """The log's tables inside a transaction that holds the log's lock."""

    def person_states(self, people: Sequence[bytes]) -> list[PersonStateRow]:
        """Give the states of people, of those who have one."""
        ...

    def now_us(self) -> int:
        """Give the clock's µs."""
        ...

    def revisions(self, document_keys: Sequence[bytes]) -> dict[bytes, int]:
        """Give the revision of each document that is there."""
        ...

    def put_document(self, put: DocumentPut, now_us: int) -> None:
        """Write a document, over what was there, with a revision that it never had (`next_revision`)."""
        ...

    def delete_documents(self, document_keys: Sequence[bytes]) -> None:
        """Delete documents."""
        ...


def write_documents(tables: DocumentTables, request: DocumentRequest) -> DocumentsChanged | Changed:
    """Put and delete documents whose revisions are still those looked at; otherwise change nothing."""
    states = tuple(sorted(tables.person_states([request.person]))) if request.person is not None else ()
    looked_at: list[DocumentPut | DocumentDelete] = [*request.puts, *request.deletes]
    current = tables.revisions([one.document_key for one in looked_at])
    stale = tuple(
        index for index, one in enumerate(looked_at) if current.get(one.document_key, 0) != one.expected_revision
    )
    if stale or states != request.seen:
        return Changed(stale, states)
    now_us = tables.now_us()
    for put in request.puts:
        tables.put_document(put, now_us)
    if request.deletes:
        tables.delete_documents([one.document_key for one in request.deletes])
    return DocumentsChanged(now_us)


def next_revision(put: DocumentPut, now_us: int) -> int:
    """Give a document's new revision: later than before, also than one that was deleted meanwhile."""
    return max(now_us, put.expected_revision + 1)
