"""Reports read again: what a page and a terminal say, as whoever sees them reads it."""

import re
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import TypeAlias

from rich.console import Console

from reporting.display import print_summary
from reporting.run import Run

__all__ = [
    "Elements",
    "Table",
    "Written",
    "headline",
    "number",
    "summary",
    "tables_of",
    "text_of",
    "title",
]

Written: TypeAlias = Callable[[Run], str]
"""Writes the page of a run, and returns it."""


class Elements(HTMLParser):
    """All elements of a page, and whether each is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def text_of(page: str) -> str:
    """Return what one reads, in one line."""
    without = re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(without))


def headline(page: str) -> str:
    found = re.search(r"<h1>(.*?)</h1>", page, re.DOTALL)
    assert found is not None
    return text_of(found[1])


def title(page: str) -> str:
    found = re.search(r"<title>(.*?)</title>", page, re.DOTALL)
    assert found is not None
    return text_of(found[1])


Table: TypeAlias = list[dict[str, str]]
"""The rows of a table, each with its cells by their headings."""


def tables_of(page: str) -> dict[str, Table]:
    """Return the tables of a page, each by its second heading."""
    tables = {}
    for table in re.findall(r"<table>.*?</table>", page, re.DOTALL):
        headings = [text_of(each).strip() for each in re.findall(r"<th[ >].*?</th>", table)]
        body = table[table.index("<tbody>") :]
        rows = [re.findall(r"<td.*?</td>", row, re.DOTALL) for row in body.split("<tr>")[1:]]
        tables[headings[1]] = [
            dict(zip(headings, (text_of(cell).strip() for cell in row), strict=True))
            for row in rows
        ]
    return tables


def number(text: str) -> int:
    """Return the number that a text begins with; a dash, or nothing, is 0."""
    found = re.match(r"[\d,]+", text)
    return int(found[0].replace(",", "")) if found else 0


def summary(run: Run, width: int = 80) -> str:
    console = Console(file=StringIO(), width=width)
    print_summary(console, run, Path("report.html"))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()
