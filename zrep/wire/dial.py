"""The ssh connection to a peer, as it is begun: where its socket is, and the process that makes it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile

from msgspec import Struct

from zrep.core.errors import RefusedError, ZrepError
from zrep.core.settings import Settings
from zrep.host.child import end, find
from zrep.host.child import start as start_child
from zrep.host.trust import others_may_write
from zrep.wire.line import helper, ssh_words

CONNECT_SECONDS = 10
# Of a Unix socket's name (sun_path in unix(7)): ssh appends its hash of the connection (40), and a suffix (17) while it
# makes the socket.
_LONGEST_DIRECTORY = 107 - len("/") - 40 - 17
# ssh reads that name as a line of its configuration: blanks, quotes, % and $ say something else there.
_PLAIN = re.compile(r"[A-Za-z0-9_./+,:@=-]+")


class Dialled(Struct, frozen=True):
    """A connection that is being made to a host. directory: where its socket is, of this run alone; child: ssh, with
    pipes, which starts the helper there."""

    host: str
    directory: str
    child: subprocess.Popen[bytes]

    def end(self) -> None:
        """Give it up: nobody has asked anything over it."""
        end(self.child)
        shutil.rmtree(self.directory, ignore_errors=True)


def start(host: str, settings: Settings) -> Dialled:
    """Begin a connection to a host, and wait for nothing. RefusedError when ssh is not to be trusted, or there is no
    room for it; UsageError when SSH cannot be read."""
    _check_program(ssh_words(settings.ssh)[0])
    # In a private directory of this run: nobody else's connection is used, and nobody else uses this one.
    directory = _private_directory()
    try:
        words = [*through(directory, settings), "--", host, helper(settings.program)]
        pipe = subprocess.PIPE
        return Dialled(host, directory, start_child(words, stdin=pipe, stdout=pipe, stderr=pipe))
    except ZrepError:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def through(directory: str, settings: Settings) -> list[str]:
    """The words that start ssh over the connection whose socket is in a directory; the first that is started makes
    it."""
    return [
        *ssh_words(settings.ssh),
        *("-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_SECONDS}"),
        *("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=4"),
        *("-o", "ControlMaster=auto", "-o", f"ControlPath={directory}/%C", "-o", "ControlPersist=no"),
    ]


def _private_directory() -> str:
    """Make the directory of this run's connection: where temporary files are, or where else there is room for it, under
    a name that a socket can have, and where others can put none of their own in its place: streams would go to whoever
    listens there. RefusedError where there is none."""
    said = ""
    for folder in (os.environ.get("TMPDIR") or "/tmp", "/tmp", "/dev/shm", "/run", "/var/tmp"):
        if not _PLAIN.fullmatch(folder) or len(folder) + len("/zrep-12345678") > _LONGEST_DIRECTORY:
            continue
        if found := others_may_write(folder):
            said = said or found
            continue
        try:
            return tempfile.mkdtemp(prefix="zrep-", dir=folder)
        except OSError as error:
            said = said or f"{folder}: {error.strerror or error}"
    raise RefusedError(
        f"there is no place for the ssh connection on {os.uname().nodename}",
        evidence=said,
        advice="make room in /tmp, or set TMPDIR to a directory with a short and plain name",
    )


def _check_program(name: str) -> None:
    """RefusedError for a program that others than root could have put there: it gets to see every stream, and starts
    as who runs zrep."""
    path = find(name)
    if path and (found := others_may_write(path)):
        raise RefusedError(
            f"{path} could be from others than root",
            evidence=found,
            advice="let SSH name a program that only root may write, in directories that only root may write",
        )
