"""The whole program as a user starts it, over pipes, locks and a helper on the other side; only ZFS is the model's."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.model import World
from tests.process.program import Program

pytestmark = pytest.mark.thorough

Zrep = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "world")


@pytest.fixture
def zrep(world: World, tmp_path: Path) -> Zrep:
    """Run zrep on a host; the exit code must be the expected one, and an error is one line, as is the end of one."""
    program = Program(world, tmp_path)

    def run(host: str, *arguments: str, code: int = 0, recovers: bool = False) -> subprocess.CompletedProcess[str]:
        done = program.run(host, *arguments)
        assert done.returncode == code, f"{arguments}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        lines = 1 if (code or recovers) and "--json" not in arguments else 0
        assert len(done.stderr.splitlines()) == lines, done.stderr
        return done

    return run


def test_the_main_job_through_real_processes(world: World, zrep: Zrep) -> None:
    alpha, beta = world.host("alpha"), world.host("beta")
    alpha.sh("zfs create tank/data")
    alpha.write("tank/data", "first", b"1")
    zrep("alpha", "init", "tank/data", "beta", "tank/copy")
    assert beta.read("tank/copy@zrep_000001") == {"first": b"1"}

    alpha.write("tank/data", "second", b"2")
    assert zrep("alpha", "sync", "all").stdout == ""
    assert zrep("alpha", "list", "-H").stdout.split("\t")[:4] == ["tank/data", "master", "beta:tank/copy", "ok"]

    zrep("alpha", "failover", "tank/data")
    with pytest.raises(OSError, match=r"[Rr]ead-only"):
        alpha.write("tank/data", "late", b"x")
    beta.write("tank/copy", "third", b"3")
    zrep("beta", "sync", "all")
    zrep("alpha", "takeover", "tank/data")
    assert alpha.read("tank/data") == {"first": b"1", "second": b"2", "third": b"3"}

    alpha.write("tank/data", "lost", b"4")
    zrep("beta", "takeover", "-L", "tank/copy", code=3)
    zrep("beta", "takeover", "-L", "--yes", "-f", "tank/copy")
    zrep("alpha", "sync", "all", code=3)
    zrep("alpha", "rejoin", "tank/data")
    zrep("beta", "sync", "all")
    assert zrep("beta", "status", "-H").stdout.split("\t")[3] == "ok"
    [split] = [name for name in alpha.sh("zfs list -H -o name").decode().split() if "_split_" in name]
    assert "lost" in alpha.read(f"{split}@zrep_split_3")


def test_a_peer_that_is_cut_off_costs_one_line_and_no_snapshot(world: World, zrep: Zrep) -> None:
    alpha = world.host("alpha")
    for name in ("tank/a", "tank/b"):
        alpha.sh(f"zfs create {name}")
        zrep("alpha", "init", name, "beta", f"{name}copy")
        alpha.write(name, "more", b"x")
    before = alpha.sh("zfs list -H -t snapshot -o name")
    world.cut("alpha", "beta")
    done = zrep("alpha", "sync", "all", code=5)
    assert "2 filesystems wait" in done.stderr
    assert alpha.sh("zfs list -H -t snapshot -o name") == before
    world.heal()
    done = zrep("alpha", "sync", "all", recovers=True)
    assert "cannot reach beta: over after" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("sync", "tank/nothing"), 3, "no such filesystem"),
        (("sync", "bad@name"), 2, "never rolled back to an older snapshot"),
        (("status", "bad@name"), 2, "is a snapshot"),
        (("sync",), 2, "FS"),
        (("nonsense",), 2, "nonsense"),
        (("-t", "UPPER", "sync", "all"), 2, "cannot be a tag"),
        (("-t", "", "sync", "all"), 2, "cannot be a tag"),
        (("init", "tank/data", "nosuch", "tank/copy"), 5, "cannot reach nosuch"),
        (("init", "tank/data", "beta", "nopool/copy"), 3, "no pool nopool"),
        (("init", "tank/data", "localhost", "tank/data"), 2, "cannot be the same"),
        (("init", "tank/data", "beta", "tank/copy", "--strip", "slow"), 2, "is no parent of it"),
    ],
)
def test_wrong_input_is_one_line_and_changes_nothing(
    world: World, zrep: Zrep, arguments: tuple[str, ...], code: int, says: str
) -> None:
    world.host("alpha").sh("zfs create tank/data")
    before = world.view()
    assert says in zrep("alpha", *arguments, code=code).stderr
    assert world.view() == before


def test_json_tells_results_errors_and_commands_with_their_codes(world: World, zrep: Zrep) -> None:
    world.host("alpha").sh("zfs create tank/data")
    zrep("alpha", "init", "tank/data", "beta", "tank/data")

    def told(*arguments: str, code: int = 0) -> dict[str, Any]:
        done = zrep("alpha", *arguments, code=code)
        assert done.stderr == ""
        document: dict[str, Any] = json.loads(done.stdout)
        assert document["exit_code"] == code
        return document

    shown = told("failover", "-n", "--json", "tank/data")["commands"]
    assert {"host": "beta", "argv": ["zfs", "mount", "tank/data"]} in shown
    [result] = told("sync", "--json", "all")["results"]
    assert (result["filesystem"], result["code"], result["error"]) == ("tank/data", 0, None)
    [row] = told("status", "--json")["pairs"]
    assert (row["name"], row["state"], row["lag"]) == ("tank/data", "ok", 0)
    error = told("sync", "--json", "tank/none", code=3)["results"][0]["error"]
    assert (error["kind"], error["filesystem"], error["advice"]) == ("refused", "tank/none", "see: zrep list")
    assert told("sync", "--json", "bad@name", code=2)["error"]["kind"] == "usage"
    assert told("list", "--json", "--nope", code=2)["error"]["kind"] == "usage"
    world.cut("alpha", "beta")
    assert told("sync", "--json", "all", code=5)["results"][0]["error"]["kind"] == "unreachable"


def test_several_filesystems_go_side_by_side_and_are_free_as_soon_as_they_are_done(world: World, zrep: Zrep) -> None:
    alpha, beta = world.host("alpha"), world.host("beta")
    names = [f"tank/{name}" for name in ("a", "b", "c")]
    for name in names:
        alpha.sh(f"zfs create {name}")
        zrep("alpha", "init", name, "beta", name)
        alpha.write(name, "second", b"2")
    zrep("alpha", "sync", "-j", "3", "all")
    for name in names:
        assert beta.read(f"{name}@zrep_000002") == {"second": b"2"}
    assert [row.split("\t")[3] for row in zrep("alpha", "status", "-H").stdout.splitlines()] == ["ok"] * 3
