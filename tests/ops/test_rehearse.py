"""rehearse: the clone comes and goes, the pair stays as it is."""

from __future__ import annotations

import pytest

from tests.ops import pairs, test_adopt, test_tree, trees
from tests.ops.hosts import Hosts, Mode, Work
from tests.ops.pairs import SYNC_ALL, A, B, good
from tests.ops.trees import snapshots
from zrep.ops.init_way import Request
from zrep.ops.rehearse import rehearse


def rehearsing(*command: str, name: str = B) -> Work:
    return lambda session: rehearse(session, name, command)


@pytest.fixture
def pair(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> Hosts:
    # The model mounts nothing: the command runs where there is a folder.
    monkeypatch.setattr("zrep.host.programs.attended", _run)
    pairs.linked(hosts)
    return hosts


def _run(command: tuple[str, ...], extra: dict[str, str], folder: str) -> int:
    assert folder == extra["ZREP_DIR"]
    return 0 if command == ("right",) else 3


@pytest.mark.parametrize("asked", [False, True])
def test_setuid_programs_and_devices_of_another_host_work_only_where_asked_for(pair: Hosts, asked: bool) -> None:
    shown = pair.run("beta", lambda session: rehearse(session, B, (), suid_dev=asked), dry_run=True)
    [clone] = [line for line in shown.lines if " clone " in line]
    assert ("setuid=off" in clone, "devices=off" in clone) == (not asked, not asked)


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ((), 0, "it could be made available, on a clone of @zrep_000001"),
        (("right",), 0, "right succeeded"),
        (("wrong", "x"), 1, "tank/b: the check failed on a clone of @zrep_000001"),
    ],
)
def test_the_pair_is_untouched(pair: Hosts, command: tuple[str, ...], code: int, says: str) -> None:
    before = pair.world.view()
    ended = pair.run("beta", rehearsing(*command))
    assert ended.code == code
    assert says in (ended.text or "") or (ended.error is not None and says in ended.error.about(B).line())
    assert pair.world.view() == before
    good(pair.run("alpha", SYNC_ALL))


def test_a_replica_that_was_adopted_is_cloned_at_its_base_whoever_made_that(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything was written since, there is no snapshot of zrep, and a sync makes none."""
    monkeypatch.setattr("zrep.host.programs.attended", _run)
    test_adopt.adopted(hosts)
    hosts["beta"].sh(f"zfs snapshot {B}@weekly")
    assert "on a clone of @autosnap_1" in good(hosts.run("beta", rehearsing("right"))).text
    pairs.written(hosts, key="later")
    good(hosts.run("alpha", SYNC_ALL))
    assert "on a clone of @zrep_000001" in good(hosts.run("beta", rehearsing("right"))).text


def test_where_nothing_has_come_it_names_the_command_that_brings_it(pair: Hosts) -> None:
    for snapshot in pair["beta"].sh(f"zfs list -H -o name -t snapshot {B}").decode().split():
        pair["beta"].run(["zfs", "release", "zrep", snapshot])
        pair["beta"].sh(f"zfs destroy {snapshot}")
    ended = pair.run("beta", rehearsing())
    assert (ended.code, ended.text.endswith(f"next: on alpha: zrep sync {A}")) == (3, True), ended.text


def test_what_a_killed_run_left_goes_with_the_next(pair: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    before = pair.world.view()
    pair.wire.reset()
    pair.run("beta", rehearsing())
    at = next(number for number, command in enumerate(pair.wire.log) if command.argv[:2] == ("zfs", "mount"))
    pair.wire.reset(Mode.KILL_AFTER, at)
    monkeypatch.setattr("os.getpid", lambda: 2**22 + 1)  # of a process that is no more
    pair.run("beta", rehearsing())
    monkeypatch.setattr("os.getpid", lambda: 1)
    assert any("_rehearse_" in name for name in pair["beta"].names())
    pair.wire.reset()
    good(pair.run("beta", rehearsing()))
    assert pair.world.view() == before


def test_a_dry_run_prints_the_plan(pair: Hosts) -> None:
    before = pair.world.view()
    lines = good(pair.run("beta", rehearsing("right"), dry_run=True)).lines
    commands = [" ".join(line.split()[1:3]) for line in lines]
    assert commands == ["zfs clone", "zfs mount", "right", "zfs unmount", "zfs destroy"]
    assert pair.world.view() == before


@pytest.fixture
def tree(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> Hosts:
    monkeypatch.setattr("zrep.host.programs.attended", _run)
    trees.grown(hosts)
    return hosts


def test_a_tree_is_cloned_whole_each_member_in_its_place_and_goes_again(tree: Hosts) -> None:
    before = tree.world.view()
    lines = good(tree.run("beta", rehearsing("right"), dry_run=True)).lines
    clones = [line.split()[-1].partition("_rehearse_")[2][8:] for line in lines if " clone " in line]
    assert clones == ["", "/vol", "/x", "/x/deep"]
    assert tree.world.view() == before
    ended = good(tree.run("beta", rehearsing("right")))
    assert "and 3 below it" in ended.text
    assert tree.world.view() == before
    good(tree.run("alpha", SYNC_ALL))


def test_a_member_with_a_long_name_is_cloned_too(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clone of the root has a shorter name where those in it would be too long."""
    monkeypatch.setattr("zrep.host.programs.attended", _run)
    root = "tank/replica-of-many-things"
    hosts["alpha"].sh(f"zfs create {A}")
    hosts["alpha"].sh(f"zfs create {A}/{'l' * 215}")
    good(hosts.run("alpha", pairs.initialising(Request(A, "beta", root, recursive=True))))
    good(hosts.run("beta", rehearsing("right", name=root)))


def test_of_a_tree_the_newest_complete_set_is_cloned(tree: Hosts) -> None:
    """One member has got something newer since, alone."""
    test_tree.half_a_set(tree)
    whole = pairs.value(tree, "beta", B, "zrep:set")
    lines = good(tree.run("beta", rehearsing("right"), dry_run=True)).lines
    made = [word.partition("@")[2] for line in lines if " clone " in line for word in line.split() if "@" in word]
    assert max(made) == whole
    assert snapshots(tree, "beta", B)[-1] not in made


@pytest.mark.thorough
@pytest.mark.parametrize("mode", [Mode.KILL_AFTER, Mode.FAIL], ids=lambda mode: mode.name.lower())
def test_a_rehearsal_of_a_tree_cut_anywhere_leaves_nothing_behind_the_next(
    tree: Hosts, monkeypatch: pytest.MonkeyPatch, mode: Mode
) -> None:
    before, dumped = tree.world.view(), tree.world.dump()
    tree.wire.reset()
    good(tree.run("beta", rehearsing()))
    for at in range(0, len(tree.wire.log), 3):
        tree.load(dumped)
        tree.wire.reset(mode, at)
        monkeypatch.setattr("os.getpid", lambda: 2**22 + 1)  # of a process that is no more
        tree.run("beta", rehearsing())
        monkeypatch.setattr("os.getpid", lambda: 1)
        tree.wire.reset()
        good(tree.run("beta", rehearsing()))
        assert tree.world.view() == before, at
