"""Writes the shelves of this directory anew. Needed only where a new one is added.

    cd tests; python3 -m shelves.make MADE...

`MADE` are names of the functions below, each with ``=`` and its argument if need be; without
any, all are called. Used were the packages python3-gdbm, libgdbm-compat4, db-util and
gcc-multilib of Debian 12, and Python 2.7.18 and 3.13.0. What they write differs in bytes each
time (addresses, times), in contents never.
"""

import ctypes
import dbm.gnu
import dbm.ndbm
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Protocol

from tests.shelf.files.contents import GONE, entries, key_of

HERE = Path(__file__).parent

MANY = 600  # several buckets of GNU dbm's 4096 bytes
FEW = 150  # several of 512 bytes


def records(count: int) -> list[tuple[bytes, bytes]]:
    """Return key and value of each entry, as bytes, as Salmon's shelf would hold them."""
    return [
        (key_of(module, sender).encode(), pickle.dumps(state, 4))
        for module, sender, state in entries(count)
    ]


def fresh(*names: str) -> str:
    """Delete the files of these names, and return the path of the first."""
    for name in names:
        (HERE / name).unlink(missing_ok=True)
    return str(HERE / names[0])


class Database(Protocol):
    """What both of Python's modules open."""

    def __setitem__(self, key: bytes, value: bytes, /) -> None: ...
    def __delitem__(self, key: bytes, /) -> None: ...


def fill(database: Database, count: int) -> None:
    """Write all entries, and some that are deleted again."""
    for number in range(count // 2):
        database[key_of("app.handlers.admin", GONE.format(number)).encode()] = b"?" * 50
    for key, value in records(count):
        database[key] = b"an older value"
        database[key] = value
    for number in range(count // 2):
        del database[key_of("app.handlers.admin", GONE.format(number)).encode()]


def gnu() -> None:
    """Write with Python's dbm.gnu (64 bits)."""
    with dbm.gnu.open(fresh("gnu"), "n") as database:
        fill(database, MANY)


def berkeley() -> None:
    """Write with Python's dbm.ndbm where that is Berkeley DB, as in Debian's Python."""
    assert dbm.ndbm.library == "Berkeley DB"
    with dbm.ndbm.open(fresh("berkeley.db").removesuffix(".db"), "n") as database:
        fill(database, MANY)


def _load(name: str, count: int, *options: str, kind: str = "hash", twice: bool = False) -> None:
    text = ["VERSION=3", "format=bytevalue", f"type={kind}", *options, "HEADER=END"]
    for key, value in records(count):
        again = (key, b"again") if twice else ()
        text += [" " + item.hex() for item in (key, value, *again)]
    text.append("DATA=END\n")
    subprocess.run(["db_load", fresh(name)], input="\n".join(text), text=True, check=True)


def berkeley_other() -> None:
    """Write with db_load: the other byte order, small pages, checksums, duplicates, a B-tree."""
    _load("berkeley-big-endian.db", FEW, "db_lorder=4321", "db_pagesize=1024")
    _load("berkeley-small-pages.db", FEW, "db_pagesize=512", "h_ffactor=40")
    _load("berkeley-checksums.db", FEW, "chksum=1", "db_pagesize=1024")
    _load("berkeley-duplicates.db", 8, "duplicates=1", "db_pagesize=1024", twice=True)
    _load("berkeley-btree.db", 8, "db_pagesize=1024", kind="btree")


class Datum(ctypes.Structure):
    """A key or value, as both libraries take it."""

    _fields_ = (("pointer", ctypes.c_char_p), ("size", ctypes.c_int))


def compat() -> None:
    """Write with GNU dbm's own ndbm: a .pag file, and a .dir file that says hardly anything."""
    library = ctypes.CDLL("libgdbm_compat.so.4")
    library.dbm_open.restype = ctypes.c_void_p
    library.dbm_store.argtypes = [ctypes.c_void_p, Datum, Datum, ctypes.c_int]
    library.dbm_close.argtypes = [ctypes.c_void_p]
    path = fresh("compat.pag", "compat.dir").removesuffix(".pag")
    database = library.dbm_open(path.encode(), 0o102, 0o644)
    for key, value in records(FEW):
        stored = library.dbm_store(database, Datum(key, len(key)), Datum(value, len(value)), 1)
        assert stored == 0
    library.dbm_close(database)


def numsync() -> None:
    """Write in GNU dbm's extended format (64 bits), and in blocks of 512 bytes."""
    library = ctypes.CDLL("libgdbm.so.6")
    library.gdbm_open.restype = ctypes.c_void_p
    library.gdbm_store.argtypes = [ctypes.c_void_p, Datum, Datum, ctypes.c_int]
    library.gdbm_close.argtypes = [ctypes.c_void_p]
    new_and_numsync = 3 | 0x2000
    database = library.gdbm_open(fresh("gnu-numsync").encode(), 512, new_and_numsync, 0o644, None)
    for key, value in records(FEW):
        assert library.gdbm_store(database, Datum(key, len(key)), Datum(value, len(value)), 1) == 0
    library.gdbm_close(database)


NARROW = """
    #include <gdbm.h>
    #include <stdio.h>
    #include <stdlib.h>
    /* gdbm-narrow FILE FLAGS <RECORDS: each a line with two lengths, then the bytes */
    int main(int argc, char **argv) {
        GDBM_FILE file = gdbm_open(argv[1], 512, atoi(argv[2]), 0644, NULL);
        datum key, value;
        if (!file) return 1;
        while (scanf("%d %d", &key.dsize, &value.dsize) == 2) {
            getchar();
            key.dptr = malloc(key.dsize);
            value.dptr = malloc(value.dsize);
            fread(key.dptr, 1, key.dsize, stdin);
            fread(value.dptr, 1, value.dsize, stdin);
            if (gdbm_store(file, key, value, GDBM_REPLACE)) return 2;
            free(key.dptr);
            free(value.dptr);
        }
        return gdbm_close(file);
    }
"""


def narrow(builds: str = "/tmp/gdbm") -> None:
    """Write with 32-bit builds of GNU dbm 1.23, with and without large files.

    These stand in ``builds``/lfs and ``builds``/nolfs, each configured with CFLAGS=-m32
    --host=i686-linux-gnu --disable-shared, and the latter with --disable-largefile.
    """
    source = Path(builds) / "narrow.c"
    source.write_text(textwrap.dedent(NARROW))
    text = b"".join(b"%d %d\n%b%b" % (len(k), len(v), k, v) for k, v in records(FEW))
    for build, flags, name in (
        ("nolfs", "3", "gnu-32"),
        ("nolfs", str(3 | 0x2000), "gnu-32-numsync"),
        ("lfs", "3", "gnu-32-large-files"),
    ):
        program = Path(builds) / f"narrow-{build}"
        large = ["-D_FILE_OFFSET_BITS=64"] if build == "lfs" else []
        there = Path(builds) / build / "src"
        library = there / ".libs" / "libgdbm.a"
        command = ["gcc", "-m32", *large, "-I", there, "-o", program, source, library]
        subprocess.run([*map(str, command)], check=True)
        subprocess.run([program, fresh(name), flags], input=text, check=True)


OLD = """
    #include <sys/types.h>
    #include <fcntl.h>
    #include <db.h>
    #include <ndbm.h>
    #include <stdio.h>
    #include <stdlib.h>
    /* old FILE ORDER PAGE-SIZE <RECORDS, which are as gdbm-narrow's; a value of length 0 deletes */
    int main(int argc, char **argv) {
        HASHINFO info = {atoi(argv[3]), 40, 1, 0, NULL, atoi(argv[2])};
        DB *file = dbopen(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0644, DB_HASH, &info);
        int key_size, value_size;
        if (!file) return 1;
        while (scanf("%d %d", &key_size, &value_size) == 2) {
            DBT key = {malloc(key_size + 1), key_size};
            DBT value = {malloc(value_size + 1), value_size};
            getchar();
            fread(key.data, 1, key_size, stdin);
            fread(value.data, 1, value_size, stdin);
            if (value_size ? file->put(file, &key, &value, 0) : file->del(file, &key, 0)) return 2;
            free(key.data);
            free(value.data);
        }
        return file->close(file);
    }
"""


def berkeley185(build: str = "/tmp/db1") -> None:
    """Write with Berkeley DB 1.85, which BSD and macOS have in libc, in either byte order.

    In ``build`` stands a libdb1.a of those sources, with their headers in include.
    """
    source = Path(build) / "old.c"
    source.write_text(textwrap.dedent(OLD))
    program = Path(build) / "old"
    command = ["gcc", "-I", Path(build) / "include", "-o", program, source]
    subprocess.run([*map(str, command), str(Path(build) / "libdb1.a")], check=True)
    for name, count, order, page_bytes in (
        ("berkeley-185.db", MANY // 2, 1234, 4096),
        ("berkeley-185-big-endian.db", FEW, 4321, 512),
    ):
        written: list[tuple[bytes, bytes]] = []

        class Recorder:
            def __setitem__(self, key: bytes, value: bytes, /) -> None:
                written.append((key, value))  # noqa: B023 - used in this turn only

            def __delitem__(self, key: bytes, /) -> None:
                written.append((key, b""))  # noqa: B023 - used in this turn only

        fill(Recorder(), count)
        text = b"".join(b"%d %d\n%b%b" % (len(k), len(v), k, v) for k, v in written)
        arguments = [fresh(name), str(order), str(page_bytes)]
        subprocess.run([str(program), *arguments], input=text, check=True)


PYTHON_2 = """
    # -*- coding: utf-8 -*-
    import dumbdbm, shelve, sys
    for protocol in (0, 2):
        shelf = shelve.Shelf(dumbdbm.open(sys.argv[1] + str(protocol)), protocol)
        for module, sender, state in [
            ('app.handlers.admin', 'ann@example.com', 'POSTING'),
            ('app.handlers.admin', u'bob@example.com', u'CONFIRMING'),
            ('app.handlers.admin', 'caf\\xc3\\xa9@example.com', 'P\\xc3\\xa9NDING'),
            ('app.handlers.admin', u'caf\\xe9@example.org', u'P\\xe9NDING'),
            ('app.handlers.admin', u'\\u2603@example.com', u'\\u2603'),
            ('app.handlers.admin', "o'neill@example.com", "IT'S"),
            ('app.handlers.admin', 'both " and \\' and \\\\', 'BACK\\\\SLASH\\n'),
            ('app.handlers.admin', None, 'BOUNCED'),
            ('app.handlers.admin', 'latin caf\\xe9', 'POSTING'),
            ('app.handlers.admin', 'latin state', 'P\\xe9NDING'),
            ('app.handlers.admin', 'a number', 7),
        ]:
            shelf[repr([module, sender])] = state
        shelf.close()
"""


def python2(python: str = "python2.7") -> None:
    """Write with Python 2.7's dumbdbm, in the protocol it used and in a later one."""
    names = [f"python2-{protocol}.{end}" for protocol in (0, 2) for end in ("dir", "dat", "bak")]
    path = fresh(*names).removesuffix("0.dir")
    subprocess.run([python, "-", path], input=textwrap.dedent(PYTHON_2), text=True, check=True)


PYTHON_313 = """
    import dbm.sqlite3, pickle, sys
    sys.path.insert(0, sys.argv[2])
    from contents import entries, key_of
    with dbm.sqlite3.open(sys.argv[1], "n") as database:
        for module, sender, state in entries(60):
            database[key_of(module, sender)] = "an older value"
            database[key_of(module, sender)] = pickle.dumps(state)
"""


def sqlite(python: str = "python3.13") -> None:
    """Write with Python 3.13's dbm.sqlite3."""
    command = [python, "-", fresh("sqlite"), str(HERE)]
    subprocess.run(command, input=textwrap.dedent(PYTHON_313), text=True, check=True)


if __name__ == "__main__":
    every = "gnu berkeley berkeley_other compat numsync narrow berkeley185 python2 sqlite".split()
    for made in sys.argv[1:] or every:
        name, _, argument = made.partition("=")
        globals()[name](*([argument] if argument else []))
