"""What a shell may complete: the modules and states that a store has."""

import click
from click.shell_completion import CompletionItem

from .. import _rows
from .._row import key_of_column, shown_key, shown_state
from ..errors import StorageError
from ..maintenance import ExistingStorage

__all__ = ["modules", "states"]


def modules(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the modules that begin so, as they are shown."""
    found = (shown_key(key_of_column(value, "")) for value in _distinct(context, "module"))
    return [CompletionItem(each) for each in sorted(found) if each.startswith(incomplete)]


def states(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the states that begin so."""
    found = sorted(map(shown_state, _distinct(context, "state")))
    return [CompletionItem(each) for each in found if each.startswith(incomplete)]


def _distinct(context: click.Context, column: str) -> list[str]:
    path = context.find_root().params.get("store")
    if not path:
        return []
    # Whatever is wrong with the store, pressing a key is not the moment to say so.
    try:
        with ExistingStorage(path, timeout=0, cache_size=0) as store:
            rows = store._call(_rows.run, f"SELECT DISTINCT {column} FROM states")
    except StorageError:
        return []
    return [value for (value,) in rows]
