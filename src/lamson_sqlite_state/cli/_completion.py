"""What a shell may complete: the modules and states that a store has."""

import os
from typing import Final

import click
from click.shell_completion import CompletionItem

from ..errors import StorageError
from ..keys.literals import is_literal
from ..keys.rows import format_key, format_state
from ..maintenance import ExistingStorage
from ..sqlite.bulk import scan

# Nobody chooses from names that are longer than a line.
_LONGEST: Final = 200


def modules(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the modules that begin so, as they are shown."""
    values = _distinct(context, "module")
    # What no store has written, check tells of.
    found = {format_key(value) for value in values if isinstance(value, str)}
    found |= {value.decode() for value in values if isinstance(value, bytes) and is_literal(value)}
    return [CompletionItem(each) for each in sorted(found) if each.startswith(incomplete)]


def states(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the states that begin so."""
    values = _distinct(context, "state")
    found = sorted(format_state(value) for value in values if isinstance(value, str))
    return [CompletionItem(each) for each in found if each.startswith(incomplete)]


def _distinct(context: click.Context, column: str) -> list[object]:
    path = context.find_root().params.get("store")
    if not path:
        return []
    # Whatever is wrong with the store, pressing a key is not the moment to say so.
    try:
        with ExistingStorage(os.path.expanduser(path), timeout=0, cache_size=0) as store:
            sql = f"SELECT DISTINCT {column} FROM states WHERE length({column}) <= {_LONGEST}"
            rows = store._handle.run(scan.run, sql)
    except StorageError:
        return []
    return [value for (value,) in rows]
