"""The command ``lamson-state``: its options, its help, and the exit status of each error."""

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final

import click
from click.shell_completion import add_completion_class, shell_complete

from .. import __version__
from ..errors import Code, NotAShelf, StorageError
from ..transfer import BadRow
from . import _backup, _edit, _export, _import, _inspect, _watch
from ._arguments import Seconds
from ._files import FILE
from ._printing import one_line
from ._session import Session
from ._shells import Bash, Fish, Zsh
from ._status import UNUSABLE, USAGE

# The command says itself what is wrong, so the log is not to be printed on stderr beside that.
logging.getLogger("lamson_sqlite_state").addHandler(logging.NullHandler())

_COMMANDS: Final = (
    _inspect.summary,
    _inspect.list_rows,
    _inspect.get,
    _edit.set_state,
    _edit.set_all,
    _edit.forget,
    _edit.rename_state,
    _edit.prune,
    _import.import_shelve,
    _export.export,
    _import.import_rows,
    _backup.backup,
    _backup.restore,
    _inspect.check,
    _watch.watch,
    _inspect.datasette_metadata,
)

_NAME: Final = "lamson-state"

# Set by the shells' completion scripts, which Click makes.
_COMPLETION: Final = "_LAMSON_STATE_COMPLETE"

# In the words of the command, where the library's remedy names an argument of a function.
_REMEDIES: Final[Mapping[Code, str]] = {
    "file-exists": "give another path, or overwrite it (--force)",
    "rename-unsupported": "allow that (--force), or give a path on another file system",
}


class _InOrder(click.Group):
    """Lists the commands in the order in which they stand above. Click would sort them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=_InOrder,
    commands=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--store",
    metavar="PATH",
    type=FILE,
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
    results are tables. In a pipe, they are lines with tabs between the cells. With --json, they are
    JSON. Times in lines and in JSON are milliseconds of Unix time.

    A MODULE, SENDER or key that is no plain text is shown and given as a Python literal: None is
    the sender of a bounce, "'None'" is the text None. Arguments that begin with a dash follow a --.

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


for _shell in (Bash, Zsh, Fish):
    add_completion_class(_shell)


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit status.

    Click's own main is not used, because it prints an empty line for a KeyboardInterrupt, and ends
    the process with status 1 for a BrokenPipeError.

    Raises:
        KeyboardInterrupt: somebody pressed Ctrl-C.
        BrokenPipeError: nobody reads the output any more.
        OSError: the output could not be written.
    """
    session = Session()
    if instruction := os.environ.get(_COMPLETION):
        return shell_complete(lamson_state, {"obj": session}, _NAME, _COMPLETION, instruction)
    try:
        with lamson_state.make_context(_NAME, list(arguments), obj=session) as context:
            status: int = lamson_state.invoke(context)
            return status
    except click.exceptions.Exit as end:  # after --help and --version
        return end.exit_code
    except click.Abort:  # Ctrl-C at a question
        raise KeyboardInterrupt from None
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        failed = error.ctx if isinstance(error, click.UsageError) else None
        where = failed.command_path if failed else _NAME
        _say(" ".join(error.format_message().split()), where)
        return USAGE
    except StorageError as error:
        error.remedy = _REMEDIES.get(error.code, error.remedy)
        _say(str(error))
        is_usage = error.path in session.other_files or isinstance(error, BadRow | NotAShelf)
        return USAGE if is_usage else UNUSABLE
    except OSError as error:
        if error.filename is None:
            raise  # of the output
        _say(f"{error.filename}: {error.strerror or error}")
        return USAGE if error.filename in session.other_files else UNUSABLE


def _say(problem: str, where: str = _NAME) -> None:
    print(f"{where}: {one_line(problem)}", file=sys.stderr)
