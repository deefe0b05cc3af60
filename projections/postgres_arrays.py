"""Whole columns as parameters of PostgreSQL: binary arrays made of bytes, at a tenth of what a list of values costs.

The library looks at each value of a list to find out how it is to be sent. Here the kind of array says so, and values
are bytes already. Both the log's tables and the views' write their rows so, as parallel arrays (`unnest`).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import psycopg
from psycopg import pq
from psycopg.adapt import Dumper

_HEADER = struct.Struct(">iiiii")
_LENGTH = struct.Struct(">i").pack
_NULL = _LENGTH(-1)


class BinaryArray:
    """An array of one dimension. items are the values as PostgreSQL sends them in binary; None is NULL."""

    __slots__ = ("items",)
    element: ClassVar[int]
    """The type of the elements, by its number in PostgreSQL's catalogue (pg_type.dat)."""
    array: ClassVar[int]
    size: ClassVar[int | None] = None
    """How long each element is, where all are equally long and none is NULL."""

    def __init__(self, items: Sequence[bytes | None]) -> None:
        self.items = items

    def dump(self) -> bytes:
        """Give it as PostgreSQL reads it (array_recv)."""
        items = self.items
        has_null = None in items
        header = _HEADER.pack(1, has_null, self.element, len(items), 1)
        if has_null:
            return header + b"".join([_NULL if one is None else _LENGTH(len(one)) + one for one in items])
        if self.size is not None and items:
            front = _LENGTH(self.size)
            return header + front + front.join(items)  # type: ignore[arg-type]
        return header + b"".join([piece for one in items for piece in (_LENGTH(len(one)), one)])  # type: ignore[arg-type,misc]


class Byteas(BinaryArray):
    """`bytea[]`."""

    element, array = 17, 1001


class Uuids(BinaryArray):
    """`uuid[]`, from their 16 bytes."""

    element, array, size = 2950, 2951, 16


class Texts(BinaryArray):
    """`text[]`, in UTF-8."""

    element, array = 25, 1009


class BigInts(BinaryArray):
    """`bigint[]`, from their 8 bytes."""

    element, array, size = 20, 1016, 8

    @classmethod
    def of(cls, numbers: Sequence[int]) -> Self:
        """Take numbers instead of bytes."""
        packed = struct.pack(f">{len(numbers)}q", *numbers)
        return cls([packed[at : at + 8] for at in range(0, len(packed), 8)])


def _register(kind: type[BinaryArray]) -> None:
    class KindDumper(Dumper):
        format = pq.Format.BINARY
        oid = kind.array

        def dump(self, obj: Any) -> bytes:
            content: bytes = obj.dump()
            return content

    psycopg.adapters.register_dumper(kind, KindDumper)


for _kind in (Byteas, Uuids, Texts, BigInts):
    _register(_kind)
