"""allow: what a user other than root needs, to be looked at or set."""

from __future__ import annotations

import os
import pwd
from shlex import join, quote

from zrep.core.delegation import check_user, words
from zrep.core.errors import FailedError, RefusedError, UsageError
from zrep.core.names import check_dataset
from zrep.core.pair import End
from zrep.core.steps import Allow
from zrep.ops.read import find_role
from zrep.ops.session import Session
from zrep.zfs import commands


def allow(session: Session, user: str, name: str, *, receive: bool | None, apply: bool) -> list[str]:
    """The commands, a line each, that let a user replicate a dataset here; apply: run them too. receive: streams come
    here; None: as its role says."""
    check_user(user)
    role = find_role(session.local, session.tag, check_dataset(name))
    if role is None:
        raise RefusedError("no such filesystem here", filesystem=name, advice="see: zfs list")
    if receive is None and not role.paired:
        raise UsageError("is it to send or to receive?", filesystem=name, advice="give --send or --receive")
    receive = role.master is False if receive is None else receive
    step = Allow(End.SOURCE, name, words(user, receive=receive))
    folder = f"{session.settings.run_directory.rstrip('/')}/zrep"
    if apply:
        session.alone().do(step)
        _make_folder(user, folder)
    make = f"install -d -m 700 -o {quote(user)} {quote(folder)}-$(id -u {quote(user)})"
    return [join(commands.command(step)), make]


def _make_folder(user: str, folder: str) -> None:
    """The directory of a user's locks, which only root can make for him."""
    try:
        number = pwd.getpwnam(user).pw_uid
    except KeyError:
        raise RefusedError(f"there is no user {user} on this host", advice=f"useradd --system {user}") from None
    path = f"{folder}-{number}"
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        os.chown(path, number, -1, follow_symlinks=False)
    except OSError as error:
        raise FailedError(f"cannot make {path}", evidence=error.strerror or str(error)) from None
