"""getopt(3) as the zfs command uses it: options anywhere, the long ones only for send."""

from __future__ import annotations

import getopt
from dataclasses import dataclass

from .errors import RefusalError, usage


@dataclass(slots=True)
class Options:
    pairs: list[tuple[str, str]]
    rest: list[str]

    def has(self, letter: str) -> bool:
        return any(key == "-" + letter for key, _ in self.pairs)

    def all(self, letter: str) -> list[str]:
        return [value for key, value in self.pairs if key == "-" + letter]

    def last(self, letter: str) -> str | None:
        values = self.all(letter)
        return values[-1] if values else None


def parse(args: list[str], spec: str) -> Options:
    try:
        pairs, rest = getopt.gnu_getopt(args, spec)
    except getopt.GetoptError as error:
        if "requires argument" in error.msg:
            raise usage(f"missing argument for '{error.opt}' option") from None
        raise usage(f"invalid option '{error.opt[:1]}'") from None
    return Options(pairs, rest)


def assignments(values: list[str]) -> dict[str, str]:
    """The arguments of -o, each given once."""
    result: dict[str, str] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals:
            raise RefusalError("missing '=' for property=value argument")
        if name in result:
            raise RefusalError(f"property '{name}' specified multiple times")
        result[name] = text
    return result
