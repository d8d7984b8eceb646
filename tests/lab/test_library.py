"""What libzfs_core carries out leaves what the command itself would have left, on real OpenZFS."""

from __future__ import annotations

import json
import shlex

import pytest

from tests.lab.hosts import Host, Lab
from zrep.zfs import commands

CARRY_OUT = """
import json, sys
from zrep.host.library import Library
print(json.dumps(Library().carry_out(json.loads(sys.argv[1]), 30)))
"""
PICTURE = """
zfs list -H -t snapshot -o name,userrefs -s name -r tank/x
zfs list -H -t snapshot -o name -r tank/x | xargs -r zfs holds -H | cut -f 1,2 | sort
zfs get -H -t filesystem,snapshot -o name,property,value,source -r all tank/x | grep -F zrep: | sort
"""
NAMES = ("tank/x/a", "tank/x/b c", "tank/x/d")
SNAPSHOTS = tuple(f"{name}@zrep_000001" for name in NAMES)


@pytest.fixture(scope="module")
def alpha(lab: Lab) -> Host:
    """One host for all: each test makes its own filesystems anew."""
    lab.reset()
    return lab.alpha


def carry_out(host: Host, argv: tuple[str, ...], user: str = "root") -> str | None:
    """What the library says; None: it leaves the command to the program."""
    script = shlex.quote(CARRY_OUT)
    command = f"/opt/zrep/bin/python3 -c {script} {shlex.quote(json.dumps(argv))}"
    said: str | None = json.loads(host.run(command if user == "root" else f"su {user} -c {shlex.quote(command)}").out)
    return said


def fresh(host: Host) -> None:
    """Three filesystems with a held and a free snapshot each."""
    host.run(
        'zfs list -H -t snapshot -o name -r tank/x 2> /dev/null | while read -r s; do zfs release k "$s"; '
        'zfs release zrep "$s"; done 2> /dev/null; zfs destroy -r tank/x 2> /dev/null; zfs create tank/x',
    )
    names = shlex.join(NAMES)
    host.run(
        f'for name in {names}; do zfs create "$name" && zfs snapshot "$name@old" && zfs snapshot "$name@zrep_000001" '
        '&& zfs hold k "$name@zrep_000001" || exit 1; done'
    )


@pytest.mark.parametrize(
    "argv",
    [
        ("zfs", "snapshot", *(f"{name}@new" for name in NAMES)),
        ("zfs", "hold", "zrep", *SNAPSHOTS),
        ("zfs", "release", "k", *SNAPSHOTS),
        ("zfs", "destroy", "tank/x/b c@old"),
        ("zfs", "destroy", "tank/x/b c@old,gone"),
        ("zfs", "set", "zrep:sent=1700000000", *SNAPSHOTS),
        ("zfs", "set", 'zrep:inprogress={"a": "b=c", "d": ""}', "zrep:master=yes", "tank/x/b c"),
        ("zfs", "set", "zrep:paused=déjà vu", "tank/x/a"),
        ("zfs", "set", "zrep:inprogress=", *NAMES),
        ("zpool", "sync", "tank"),
    ],
)
def test_it_leaves_what_the_command_leaves(alpha: Host, argv: tuple[str, ...]) -> None:
    fresh(alpha)
    alpha.run(shlex.join(argv))
    expected = alpha.run(PICTURE).out
    fresh(alpha)
    assert carry_out(alpha, argv) == ""
    assert alpha.run(PICTURE).out == expected


def test_it_reads_the_holds_that_the_command_reads(alpha: Host) -> None:
    fresh(alpha)
    alpha.run(f"zfs hold zrep '{SNAPSHOTS[1]}'")
    said = carry_out(alpha, ("zfs", "holds", "-H", *SNAPSHOTS, "tank/x/a@old"))
    assert said is not None
    rows = sorted(line.split("\t")[:2] for line in said.splitlines())
    names = shlex.join((*SNAPSHOTS, "tank/x/a@old"))
    assert rows == sorted(line.split("\t")[:2] for line in alpha.run(f"zfs holds -H {names}").lines)


def test_it_tells_snapshots_apart_as_the_command_does(alpha: Host) -> None:
    """Their guids are large numbers without a sign."""
    fresh(alpha)
    alpha.run("for i in $(seq 20); do zfs snapshot tank/x/a@$i || exit 1; done")
    argv = commands.get_snapshots([*SNAPSHOTS, *(f"tank/x/a@{number}" for number in range(1, 21))])
    said = carry_out(alpha, argv)
    assert said is not None
    assert sorted(said.splitlines()) == sorted(alpha.run(shlex.join(argv)).lines)


@pytest.mark.parametrize("name", ["zrep:sent", "zrep:note"])
def test_it_reads_what_a_dataset_has_itself_as_the_command_does(alpha: Host, name: str) -> None:
    """Not what is inherited, received, or of a value that only looks like a number."""
    fresh(alpha)
    alpha.run("zfs set zrep:master=no zrep:gen=0123456789abcdef zrep:note='a b' tank/x/a; zfs create tank/x/a/child")
    alpha.run(f"zfs set {name}=007 tank/x/a; zfs snapshot tank/x/a@p; zfs send -p tank/x/a@p | zfs receive tank/x/got")
    datasets = (*NAMES, "tank/x/a/child", "tank/x/got")
    own = (*commands.get_standing("zrep", [])[:-1], f"zrep:gen,{name},zrep:master,zrep:none", *datasets)
    said = carry_out(alpha, own)
    assert said is not None
    assert sorted(said.splitlines()) == sorted(alpha.run(shlex.join(own)).lines)
    assert said.count(name) == 1
    assert "007" in alpha.run(f"zfs get -H -o value {name} tank/x/a").out


@pytest.mark.parametrize(
    "argv",
    [
        ("zfs", "snapshot", "tank/x/a@new", "tank/x/d@zrep_000001"),
        ("zfs", "hold", "k", *SNAPSHOTS),
        ("zfs", "hold", "zrep", "tank/x/a@gone"),
        ("zfs", "hold", "zrep", *SNAPSHOTS, "tank/x/a@gone"),
        ("zfs", "release", "zrep", *SNAPSHOTS),
        ("zfs", "destroy", "tank/x/a@zrep_000001"),
        ("zfs", "destroy", "tank/x/a@old,zrep_000001"),
        ("zfs", "holds", "-H", "tank/x/a@gone"),
        commands.get_snapshots(["tank/x/a@old", "tank/x/a@gone"]),
        commands.get_standing("zrep", ["tank/x/a", "tank/x/gone"]),
        ("zfs", "set", "zrep:a=1", "tank/x/gone"),
        ("zfs", "set", f"zrep:a={'1' * 9000}", "tank/x/a"),
        ("zpool", "sync", "nopool"),
    ],
)
def test_what_zfs_refuses_is_left_to_the_command(alpha: Host, argv: tuple[str, ...]) -> None:
    """Its words are what the error is made of."""
    fresh(alpha)
    assert carry_out(alpha, argv) is None
    assert alpha.run(shlex.join(argv), check=False).err


def test_many_are_one_transaction_group(alpha: Host) -> None:
    fresh(alpha)
    alpha.run("for i in $(seq 50); do zfs create tank/x/$i || exit 1; done", timeout=120)
    snapshots = tuple(f"tank/x/{number}@zrep_000001" for number in range(1, 51))
    alpha.run("zpool sync; echo 600 > /sys/module/zfs/parameters/zfs_txg_timeout")
    try:
        for argv in (
            ("zfs", "snapshot", *snapshots),
            ("zfs", "hold", "zrep", *snapshots),
            ("zfs", "set", "zrep:sent=1", *snapshots),
            ("zfs", "release", "zrep", *snapshots),
        ):
            before = int(alpha.run("tail -n 1 /proc/spl/kstat/zfs/tank/txgs").out.split()[0])
            assert carry_out(alpha, argv) == ""
            assert int(alpha.run("tail -n 1 /proc/spl/kstat/zfs/tank/txgs").out.split()[0]) - before <= 2, argv
    finally:
        alpha.run("echo 5 > /sys/module/zfs/parameters/zfs_txg_timeout")


def test_a_pool_is_settled_in_one_group_that_leaves_no_line_in_its_history(alpha: Host) -> None:
    """And what was written before is told by ``written`` after it."""
    fresh(alpha)
    groups = "tail -n 1 /proc/spl/kstat/zfs/tank/txgs | cut -d ' ' -f 1"
    written = "zfs get -Hp -o value written tank/x/a"
    alpha.run("echo 600 > /sys/module/zfs/parameters/zfs_txg_timeout; zpool sync")
    try:
        history = alpha.run("zpool history -il tank | wc -l").out
        before = int(alpha.run(groups).out)
        for number in range(5):
            untold = int(alpha.run(f"head -c 3000 /dev/urandom > /tank/x/a/{number}; {written}").out)
            assert carry_out(alpha, ("zpool", "sync", "tank")) == ""
            assert int(alpha.run(written).out) > untold, number
        assert int(alpha.run(groups).out) - before == 5
        assert alpha.run("zpool history -il tank | wc -l").out == history
    finally:
        alpha.run("echo 5 > /sys/module/zfs/parameters/zfs_txg_timeout")


def test_a_user_who_may_not_is_left_to_the_command(alpha: Host) -> None:
    fresh(alpha)
    before = alpha.run(PICTURE).out
    for argv in (
        ("zfs", "hold", "zrep", *SNAPSHOTS),
        ("zfs", "set", "zrep:a=1", "tank/x/a"),
        ("zpool", "sync", "tank"),
    ):
        carry_out(alpha, argv, user="operator")
    assert alpha.run(PICTURE).out == before
