"""The command itself: its options, its help, and which exit status an error has."""

import sys
from collections.abc import Mapping, Sequence
from typing import Final

import click
from click.shell_completion import add_completion_class

from .. import __version__
from ..errors import Code, NotAShelf, StorageError
from ..transfer import BadRow
from . import _edit, _inspect, _move, _watch
from ._arguments import Seconds
from ._printing import one_line
from ._session import DONE, UNUSABLE, USAGE, Interrupted, Session
from ._shells import Bash, Fish, Zsh

_COMMANDS: Final = (
    _inspect.summary,
    _inspect.list_rows,
    _inspect.get,
    _edit.set_state,
    _edit.set_all,
    _edit.forget,
    _edit.rename_state,
    _edit.prune,
    _move.import_shelve,
    _move.export,
    _move.import_rows,
    _move.backup,
    _move.restore,
    _inspect.check,
    _watch.watch,
    _inspect.datasette_metadata,
)

# By its options, where the library's remedy names an argument of a function.
_REMEDIES: Final[Mapping[Code, str]] = {
    "file-exists": "give another path, or overwrite it (--force)",
    "rename-unsupported": "allow that (--force), or give a path on another one",
}


class _InOrder(click.Group):
    """Lists the commands as they stand above, not by the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=_InOrder,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--store",
    metavar="PATH",
    type=click.Path(readable=False),  # else Click itself asks, and says it with another status
    envvar="LAMSON_STATE_STORE",
    show_envvar=True,
    help="The state file, as it was given to SQLiteStorage. It must be there.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=Seconds(min=0),
    default=30.0,
    show_default=True,
    help="How long to wait for workers that write.",
)
@click.version_option(__version__, prog_name="lamson-state")
@click.pass_context
def lamson_state(context: click.Context, store: str | None, timeout: float) -> None:
    """Look at the conversation states of a Lamson or Salmon application, and mend them.

    Every command works while workers run, and holds none of them up for long. On a terminal,
    results are tables; in a pipe, lines with tabs between the cells; and JSON with --json. Times in
    both are milliseconds of Unix time.

    A MODULE, SENDER or key that is no plain text is shown and given as a Python literal: None is
    the sender of a bounce, "'None'" the text. Arguments that begin with a dash follow a --.

    \b
    Exit status:
      0    done
      1    nothing matched, or there is a finding
      2    the command, or a file given to it, is not as it should be
      3    the store could not be used
      130  interrupted; a second run does the rest
    """  # noqa: D301 - Click wants the character itself
    session = context.ensure_object(Session)
    session.given_path, session.timeout_seconds = store, timeout


for _command in _COMMANDS:
    lamson_state.add_command(_command)

for _shell in (Bash, Zsh, Fish):
    add_completion_class(_shell)


def run(arguments: Sequence[str] | None) -> int:
    """Run a command and return its exit status.

    Raises:
        KeyboardInterrupt: it was interrupted.
        PipeClosed: nobody reads its output any more.
        OSError: its output could not be written.
    """
    session = Session()
    try:
        status = lamson_state.main(
            arguments, prog_name="lamson-state", standalone_mode=False, obj=session
        )
    except (Interrupted, click.Abort):
        raise KeyboardInterrupt from None
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        where = context.command_path if context else "lamson-state"
        _say(where, " ".join(error.format_message().split()))
        return USAGE
    except StorageError as error:
        error.remedy = _REMEDIES.get(error.code, error.remedy)
        _say("lamson-state", str(error))
        is_ours = error.path in session.other_files or isinstance(error, BadRow | NotAShelf)
        return USAGE if is_ours else UNUSABLE
    except OSError as error:
        if error.filename is None:
            raise  # of the output
        _say("lamson-state", f"{error.filename}: {error.strerror or error}")
        return USAGE if error.filename in session.other_files else UNUSABLE
    return status if isinstance(status, int) else DONE


def _say(where: str, problem: str) -> None:
    print(f"{where}: {one_line(problem)}", file=sys.stderr)
