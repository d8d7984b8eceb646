"""Every recipe of zrep-recovery(7), read from the page and typed on two hosts of the model: it ends the trouble."""

from __future__ import annotations

import re
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from tests.ops import pairs
from tests.ops.conftest import _in_order, hosts
from tests.ops.hosts import CLOCK, Hosts, Mode
from tests.ops.pairs import SYNC_ALL, A, B, good
from tests.ops.test_status import missing, modified, split_brain, unrelated_snapshots
from zrep.cli import main, run, settings
from zrep.core.settings import Settings
from zrep.ops.session import Options, Session
from zrep.ops.status import status

__all__ = ["_in_order", "hosts"]

PAGE = Path(__file__).parents[2] / "man/zrep-recovery.7"
# Sections that tell no recipe.
NONE = {"NAME", "DESCRIPTION", "SEE ALSO"}


class Recipe(Struct, frozen=True):
    """What is broken before, and the commands that refuse, with their exit status; the others succeed. names: those of
    the halves on alpha and beta in the end; kept: what the master has then, as (file, text)."""

    broken: Callable[[Hosts], object]
    refused: dict[str, int] = {}
    names: tuple[str, str] = (A, B)
    kept: tuple[str, bytes] = ("one", b"1" * 50)


def dead(hosts: Hosts) -> None:
    """alpha has written what beta never got, and is down; it is back when a command is typed there."""
    pairs.linked(hosts)
    pairs.written(hosts, key="tail")
    hosts.wire.cut = True


def cut(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hit(hosts, pairs.failing_over(A))


def hit(hosts: Hosts, work: Any) -> None:
    pairs.hit(hosts, "alpha", work, Mode.KILL_BEFORE, "zfs", "snapshot")
    hosts.wire.reset()


def emptied(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts["alpha"].sh(f"zfs release zrep {A}@zrep_000001")
    hosts["alpha"].sh(f"zfs destroy -r {A}")


def renamed(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts["alpha"].sh(f"zfs rename {A} tank/c")


def replicated_by_another(hosts: Hosts) -> None:
    pairs.source(hosts)
    hosts["beta"].run(["zfs", "receive", "-u", B], hosts["alpha"].sh(f"zfs send {A}@daily"))


RECIPES = {
    "THE MASTER IS DEAD": Recipe(dead, {"alpha# zrep sync tank/a": 3}),
    "BOTH ARE MASTERS": Recipe(split_brain),
    "A ROLE CHANGE WAS CUT": Recipe(cut),
    "THE REPLICA WAS CHANGED BY HAND": Recipe(modified),
    "THE BASE IS GONE": Recipe(unrelated_snapshots, names=(A, "tank/b_new")),
    "THE REPLICA'S DISKS WERE REPLACED": Recipe(missing),
    "THE MASTER'S DISKS WERE REPLACED": Recipe(emptied),
    "A FILESYSTEM WAS RENAMED": Recipe(renamed, names=("tank/c", B)),
    "ONE FILE BACK FROM THE REPLICA": Recipe(pairs.linked),
    "MOVING FROM THE SHELL ZREP": Recipe(pairs.shell_pair),
    "MOVING FROM SYNCOID, ZREPL OR ANOTHER": Recipe(replicated_by_another),
    "BOTH HOSTS ARE TO BE UPGRADED": Recipe(pairs.linked),
}


def sections() -> dict[str, list[str]]:
    """The command lines of each section of the page, with the hosts they are typed on."""
    found = dict(re.findall(r"^\.Sh ([^\n]*)\n(.*?)(?=^\.Sh |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL))
    return {name: re.findall(r"^(?:alpha|beta)# .*$", text, re.MULTILINE) for name, text in found.items()}


def typed(hosts: Hosts, line: str, patch: pytest.MonkeyPatch) -> int:
    """Type a line on its host; the exit status of zrep's whole program, its hosts those of the model."""
    host, _, command = line.partition("# ")
    hosts.world.pass_time(60)
    hosts.wire.cut = hosts.wire.cut and host == "beta"  # who types there has it back
    hosts.wire.driver = host

    def begin(given: Settings, _: object = None, **options: Any) -> Session:
        chosen = Options(tag=given.tag, expire=given.expire, **options)
        return Session(
            chosen,
            hosts.settings,
            local=hosts.local(host),
            connect=hosts.peer,
            clock=lambda: float(hosts.world.state.now or 0),
            sleep=CLOCK.sleep,
        )

    patch.setattr(run, "begin", begin)
    words = shlex.split(command)
    assert words[0] == "zrep"
    return main.run([*words[1:], *(["--yes"] if "-L" in words and words[1] == "takeover" else [])])


def test_every_section_is_a_recipe_and_every_recipe_is_there() -> None:
    assert set(sections()) - NONE == set(RECIPES)
    assert all(sections()[name] for name in RECIPES)


@pytest.mark.thorough
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_ends_the_trouble(hosts: Hosts, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = RECIPES[name]
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    load = settings.load_defaults
    monkeypatch.setattr(settings, "load_defaults", lambda: load("/nonexistent"))
    monkeypatch.setattr("zrep.host.programs.attended", lambda command, extra, folder: 0)
    recipe.broken(hosts)
    for line in sections()[name]:
        assert typed(hosts, line, monkeypatch) == recipe.refused.get(line, 0), line
    hosts.wire.cut = False
    for host, own in zip(("alpha", "beta"), recipe.names, strict=True):
        with hosts.session(host) as session:
            [row] = [row for row in status(session, []) if row.role != "split"]
            assert (row.name, row.state, row.role != "none") == (own, "ok", True)
    file, text = recipe.kept
    for host, own in zip(("alpha", "beta"), recipe.names, strict=True):
        good(hosts.run(host, SYNC_ALL))
        assert hosts[host].read(own)[file] == text
