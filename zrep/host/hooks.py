"""An administrator's own programs: hooks that are told of role changes, of snapshots, and of
trouble and its end (cli/news), and the command that fences a peer."""

from __future__ import annotations

import os
from collections.abc import Mapping

from zrep.core.requests import RunHooks
from zrep.host import programs
from zrep.host.machine import Machine, carry_out
from zrep.host.trust import others_may_write

HOOK_SECONDS = 60.0
FENCE_SECONDS = 120.0


@carry_out.register(RunHooks)
def run_hooks(request: RunHooks, machine: Machine) -> list[str]:
    """A hook that cannot be run is a hook that refused; so is one that others than root may write. What has happened is
    told to syslog too."""
    if not request.event.startswith("before-"):
        machine.log(_line(request))
    programs, trouble = find(machine.settings.hooks)
    if trouble:
        return [trouble]
    about = {"ZREP_EVENT": request.event, **request.about}
    return [text for path in programs if (text := said(path, *tell(path, request.event, about)))]


def find(folder: str) -> tuple[list[str], str]:
    """The programs of a directory, in the order of their names; and why they must not be run, or cannot even be looked
    for, "" for no reason."""
    try:
        paths = [f"{folder}/{name}" for name in sorted(os.listdir(folder))]
    except FileNotFoundError:
        return [], ""
    except OSError as error:
        return [], f"{folder}: {error.strerror or error}"
    programs = [path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)]
    if found := next(filter(None, map(others_may_write, (folder, *programs))), ""):
        return [], f"{folder} could be from others than root: {found}"
    return programs, ""


def _line(request: RunHooks) -> str:
    about = request.about
    if "ZREP_LINE" in about:
        return f"{request.event}: {about['ZREP_LINE']}"
    facts = " ".join(f"{name.removeprefix('ZREP_').lower()}={value}" for name, value in about.items())
    return f"{request.event}: {facts}"


def fence(command: str, about: Mapping[str, str]) -> tuple[int | None, str]:
    """Run a fence command, a line for sh; see programs.bounded for the answer."""
    return programs.bounded(("sh", "-c", command), about, FENCE_SECONDS)


def tell(path: str, event: str, about: Mapping[str, str]) -> tuple[int | None, str]:
    """Tell one program of an event; see programs.bounded for the answer."""
    return programs.bounded((path, event), about, HOOK_SECONDS)


def said(path: str, status: int | None, line: str) -> str:
    """What went wrong with a program, "" when it succeeded."""
    return "" if status == 0 else f"{path}: {programs.ending(status, line)}"
