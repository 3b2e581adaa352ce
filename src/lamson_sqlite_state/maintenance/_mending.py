"""Changes the states of many pairs: forgets a sender, renames a state, removes old pairs."""

from ..keys.columns import checked_state, row_key
from ..sqlite.bulk import batches, scan
from ..sqlite.bulk.scan import Progress
from ..sqlite.engine import schema
from ..sqlite.engine.states_table import StatesTable
from ..sqlite.storage import SQLiteStorage
from .selection import Exact, Selection


def forget(store: SQLiteStorage, sender: object, module: Exact | None = None) -> int:
    """Remove the rows of a sender at one instant, so that the sender's next mail starts at START.

    Args:
        store: the store.
        sender: whose rows to remove.
        module: `Exact` the module whose row to remove; None for the rows in all modules.

    Returns:
        How many rows were removed.

    Raises:
        TypeError: as ``set``.
    """
    key = row_key("" if module is None else module.key, sender)
    sql, parameters = (schema.FORGET_ALL, key[:1]) if module is None else (schema.FORGET, key)
    return store._handle.run(StatesTable.write, key, "", sql, lambda _now_ms: parameters)


def rename_state(
    store: SQLiteStorage, module: object, old: str, new: str, *, progress: Progress = scan.silent
) -> int:
    """Give every pair of a module that is in the state ``old`` the state ``new``.

    This is for a handler that was renamed. `since` stays as it is, because no conversation has gone
    on. Many rows are changed in batches. Workers that still run the old code may set the old state
    again.

    Args:
        store: the store.
        module: the module, exactly.
        old: the state until now.
        new: the state from now on.
        progress: is told how many rows have been looked at.

    Returns:
        How many rows were changed.

    Raises:
        TypeError, ValueError: as ``set``.
    """
    old, new = checked_state(old), checked_state(new)
    where = Selection(module=Exact(module), state=old).where
    return sum(
        batches.in_batches(store._handle, batches.rename, found, old, new)
        for found in scan.pages(store._handle, where, progress=progress)
    )


def prune(
    store: SQLiteStorage,
    selection: Selection,
    *,
    before_2009: bool = False,
    progress: Progress = scan.silent,
) -> int:
    """Remove the selected rows, in batches. Their pairs are in START from then on.

    A pair that has left its state meanwhile stays. If ``entered_before_ms`` is given, a pair whose
    time is from before 2009, when Lamson came, stays too: it may have entered its state a minute
    ago, when the clock of a machine that had just been started stood at 1970.

    Args:
        store: the store.
        selection: which rows. Before that, `count_states` of its ``with_true_ages`` tells how many
            they are, and `count_states` of its ``with_false_ages`` how many would stay.
        before_2009: whether to remove pairs from before 2009 too.
        progress: is told how many rows have been looked at.

    Returns:
        How many rows were removed.
    """
    where = (selection if before_2009 else selection.with_true_ages).where
    return sum(
        batches.in_batches(store._handle, batches.delete, found, where)
        for found in scan.pages(store._handle, where, progress=progress)
    )
