"""Reads the values of a shelf of states, each a pickled text, and executes nothing in them.

Python's own unpickler calls any function that a pickle names. Refusing names would not be enough: a
pickle of 1 MiB, made of numbers, tuples and dicts alone, can take days to hash, or overflow the C
stack. So the unpickler here knows only the operations that protocols 0 to 5 use for one text. They
are described at https://docs.python.org/3/library/pickletools.html.
"""

import ast
import io
import pickle
import pickletools
import re
import struct
from collections.abc import Callable
from itertools import islice
from typing import Any, ClassVar, Final

from ._literals import BYTES
from ._record import Unreadable, printable

_PYTHON_2_LITERAL: Final = re.compile(BYTES.encode())

# The operations for texts, and those that do not change the value. FRAME and STRING are read below:
# Python's own FRAME may be longer than the pickle, and its own STRING warns of escapes that Python
# 2 did not write.
_OPERATIONS: Final = (
    *(pickle.PROTO, pickle.STOP, pickle.PUT, pickle.BINPUT, pickle.LONG_BINPUT, pickle.MEMOIZE),
    *(pickle.UNICODE, pickle.SHORT_BINUNICODE, pickle.BINUNICODE, pickle.BINUNICODE8),
    *(pickle.SHORT_BINSTRING, pickle.BINSTRING),
)

_OPERATIONS_LOOKED_AT: Final = 1000
_NOT_WHOLE: Final = "its value is cut short or no pickle"
_NOT_UTF_8: Final = "its value is a text that is not UTF-8, or holds lone surrogates"
_MORE: Final = "its value is a pickle of more than a text"
_KINDS: Final = frozenset(
    ["None", "bool", "int", "float", "bytes", "bytearray", "dict", "list", "tuple", "set"]
)


# The unpickler in C has no table of operations, and allocates as many places as LONG_BINPUT says.
class _TextUnpickler(pickle._Unpickler):
    stack: list[str]

    def __init__(self, pickled: bytes) -> None:
        self._file = io.BytesIO(pickled)
        self._bytes = len(pickled)
        super().__init__(self._file, encoding="utf-8")

    def _load_frame(self) -> None:
        length = int.from_bytes(self._file.read(8), "little")
        if length > self._bytes - self._file.tell():
            raise EOFError

    def _load_string(self) -> None:
        if self.stack:  # half a million strings would keep Python's parser busy
            raise ValueError
        line = self._file.readline().removesuffix(b"\n")
        if not _PYTHON_2_LITERAL.fullmatch(line):
            raise pickle.UnpicklingError
        literal: bytes = ast.literal_eval(f"b{line.decode()}")
        self.stack.append(literal.decode())

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **{code: pickle._Unpickler.dispatch[code] for (code,) in _OPERATIONS},
        pickle.FRAME[0]: _load_frame,
        pickle.STRING[0]: _load_string,
    }


def unpickle_state(pickled: bytes) -> str:
    """Return the text that a value holds.

    Bytes behind the pickle's end are ignored, as ``pickle.loads`` ignores them.

    Raises:
        Unreadable: the value holds anything else, is cut short, or cannot be kept as UTF-8.
    """
    unpickler = _TextUnpickler(pickled)
    try:
        text: str = unpickler.load()
        text.encode()
    except UnicodeError as error:
        raise Unreadable(_NOT_UTF_8) from error
    except (EOFError, IndexError, struct.error, pickle.UnpicklingError) as error:
        raise Unreadable(_NOT_WHOLE) from error
    except (KeyError, ValueError) as error:  # another operation, a newer protocol
        raise Unreadable(_reason_of_refusal(pickled)) from error
    if unpickler.stack:
        raise Unreadable(_MORE)
    return text


def _reason_of_refusal(pickled: bytes) -> str:
    # pickletools only lists the operations and their arguments. The last operation that puts
    # something on the stack tells the type of the value.
    kind, texts = "", list[str]()
    try:
        for opcode, argument, _ in islice(pickletools.genops(pickled), _OPERATIONS_LOOKED_AT):
            if opcode.name == "PROTO" and (argument or 0) > pickle.HIGHEST_PROTOCOL:
                return f"its value is a pickle of protocol {argument}"
            if opcode.name in ("GLOBAL", "INST"):
                return _reason_of_name(str(argument).replace(" ", "."))
            if opcode.name == "STACK_GLOBAL" and len(texts) >= 2:
                return _reason_of_name(".".join(texts[-2:]))
            if isinstance(argument, str):
                texts.append(argument)
            if opcode.stack_after and opcode.name != "MEMOIZE":
                kind = opcode.stack_after[-1].name.removesuffix("_or_bool")
    except Exception:  # noqa: BLE001 - pickletools may raise anything for bytes that are no pickle
        return _NOT_WHOLE
    if opcode.name != "STOP" or kind not in _KINDS:
        return _MORE
    return f"its value is a pickled {kind}, not a text"


def _reason_of_name(name: str) -> str:
    shown = printable(name.encode(errors="backslashreplace"))
    return f"its value is a pickle that names {shown}, not a text"
