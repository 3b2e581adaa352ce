"""``set``, ``set-all``, ``forget``, ``rename-state`` and ``prune``: commands that change states."""

from typing import Any, Final

import click

from .. import maintenance
from ..keys.rows import format_key, format_state
from ..maintenance import EVERY_ROW, Exact, Excerpt, ExistingStorage, Selection
from ._arguments import key, new_state, state, with_selection
from ._completion import modules, states
from ._printing import Printer, counts_as_objects
from ._session import Session, with_session
from ._status import DONE, NOTHING
from ._tables import counts_table, shortened

# The room for a sender in a sentence that has to fit on 80 columns.
_SENTENCE_CELLS: Final = 60


@click.command("set", short_help="Give one pair a state.")
@click.argument("module", type=key, shell_complete=modules)
@click.argument("sender", type=key)
@click.argument("state", type=new_state, shell_complete=states)
@with_session
def set_state(
    session: Session, printer: Printer, module: object, sender: object, state: str
) -> int:
    """Give one pair a state.

    To have the next mail of a sender begin anew, use forget.
    """
    with session.store() as store:
        before = maintenance.find(store, module, sender)
        store.set(module, sender, state)
    old = None if before is None else before.state
    was = "had no state" if old is None else f"was in {format_state(old)}"
    name = shortened(Excerpt(format_key(sender)), _SENTENCE_CELLS)
    printer.result(
        {"changed": int(old != state)}, f"{name} {was}, and is in {format_state(state)}."
    )
    return DONE


@click.command("set-all", short_help="Give all pairs of a sender a state.")
@click.argument("sender", type=key)
@click.argument("state", type=new_state, shell_complete=states)
@with_session
def set_all(session: Session, printer: Printer, sender: object, state: str) -> int:
    """Give every pair that a sender has, in any module, a state."""
    with session.store() as store:
        changed = store.set_all(sender, state)
    return _done(printer, {"matched": changed}, f"Pairs in {format_state(state)} now: {changed:,}.")


@click.command("forget", short_help="Have a sender start anew.")
@click.argument("sender", type=key)
@click.option(
    "--module",
    type=lambda text: Exact(key(text)),  # None may be given, and is not what no option is
    metavar="KEY",
    shell_complete=modules,
    help="In this module only.",
)
@with_session
def forget(session: Session, printer: Printer, sender: object, module: Exact | None) -> int:
    """Remove the states of a sender, so that the sender's next mail starts at START."""
    with session.store() as store:
        removed = maintenance.forget(store, sender, module)
    return _done(printer, {"removed": removed}, f"Removed: {removed:,}.")


@click.command("rename-state", short_help="Rename a state, as its handler was.")
@click.argument("module", type=key, shell_complete=modules)
@click.argument("old", type=state, shell_complete=states)
@click.argument("new", type=new_state)
@with_session
def rename_state(session: Session, printer: Printer, module: object, old: str, new: str) -> int:
    """Give every pair of a module that is in state OLD the state NEW.

    For a handler that was renamed. The time since when a pair is in its state stays as it is.
    Restart the workers with the new code first, because the old code may set OLD again.
    """
    with session.store() as store, printer.progress("renaming") as progress:
        changed = maintenance.rename_state(store, module, old, new, progress=progress)
    sentence = f"From {format_state(old)} to {format_state(new)}: {changed:,}."
    return _done(printer, {"renamed": changed}, sentence)


@click.command("prune", short_help="Remove pairs by their state and age.")
@with_selection
@click.option(
    "--before-2009",
    is_flag=True,
    help="With --older-than: also those whose time a clock that stood wrong has set.",
)
@click.option("--yes", is_flag=True, help="Do it. Without this, only what would be done is shown.")
@with_session
def prune(
    session: Session, printer: Printer, *, selection: Selection, before_2009: bool, yes: bool
) -> int:
    """Remove pairs by their state and age: --state START --older-than 90d.

    They are in START from then on. At least one condition must be given. The pairs are removed in
    batches, so that no worker waits for long; a pair that no longer matches by then stays.

    A time from before 2009, when Lamson came, tells no age: a clock that stood at 1970 may have set
    it a minute ago. Such pairs are passed over.
    """
    if selection is EVERY_ROW:
        raise click.UsageError("which pairs? Give a condition, such as --older-than 90d")
    removed = 0
    with session.store() as store:
        counts, passed_over = _count(store, selection, printer, before_2009=before_2009)
        matched = sum(each.pairs for each in counts)
        if yes and matched:
            with printer.progress("removing") as progress:
                removed = maintenance.prune(
                    store, selection, before_2009=before_2009, progress=progress
                )
    if passed_over:
        printer.note(
            f"passed over {passed_over:,} whose time is from before 2009, as no true age: "
            "lamson-state check tells more, --before-2009 takes them too"
        )
    fields: dict[str, Any] = {"matched": matched, "removed": removed}
    if printer.is_json:
        fields |= {"passed_over": passed_over, "states": counts_as_objects(counts)}
    if printer.is_table and matched and not yes:
        printer.console.print(counts_table(counts, printer.console))
    would = f"These {matched:,} would be removed. Give --yes to do it."
    return _done(printer, fields, f"Removed: {removed:,}." if yes else would)


def _count(
    store: ExistingStorage, selection: Selection, printer: Printer, *, before_2009: bool
) -> tuple[Any, int]:
    """Return how many pairs would go, by module and state, and how many would be passed over."""
    with printer.progress("counting") as progress:
        passed_over = 0
        if selection.entered_before_ms is not None and not before_2009:
            others = maintenance.count_excerpts(store, selection.with_false_ages, progress)
            passed_over = sum(each.pairs for each in others)
            selection = selection.with_true_ages
        count = maintenance.count_states if printer.is_json else maintenance.count_excerpts
        return count(store, selection, progress), passed_over


def _done(printer: Printer, fields: dict[str, Any], sentence: str) -> int:
    """Report what was done to how many pairs: the first of the fields."""
    matched = next(iter(fields.values()))
    if matched or printer.is_json:
        printer.result(fields, sentence)
    else:
        printer.note("nothing matched")
    return DONE if matched else NOTHING
