"""Completes a module or a state in a shell, from those that are in the store."""

import os
from collections.abc import Iterable
from typing import Final

import click

from ..errors import StorageError
from ..keys.literals import is_literal
from ..keys.rows import format_key, format_state
from ..maintenance import ExistingStorage
from ..sqlite.bulk import scan

# Nobody chooses from names that are longer than a line.
_LONGEST: Final = 200


def modules(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the modules that begin so, as `lamson-state` shows them."""
    values = _distinct(context, "module")
    found = {format_key(value) for value in values if isinstance(value, str)}
    # Rows that no store has written are left out here: check reports them.
    found |= {value.decode() for value in values if isinstance(value, bytes) and is_literal(value)}
    return _beginning(incomplete, found)


def states(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the states that begin so, as `lamson-state` shows them."""
    values = _distinct(context, "state")
    return _beginning(incomplete, (format_state(each) for each in values if isinstance(each, str)))


def _beginning(incomplete: str, found: Iterable[str]) -> list[str]:
    return sorted(each for each in found if each.startswith(incomplete))


def _distinct(context: click.Context, column: str) -> list[object]:
    path = context.find_root().params.get("store")
    if not path:
        return []
    # An error is kept silent, because it would stand in the line that the user is typing.
    try:
        with ExistingStorage(os.path.expanduser(path), timeout=0, cache_size=0) as store:
            sql = f"SELECT DISTINCT {column} FROM states WHERE length({column}) <= {_LONGEST}"
            rows = store._handle.run(scan.run, sql)
    except StorageError:
        return []
    return [value for (value,) in rows]
