"""What libzfs_core carries out leaves what the command itself would have left, on real OpenZFS."""

from __future__ import annotations

import shlex
from typing import Any

import msgspec
import pytest

from tests.lab.hosts import Host, Lab
from zrep.core.dataset import Snapshot
from zrep.core.pair import End
from zrep.core.requests import CarryOut
from zrep.core.steps import (
    Bookmark,
    Change,
    CloseTransactionGroup,
    DestroyBookmark,
    DestroySnapshots,
    Hold,
    Release,
    SetProperties,
    Step,
    TakeSnapshot,
)
from zrep.zfs import commands, parse

# Steps are carried out; anything else is a call of the library, by name, with its arguments.
CALL = """
import sys
from msgspec import json
from zrep.core.requests import CarryOut
from zrep.host.library import Library
asked = json.decode(sys.argv[1])
if isinstance(asked, dict):
    steps = json.decode(sys.argv[1], type=CarryOut).steps
    answer = Library().carry_out(*steps, 30) if len(steps) == 1 else Library().carry_out_together(steps, 30)
else:
    name, *arguments = asked
    answer = getattr(Library(), name)(*arguments, 30)
print(json.encode(answer).decode())
"""
PICTURE = """
zfs list -H -t bookmark -o name -r tank/x
zfs list -H -t snapshot -o name,userrefs -s name -r tank/x
zfs list -H -t snapshot -o name -r tank/x | xargs -r zfs holds -H | cut -f 1,2 | sort
zfs get -H -t filesystem,snapshot -o name,property,value,source -r all tank/x | grep -F zrep: | sort
"""
END = End.SOURCE
NAMES = ("tank/x/a", "tank/x/b c", "tank/x/d")
SNAPSHOTS = tuple(f"{name}@zrep_000001" for name in NAMES)


@pytest.fixture(scope="module")
def alpha(lab: Lab) -> Host:
    """One host for all: each test makes its own filesystems anew."""
    lab.reset()
    return lab.alpha


def call(host: Host, asked: bytes, user: str = "root") -> Any:
    """What the library answers."""
    command = f"/opt/zrep/bin/python3 -c {shlex.quote(CALL)} {shlex.quote(asked.decode())}"
    said = host.run(command if user == "root" else f"su {user} -c {shlex.quote(command)}").out
    return msgspec.json.decode(said)


def carry_out(host: Host, *steps: Change, user: str = "root") -> bool:
    """Whether the library carried a step out, or several at once; if not, it leaves them to the program."""
    done: bool = call(host, msgspec.json.encode(CarryOut(steps)), user)
    return done


def read(host: Host, name: str, *arguments: object) -> Any:
    """What the library reads; None: it leaves it to the program."""
    return call(host, msgspec.json.encode((name, *arguments)))


def command_of(step: Step) -> str:
    return shlex.join(commands.command(step))


def fresh(host: Host) -> None:
    """Three filesystems with a held and a free snapshot each."""
    host.run(
        'zfs list -H -t snapshot -o name -r tank/x 2> /dev/null | while read -r s; do zfs release k "$s"; '
        'zfs release zrep "$s"; done 2> /dev/null; zfs destroy -r tank/x 2> /dev/null; zfs create tank/x',
    )
    names = shlex.join(NAMES)
    host.run(
        f'for name in {names}; do zfs create "$name" && zfs snapshot "$name@old" && zfs snapshot "$name@zrep_000001" '
        '&& zfs hold k "$name@zrep_000001" && zfs bookmark "$name@old" "$name#zrep:old" || exit 1; done'
    )


@pytest.mark.parametrize(
    "step",
    [
        TakeSnapshot(END, "zrep", tuple(f"{name}@new" for name in NAMES)),
        Hold(END, "zrep", SNAPSHOTS),
        Release(END, "k", SNAPSHOTS),
        DestroySnapshots(END, "tank/x/b c", ("old",)),
        DestroySnapshots(END, "tank/x/b c", ("old", "gone")),
        Bookmark(END, "tank/x/b c@old", "tank/x/b c#zrep:new"),
        DestroyBookmark(END, "tank/x/b c#zrep:old"),
        SetProperties(END, SNAPSHOTS, (("zrep:sent", "1700000000"),)),
        SetProperties(END, ("tank/x/b c",), (("zrep:inprogress", '{"a": "b=c", "d": ""}'), ("zrep:master", "yes"))),
        SetProperties(END, ("tank/x/a",), (("zrep:paused", "déjà vu"),)),
        SetProperties(END, NAMES, (("zrep:inprogress", ""),)),
        CloseTransactionGroup(END, "tank"),
    ],
    ids=str,
)
def test_it_leaves_what_the_command_leaves(alpha: Host, step: Change) -> None:
    fresh(alpha)
    alpha.run(command_of(step))
    expected = alpha.run(PICTURE).out
    fresh(alpha)
    assert carry_out(alpha, step)
    assert alpha.run(PICTURE).out == expected


def test_it_reads_the_holds_that_the_command_reads(alpha: Host) -> None:
    fresh(alpha)
    alpha.run(f"zfs hold zrep '{SNAPSHOTS[1]}'")
    names = [*SNAPSHOTS, "tank/x/a@old"]
    found = {name: sorted(tags) for name, tags in read(alpha, "read_holds", names).items()}
    counts = {name: len(tags) for name, tags in found.items()}
    printed = parse.parse_holds(alpha.run(shlex.join(commands.list_holds(names))).out, counts)
    assert found == {name: sorted(printed.get(name, ())) for name in names}


def test_it_tells_snapshots_apart_as_the_command_does(alpha: Host) -> None:
    """Their guids are large numbers without a sign."""
    fresh(alpha)
    alpha.run("for i in $(seq 20); do zfs snapshot tank/x/a@$i || exit 1; done")
    names = [*SNAPSHOTS, *(f"tank/x/a@{number}" for number in range(1, 21))]
    found = msgspec.convert(read(alpha, "read_snapshots", names), dict[str, Snapshot])
    assert found == parse.parse_new_snapshots(alpha.run(shlex.join(commands.get_snapshots(names))).out)


@pytest.mark.parametrize("name", ["zrep:sent", "zrep:note"])
def test_it_reads_what_a_dataset_has_itself_as_the_command_does(alpha: Host, name: str) -> None:
    """Not what is inherited, received, or of a value that only looks like a number."""
    fresh(alpha)
    alpha.run("zfs set zrep:master=no zrep:gen=0123456789abcdef zrep:note='a b' tank/x/a; zfs create tank/x/a/child")
    alpha.run(f"zfs set {name}=007 tank/x/a; zfs snapshot tank/x/a@p; zfs send -p tank/x/a@p | zfs receive tank/x/got")
    datasets = [*NAMES, "tank/x/a/child", "tank/x/got"]
    names = ["zrep:gen", name, "zrep:master", "zrep:none"]
    printed = alpha.run(shlex.join(commands.get_properties(names, datasets))).out
    own = parse.parse_properties(printed, names, datasets)
    found = read(alpha, "read_own", names, datasets)
    local = {dataset: {name: v.value for name, v in values.items() if v.local} for dataset, values in own.items()}
    assert found == {dataset: values for dataset, values in local.items() if values}
    assert found["tank/x/a"][name] == "007"
    assert [own for own in found.values() if name in own] == [found["tank/x/a"]]


@pytest.mark.parametrize(
    "step",
    [
        TakeSnapshot(END, "zrep", ("tank/x/a@new", "tank/x/d@zrep_000001")),
        Hold(END, "k", SNAPSHOTS),
        Hold(END, "zrep", ("tank/x/a@gone",)),
        Hold(END, "zrep", (*SNAPSHOTS, "tank/x/a@gone")),
        Release(END, "zrep", SNAPSHOTS),
        DestroySnapshots(END, "tank/x/a", ("zrep_000001",)),
        DestroySnapshots(END, "tank/x/a", ("old", "zrep_000001")),
        Bookmark(END, "tank/x/a@old", "tank/x/a#zrep:old"),
        Bookmark(END, "tank/x/a@gone", "tank/x/a#zrep:gone"),
        SetProperties(END, ("tank/x/gone",), (("zrep:a", "1"),)),
        SetProperties(END, ("tank/x/a",), (("zrep:a", "1" * 9000),)),
        CloseTransactionGroup(END, "nopool"),
    ],
    ids=lambda step: str(step)[:80],
)
def test_what_zfs_refuses_is_left_to_the_command(alpha: Host, step: Change) -> None:
    """Its words are what the error is made of."""
    fresh(alpha)
    assert not carry_out(alpha, step)
    assert alpha.run(command_of(step), check=False).err


@pytest.mark.parametrize(
    ("asked", "argv"),
    [
        (("read_holds", ["tank/x/a@gone"]), commands.list_holds(["tank/x/a@gone"])),
        (
            ("read_snapshots", ["tank/x/a@old", "tank/x/a@gone"]),
            commands.get_snapshots(["tank/x/a@old", "tank/x/a@gone"]),
        ),
        (
            ("read_own", commands.standing_properties("zrep"), ["tank/x/a", "tank/x/gone"]),
            commands.get_properties(commands.standing_properties("zrep"), ["tank/x/a", "tank/x/gone"]),
        ),
    ],
    ids=str,
)
def test_what_zfs_cannot_read_is_left_to_the_command(
    alpha: Host, asked: tuple[str, object], argv: tuple[str, ...]
) -> None:
    fresh(alpha)
    assert read(alpha, *asked) is None
    assert alpha.run(shlex.join(argv), check=False).err


def test_many_are_one_transaction_group(alpha: Host) -> None:
    fresh(alpha)
    alpha.run("for i in $(seq 50); do zfs create tank/x/$i || exit 1; done", timeout=120)
    snapshots = tuple(f"tank/x/{number}@zrep_000001" for number in range(1, 51))
    alpha.run("zpool sync; echo 600 > /sys/module/zfs/parameters/zfs_txg_timeout")
    try:
        for steps in (
            (TakeSnapshot(END, "zrep", snapshots),),
            (Hold(END, "zrep", snapshots),),
            (SetProperties(END, snapshots, (("zrep:sent", "1"),)),),
            (Release(END, "zrep", snapshots),),
            tuple(DestroySnapshots(END, f"tank/x/{number}", ("zrep_000001",)) for number in range(1, 51)),
        ):
            before = int(alpha.run("tail -n 1 /proc/spl/kstat/zfs/tank/txgs").out.split()[0])
            assert carry_out(alpha, *steps)
            assert int(alpha.run("tail -n 1 /proc/spl/kstat/zfs/tank/txgs").out.split()[0]) - before <= 2, steps[0]
        assert "@" not in alpha.run("zfs list -H -o name -t snapshot -r tank/x/1 tank/x/50").out
    finally:
        alpha.run("echo 5 > /sys/module/zfs/parameters/zfs_txg_timeout")


def test_of_what_expires_together_nothing_goes_where_one_is_held(alpha: Host) -> None:
    """The command goes through them one by one then, and says which."""
    fresh(alpha)
    before = alpha.run(PICTURE).out
    free, held = DestroySnapshots(END, NAMES[1], ("old",)), DestroySnapshots(END, NAMES[0], ("old", "zrep_000001"))
    assert not carry_out(alpha, free, held)
    assert alpha.run(PICTURE).out == before


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
            assert read(alpha, "sync", "tank") is True
            assert int(alpha.run(written).out) > untold, number
        assert int(alpha.run(groups).out) - before == 5
        assert alpha.run("zpool history -il tank | wc -l").out == history
    finally:
        alpha.run("echo 5 > /sys/module/zfs/parameters/zfs_txg_timeout")


def test_a_user_who_may_not_is_left_to_the_command(alpha: Host) -> None:
    fresh(alpha)
    before = alpha.run(PICTURE).out
    for step in (
        Hold(END, "zrep", SNAPSHOTS),
        SetProperties(END, ("tank/x/a",), (("zrep:a", "1"),)),
        CloseTransactionGroup(END, "tank"),
    ):
        carry_out(alpha, step, user="operator")
    assert alpha.run(PICTURE).out == before
