"""Writes the help of every command of ``lamson-state`` into its page: ``make docs``."""

import re
import sys
from pathlib import Path
from typing import Final

import click

from lamson_sqlite_state.cli._group import lamson_state

__all__ = ["help_texts", "page_with_help"]

PAGE: Final = Path(__file__).with_name("lamson-state.md")

_WIDTH: Final = 88


def help_texts() -> dict[str, str]:
    """Return what ``--help`` prints, by the command line that it is asked of."""
    group = click.Context(
        lamson_state,
        info_name="lamson-state",
        terminal_width=_WIDTH,
        help_option_names=lamson_state.context_settings["help_option_names"],
    )
    texts = {"lamson-state": lamson_state.get_help(group)}
    for name, command in lamson_state.commands.items():
        context = click.Context(command, parent=group, info_name=name, terminal_width=_WIDTH)
        texts[f"lamson-state {name}"] = command.get_help(context)
    return texts


def page_with_help(page: str) -> str:
    """Return the page with the help as it is now."""
    sections = "\n".join(f"### {name}\n\n```\n{text}\n```\n" for name, text in help_texts().items())
    return re.sub(
        r"(<!-- help: written by make docs -->\n).*(<!-- help: end -->)",
        lambda found: f"{found[1]}\n{sections}\n{found[2]}",
        page,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    PAGE.write_text(page_with_help(PAGE.read_text()))
    sys.exit(0)
