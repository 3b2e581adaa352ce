"""Looks at which users may read and write the files of a store."""

import contextlib
import os
import pwd
import stat
from collections.abc import Iterator
from typing import Final

from ...command_line import command
from ._look import Finding, Target, shown, shown_name

_READ_WRITE: Final = 0o6
_WRITE_SEARCH: Final = 0o3


def open_to_others(target: Target) -> Iterator[Finding]:
    """Find files that every user may read or write."""
    exposed = {
        file: found
        for file, found in target.files().items()
        if found.st_mode & _READ_WRITE and not stat.S_ISLNK(found.st_mode)
    }
    if exposed:
        names = ", ".join(f"{shown_name(file)} ({_mode(exposed[file])})" for file in exposed)
        yield Finding(
            "permissions",
            f"every user may read or write {names}, and mail addresses are personal data",
            command("chmod", "o-rwx", *exposed),
            next(iter(exposed)),
        )


def open_directory(target: Target) -> Iterator[Finding]:
    """Find that every user may create or exchange files in the directory."""
    directory = target.directory
    found = os.stat(directory)
    if not found.st_mode & stat.S_IWOTH:
        return
    if found.st_mode & stat.S_ISVTX:
        own = os.path.join(directory, f"{os.path.basename(target.path)}.d")
        owner = _user_name(os.stat(target.path).st_uid)
        yield Finding(
            "permissions",
            f"every user may create files in the directory ({_mode(found)}): whoever makes a "
            "file of the store's before a worker does owns it, and can keep the workers out, or "
            f"read along; the database is {owner}'s",
            "end the workers, and give the store a directory of its own, here and in their "
            f"configuration: {command('mkdir', '-m', '700', own)}",
            directory,
        )
    else:
        yield Finding(
            "permissions",
            f"every user may delete and exchange the files in the directory ({_mode(found)})",
            command("chmod", "o-w", directory),
            directory,
        )


def of_another(target: Target) -> Iterator[Finding]:
    """Find that the database belongs to another user than its directory.

    A directory of root's may hold the store of any user. There, the database is expected to belong
    to root or to the user who makes the check. A directory that a group shares may hold the store
    of any member.
    """
    files, directory = target.files(), os.stat(target.directory)
    found = files[target.path]
    if directory.st_uid:
        expected, whose = directory.st_uid, "its directory is"
    else:
        expected, whose = os.geteuid(), "this check is"
    if not expected or found.st_uid in (expected, directory.st_uid):
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
        f"the database is {owner}'s, but {whose} {name}'s: {harm}",
        f"if the workers are {name}'s: "
        f"{command('chown', f'{expected}:{directory.st_gid}', *files)}",
        target.path,
    )


def shut_to_the_owner(target: Target) -> Iterator[Finding]:
    """Find files of other users, and a directory, that the owner of the database cannot use."""
    files = target.files()
    database = files[target.path]
    name = _user_name(database.st_uid)
    for file, found in files.items():
        if _may_owner(database, _READ_WRITE, found) or not stat.S_ISREG(found.st_mode):
            continue
        yield Finding(
            "owner",
            f"{name}, whose the database is, cannot use {shown_name(file)} of "
            f"{_user_name(found.st_uid)} ({_mode(found)})",
            f"{command('chown', f'{database.st_uid}:{database.st_gid}', file)} && "
            f"{command('chmod', 'u+rw', file)}",
            file,
        )
    directory = target.directory
    found = os.stat(directory)
    if not _may_owner(database, _WRITE_SEARCH, found):
        yield Finding(
            "permissions",
            f"{name}, whose the database is, cannot create files in its directory, which "
            f"is {_user_name(found.st_uid)}'s ({_mode(found)})",
            f"{command('chown', str(database.st_uid), directory)} && "
            f"{command('chmod', 'u+rwx', directory)}",
            directory,
        )


def _may_owner(database: os.stat_result, mode: int, found: os.stat_result) -> bool:
    """Whether a database's owner may read (4), write (2) and search (1) a file, by its mode."""
    owner, groups = database.st_uid, [database.st_gid]
    if not owner:
        return True
    with contextlib.suppress(KeyError):  # the user may be one of another container
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
