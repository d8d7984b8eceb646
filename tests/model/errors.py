"""How a command fails: the lines OpenZFS prints and the status it exits with."""

from __future__ import annotations

USAGE = 2


class RefusalError(Exception):
    def __init__(self, *lines: str, rc: int = 1) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
        self.rc = rc


def usage(*lines: str) -> RefusalError:
    return RefusalError(*lines, "usage:", rc=USAGE)


def missing(name: str) -> RefusalError:
    return RefusalError(f"cannot open '{name}': dataset does not exist")
