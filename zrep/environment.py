"""The environment zrep runs in: /etc/default/zrep, read as plain NAME=value lines and never executed."""

from __future__ import annotations

import os
import re

from zrep.core.errors import UsageError

DEFAULTS = "/etc/default/zrep"
_LINE = re.compile(r"(?:export\s+)?([A-Z][A-Z0-9_]*)=(.*)")


def load_defaults(path: str = DEFAULTS) -> None:
    """Settings of the file for names the environment does not have; UsageError for a line that is none."""
    try:
        with open(path) as file:
            text = file.read()
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"cannot read {path}", evidence=error.strerror or str(error)) from None
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(stripped)
        if not match:
            raise UsageError(f"{path} line {number} is not NAME=value", evidence=stripped[:60])
        name, value = match.groups()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        os.environ.setdefault(name, value)
