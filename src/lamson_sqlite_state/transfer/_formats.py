"""The formats of a file of rows, and the functions that read and write each of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import IO, Final, Literal, TypeAlias

from ..keys.rows import RawRow, Row
from ._csv import read_csv, write_csv
from .json_lines import read_json_lines, write_json_lines

Format: TypeAlias = Literal["jsonl", "csv"]
"""JSON Lines, which lose nothing, or CSV, a table for people."""

READERS: Final[Mapping[Format, Callable[[IO[bytes], str], Iterator[list[RawRow]]]]] = {
    "jsonl": read_json_lines,
    "csv": read_csv,
}
WRITERS: Final[Mapping[Format, Callable[[Iterable[Row]], Iterator[str]]]] = {
    "jsonl": write_json_lines,
    "csv": write_csv,
}
