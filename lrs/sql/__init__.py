"""SQL lives in files: schemas as scripts, queries by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


@cache
def queries(file: str) -> dict[str, str]:
    """Give the named queries of a file in this folder (without `.sql`)."""
    pieces = _NAME.split(script(file))
    return {name: text.strip() for name, text in zip(pieces[1::2], pieces[2::2], strict=True)}


def script(file: str) -> str:
    """Give a whole file of this folder (without `.sql`)."""
    return files(__name__).joinpath(f"{file}.sql").read_text()


def new_tables(text: str, names: Sequence[str]) -> list[str]:
    """Give the statements of a schema script that make some tables, for tables called the same and `_new`."""
    heads = {f"CREATE TABLE IF NOT EXISTS {name} (": f"CREATE TABLE {name}_new (" for name in names}
    return [one.replace(old, new, 1) for one in split_script(text) for old, new in heads.items() if one.startswith(old)]


def split_script(text: str) -> list[str]:
    """Give the statements of a schema script; none of ours holds a semicolon inside a statement."""
    bare = re.sub(r"^\s*--.*$", "", text, flags=re.MULTILINE)
    return [one.strip() for one in bare.split(";") if one.strip()]
