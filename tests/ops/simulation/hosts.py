"""Hosts on which time and chance play no part, and whose administrators' programs are told of role changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

from tests.model import World
from tests.ops.hosts import Command, Hosts, ModelHost, Ways, Wire
from tests.ops.test_crash import applies
from zrep.core.requests import Answer, Request, RunHooks
from zrep.host.local import Host as ZrepHost
from zrep.host.local import LocalHost

Done = TypeVar("Done")


@dataclass
class Line(Wire):
    """A fault falls on the first command from its number on at which it means anything."""

    before_power: Callable[[str], None] = lambda host: None

    def _inject(self, command: Command, ways: Ways[Done]) -> Done:
        if self.mode is not None and applies(self.mode, command):
            return super()._inject(command, ways)
        self.at += 1
        return ways.do()

    def _power(self, name: str) -> None:
        self.before_power(name)
        super()._power(name)


@dataclass(frozen=True, slots=True)
class Told:
    """A hook's event, on which host and of which dataset."""

    host: str
    event: str
    dataset: str


class SimulatedHost(ModelHost):
    """fenced: the fence command of this host, and what it exits with; tell: its hooks, and what they complain about."""

    fenced: Callable[[], int]
    tell: Callable[[Told], list[str]]

    def fence(self, command: str, about: dict[str, str]) -> tuple[int | None, str]:
        return self.fenced(), "said the fence command"

    def ask(self, request: Request[Answer]) -> Answer:
        if isinstance(request, RunHooks):
            return cast(Answer, self.tell(Told(self.name, request.event, request.about["ZREP_FS"])))
        return super().ask(request)


class SimulatedHosts(Hosts):
    """Hosts whose runs take no time. told: what hooks heard; refusing: whether they say no to what is to come;
    answering: the host that answers in the place of another one, by the name that is dialled."""

    def __init__(self, directory: Path, names: tuple[str, ...], fenced: Callable[[str], int]) -> None:
        super().__init__(directory, World(hosts=names))
        self.line = Line(self.world)
        self.wire = self.line
        self.told: list[Told] = []
        self.refusing = False
        self.answering: dict[str, str] = {}
        self._fenced = fenced

    def local(self, name: str) -> LocalHost:
        host = SimulatedHost(self.wire, name, self.directory / name)
        host.fenced, host.tell = partial(self._fenced, name), self._tell
        return host

    def peer(self, name: str) -> ZrepHost:
        return super().peer(self.answering.get(name, name))

    def _tell(self, told: Told) -> list[str]:
        self.told.append(told)
        return ["not now"] if self.refusing and told.event.startswith("before-") else []
