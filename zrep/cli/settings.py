"""The environment zrep runs in: /etc/default/zrep, read as plain NAME=value lines and never executed."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from zrep.core.errors import RefusedError, UsageError
from zrep.core.names import check_tag
from zrep.core.quantities import seconds, whole_number
from zrep.core.settings import DEFAULT_SETTINGS, Settings
from zrep.host.trust import others_may_write

DEFAULTS = "/etc/default/zrep"
# fmt: off
SETTINGS = frozenset({
    "SSH", "ZREPTAG", "ZREP_AFTER", "ZREP_FENCE_CMD", "ZREP_FILTERS", "ZREP_HOOKS", "ZREP_HOST", "ZREP_INC_FLAG",
    "ZREP_INFILTER",
    "ZREP_JOBS", "ZREP_LIBRARY", "ZREP_OUTFILTER", "ZREP_PATH", "ZREP_R", "ZREP_RUNDIR", "ZREP_SAVE_COUNT",
    "ZREP_SEND_FLAGS", "ZREP_SKIP_EXPIRE", "ZREP_SRC_HOST", "ZREP_STALL",
    "ZREP_SYSLOG",
})
# fmt: on
# What the shell zrep was told by ZREP_NAME, and how this one is; "" for what it does by itself.
OF_SHELL = {
    "RESUME": "",
    "CHANGEDONLY": "",
    "CREATE_FLAGS": "zrep init -o NAME=VALUE",
    "INIT_REMOTE_PROPERTIES": "zrep init -o NAME=VALUE",
    "RENAME_UNSENT": "zrep changeconfig --unsent drop",
    "VERBOSE": "zrep -v",
}
# Of these, what gave a replica properties of its own: an init without would make another one than was asked for.
OF_SHELL_INIT = ("ZREP_CREATE_FLAGS", "ZREP_INIT_REMOTE_PROPERTIES")
_LINE = re.compile(r"(?:export\s+)?([A-Z][A-Z0-9_]*)=(.*)")
# As the shell zrep's own file had it: what the environment says comes first, as here it does anyway.
_UNLESS_SET = re.compile(r"\$\{([A-Z][A-Z0-9_]*):?-([^$`\\{}]*)\}")


class Defaults(Struct, frozen=True):
    """What else the file of settings says. unknown: what looks meant for zrep and is not known to it, a line for each:
    a person should hear of it, cron need not. filters: those it names, which root allows by that."""

    unknown: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()


def load_defaults(path: str = DEFAULTS) -> Defaults:
    """Settings of the file for names the environment does not have; UsageError for a line that is none, RefusedError
    where others than root may write it: it names programs."""
    if found := others_may_write(path):
        raise RefusedError(
            f"{path} could be from others than root",
            evidence=found,
            advice=f"look at what is in it; then, as root: chown root {path}; chmod go-w {path}, and its directory",
        )
    try:
        with open(path) as file:
            text = file.read()
    except FileNotFoundError:
        return Defaults()
    except OSError as error:
        raise UsageError(f"cannot read {path}", evidence=error.strerror or str(error)) from None
    unknown: list[str] = []
    filters: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(stripped)
        if not match:
            raise UsageError(f"{path} line {number} is not NAME=value", evidence=stripped[:60])
        name, value = match.groups()
        if (otherwise := _UNLESS_SET.fullmatch(_unquoted(value))) and otherwise[1] == name:
            value = otherwise[2]
        value = _unquoted(value)
        os.environ.setdefault(name, value)
        if name in ("ZREP_OUTFILTER", "ZREP_INFILTER"):
            filters.append(value)
        of_shell = name.partition("_")[2]
        if advice := OF_SHELL.get(of_shell):
            unknown.append(f"{path} line {number}: {name} is not read any more; instead: {advice}")
        elif re.match(r"ZREP.*", name) and name not in SETTINGS and of_shell not in OF_SHELL:
            unknown.append(f"{path} line {number}: {name} is no setting of zrep, see ENVIRONMENT in zrep(8)")
    return Defaults(tuple(unknown), tuple(filters))


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'" else text


def read_settings(environment: Mapping[str, str] | None = None, allowed: Sequence[str] = ()) -> Settings:
    """What the environment settles, once load_defaults has completed it. An empty variable is as none. allowed: the
    filters that the file itself names. UsageError for a value that makes no sense."""
    default = DEFAULT_SETTINGS
    environment = os.environ if environment is None else environment

    def text(name: str, otherwise: str = "") -> str:
        return environment.get(name) or otherwise

    return Settings(
        host=text("ZREP_HOST"),
        run_directory=text("ZREP_RUNDIR", default.run_directory),
        hooks=text("ZREP_HOOKS", default.hooks),
        library=text("ZREP_LIBRARY") != "no",
        syslog=text("ZREP_SYSLOG") != "no",
        after=_time("ZREP_AFTER", text("ZREP_AFTER")),
        stall=_seconds("ZREP_STALL", text("ZREP_STALL", str(default.stall))),
        user=text("USER"),
        ssh=text("SSH", default.ssh),
        program=text("ZREP_PATH", default.program),
        tag=check_tag(text("ZREPTAG", default.tag)),
        every_tag=not text("ZREPTAG"),
        expire=not text("ZREP_SKIP_EXPIRE"),
        jobs=text("ZREP_JOBS"),
        fence=text("ZREP_FENCE_CMD"),
        savecount=text("ZREP_SAVE_COUNT"),
        src_host=text("ZREP_SRC_HOST"),
        send_flags=environment.get("ZREP_SEND_FLAGS"),  # none at all is a choice too
        outfilter=text("ZREP_OUTFILTER"),
        infilter=text("ZREP_INFILTER"),
        filters=text("ZREP_FILTERS", default.filters),
        recursive=bool(text("ZREP_R")),
        all_snapshots=text("ZREP_INC_FLAG") == "-I",
        not_read=next((name for name in OF_SHELL_INIT if text(name)), ""),
        allowed=tuple(allowed),
    )


def number(name: str, text: str, least: int, most: int = 10**9) -> int | None:
    """A setting that is a whole number, None where nothing is said. UsageError for what is none in its range."""
    if not text:
        return None
    found = whole_number(text)
    if found is None or not least <= found <= most:
        raise UsageError(f"{name} is {text!r}", evidence=f"expected a whole number of at least {least}")
    return found


def _time(name: str, text: str) -> int:
    found = seconds(text or "0")
    if found is None:
        raise UsageError(f"{name} is {text!r}", evidence="expected a time: 90s, 15m, 2h, 1d")
    return found


def _seconds(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{name} is {text!r}", evidence="expected seconds") from None
