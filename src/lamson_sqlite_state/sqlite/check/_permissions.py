"""A check's look at who may read and write the files of a store."""

import contextlib
import os
import pwd
import stat
from collections.abc import Iterator
from typing import Final

from ...command_line import command
from ._files import Files
from ._finding import Finding, shown

_READ_WRITE: Final = 0o6
_WRITE_SEARCH: Final = 0o3


def open_to_others(path: str, files: Files) -> Iterator[Finding]:
    """Find files that everybody may read, write or exchange.

    Args:
        path: of the database.
        files: of the store, as `files_of` returns them.
    """
    exposed = [
        file
        for file, found in files.items()
        if found.st_mode & _READ_WRITE and not stat.S_ISLNK(found.st_mode)
    ]
    if exposed:
        names = ", ".join(f"{shown(os.path.basename(f))} ({_mode(files[f])})" for f in exposed)
        yield Finding(
            "permissions",
            f"every user may read or write {names}, and mail addresses are personal data",
            command("chmod", "o-rwx", *exposed),
            exposed[0],
        )
    directory = os.path.dirname(path)
    found = os.stat(directory)
    if found.st_mode & stat.S_IWOTH and found.st_mode & stat.S_ISVTX:
        own = os.path.join(directory, f"{os.path.basename(path)}.d")
        yield Finding(
            "permissions",
            f"every user may create files in the directory ({_mode(found)}): who makes one of the "
            "store's before a worker does owns it, and can keep the workers out, or read along; "
            f"the database is {_user_name(files[path].st_uid)}'s",
            "end the workers, and give the store a directory of its own, here and in their "
            f"configuration: {command('mkdir', '-m', '700', own)}",
            directory,
        )
    elif found.st_mode & stat.S_IWOTH:
        yield Finding(
            "permissions",
            f"every user may delete and exchange the files in the directory ({_mode(found)})",
            command("chmod", "o-w", directory),
            directory,
        )


def of_another(path: str, files: Files) -> Iterator[Finding]:
    """Find a database that belongs neither to the owner of its directory nor to who asks.

    (Root's directories hold the stores of any user, as do those that a group shares.)

    Args:
        path: of the database.
        files: of the store, as `files_of` returns them.
    """
    found, directory = files[path], os.stat(os.path.dirname(path))
    if directory.st_uid:
        expected, what = directory.st_uid, "its directory is"
    else:
        expected, what = os.geteuid(), "this check is"
    if (
        not expected
        or found.st_uid == expected
        or (what != "its directory is" and not found.st_uid)
    ):
        return
    is_for_a_group = directory.st_mode & stat.S_IWGRP and found.st_gid == directory.st_gid
    if is_for_a_group and found.st_mode & 0o060 == 0o060:
        return
    owner, name = _user_name(found.st_uid), _user_name(expected)
    if found.st_uid:
        harm = f"{owner} can read and change every state, and shut the workers out"
    else:
        harm = f"workers of {name}'s cannot use it"
    yield Finding(
        "owner",
        f"the database is {owner}'s, but {what} {name}'s: {harm}",
        f"if the workers are {name}'s: "
        f"{command('chown', f'{expected}:{directory.st_gid}', *files)}",
        path,
    )


def shut_to_the_owner(path: str, files: Files) -> Iterator[Finding]:
    """Find files that the owner of the database cannot use, as another user has made them.

    Args:
        path: of the database.
        files: of the store, as `files_of` returns them.
    """
    owner, name = files[path].st_uid, _user_name(files[path].st_uid)
    for file, found in files.items():
        if _may_owner(files[path], _READ_WRITE, found) or not stat.S_ISREG(found.st_mode):
            continue
        yield Finding(
            "owner",
            f"{name}, whose the database is, cannot use {shown(os.path.basename(file))} of "
            f"{_user_name(found.st_uid)} ({_mode(found)})",
            f"{command('chown', f'{owner}:{files[path].st_gid}', file)} && "
            f"{command('chmod', 'u+rw', file)}",
            file,
        )
    directory = os.path.dirname(path)
    found = os.stat(directory)
    if not _may_owner(files[path], _WRITE_SEARCH, found):
        yield Finding(
            "permissions",
            f"{name}, whose the database is, cannot create files in its directory, which "
            f"is {_user_name(found.st_uid)}'s ({_mode(found)})",
            f"{command('chown', str(owner), directory)} && {command('chmod', 'u+rwx', directory)}",
            directory,
        )


def _may_owner(database: os.stat_result, mode: int, found: os.stat_result) -> bool:
    """Whether a database's owner may read (4), write (2) and search (1) a file, by its mode."""
    owner, groups = database.st_uid, [database.st_gid]
    if not owner:
        return True
    with contextlib.suppress(KeyError):  # of another container, perhaps
        user = pwd.getpwuid(owner)
        groups = os.getgrouplist(user.pw_name, user.pw_gid)
    shift = 6 if found.st_uid == owner else 3 if found.st_gid in groups else 0
    return found.st_mode >> shift & mode == mode


def _mode(found: os.stat_result) -> str:
    return f"mode {stat.S_IMODE(found.st_mode):o}"


def _user_name(number: int) -> str:
    try:
        return shown(pwd.getpwuid(number).pw_name)
    except KeyError:
        return f"user {number}"
