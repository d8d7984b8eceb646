"""A tree rejoins: what any member wrote alone ends in one copy beside it, and nothing is sent again."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

from tests.ops import pairs, trees
from tests.ops.hosts import Command, Hosts
from tests.ops.pairs import SYNC_ALL, A, B, good
from tests.ops.trees import contents, lines, members
from zrep.ops.init_way import Request

REJOIN = pairs.rejoining(A)
LOOKS = ("get", "list", "holds", "send", "diff")


def copy_of(hosts: Hosts, host: str = "alpha", pool: str = "tank") -> str:
    """The name of the one split copy."""
    found = lines(hosts, host, f"zfs get -H -r -s local -t filesystem,volume -o name zrep:split {pool}")
    [name] = found
    return name


def full_streams(log: Iterable[Command]) -> list[str]:
    return [command.argv[-1] for command in log if command.stream and "-i" not in command.argv]


def value(hosts: Hosts, name: str, prop: str) -> str:
    return pairs.value(hosts, "alpha", name, prop)


WRITTEN = {
    "members": (f"{A}/x", f"{A}/x/disk"),
    "the root alone": (A,),
    "the root and what is deep": (A, f"{A}/x/deep"),
    "every one": (A, f"{A}/x", f"{A}/x/deep", f"{A}/x/disk", f"{A}/vol"),
}


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
def test_what_any_member_wrote_alone_is_in_one_copy_and_nothing_is_sent_again(
    hosts: Hosts, written: tuple[str, ...]
) -> None:
    trees.diverged(hosts, written)
    before = members(hosts, "alpha")
    good(hosts.run("alpha", REJOIN))
    copy = copy_of(hosts)
    assert members(hosts, "alpha") == [name for name in before if name != f"{A}/x/new"]
    for name in written:
        if value(hosts, name, "type") == "filesystem":
            assert hosts["alpha"].read(copy + name.removeprefix(A))["alone"] == name.encode()
            assert "alone" not in hosts["alpha"].read(name)
    assert hosts["alpha"].read(f"{copy}/x/new") == {"alone": b"new"}
    hosts.wire.reset()
    good(hosts.run("beta", SYNC_ALL))
    assert full_streams(hosts.wire.log) == []
    assert contents(hosts, "alpha", f"{A}/x")["on beta"] == b"1"
    good(hosts.run("beta", pairs.failing_over(B)))
    assert contents(hosts, "alpha", f"{A}/x")["on beta"] == b"1"
    assert [value(hosts, name, "mounted") for name in (A, f"{A}/x", f"{A}/x/deep")] == ["yes"] * 3


def test_each_member_has_again_what_was_set_and_delegated_on_it(hosts: Hosts) -> None:
    trees.diverged(hosts)
    allowed = hosts["alpha"].sh(f"zfs allow {A}/x")
    good(hosts.run("alpha", REJOIN))
    assert [value(hosts, f"{A}/x", name) for name in ("quota", "compression", "org:note")] == [
        str(2**30),
        "lz4",
        "mine",
    ]
    assert hosts["alpha"].sh(f"zfs allow {A}/x") == allowed
    assert value(hosts, f"{A}/x", "zrep:limits") == "-"
    assert value(hosts, copy_of(hosts), "mountpoint") == "none"


def test_what_the_pair_was_told_to_do_stays_with_its_root(hosts: Hosts) -> None:
    trees.diverged(hosts, (A,))
    told = {"props": "atime", "keep": "7d", "minfree": "2%", "maxlag": "900", "recursive": "on"}
    for name, text in told.items():
        hosts["alpha"].sh(f"zfs set zrep:{name}={text} {A}")
    good(hosts.run("alpha", REJOIN))
    assert {name: value(hosts, A, f"zrep:{name}") for name in told} == told


def test_what_is_left_out_stays_where_it_is_as_it_is(hosts: Hosts) -> None:
    """Carried through the change of names, and not unmounted by it."""
    trees.diverged(hosts)
    hosts["alpha"].sh(f"zfs create -u -o readonly=off -o zrep:exclude=on -o mountpoint=/srv/tmp {A}/x/tmp")
    good(hosts.run("alpha", REJOIN))
    assert f"{A}/x/tmp" in members(hosts, "alpha")
    assert value(hosts, f"{A}/x/tmp", "mountpoint") == "/srv/tmp"


def test_what_is_in_a_pair_of_its_own_below_what_would_leave_refuses_before_anything_changes(hosts: Hosts) -> None:
    """Its own runs, and the streams that it gets, go by its name."""
    trees.diverged(hosts)
    alpha = hosts["alpha"]
    alpha.sh(f"zfs create -u -o readonly=off {A}/x/own")
    alpha.sh(f"zfs set zrep:src-host=alpha zrep:src-fs={A}/x/own zrep:dest-host=beta zrep:dest-fs=tank/o {A}/x/own")
    before = members(hosts, "alpha")
    refused = hosts.run("alpha", REJOIN)
    assert (refused.code, f"({A}/x/own)" in refused.text) == (3, True), refused.text
    assert (members(hosts, "alpha"), value(hosts, A, "zrep:master")) == (before, "yes")


def test_one_that_the_other_side_has_nothing_of_stays_where_something_else_is_below_it(hosts: Hosts) -> None:
    """To leave, it would take that along for good."""
    trees.diverged(hosts)
    hosts["alpha"].sh(f"zfs create -u -o readonly=off -o zrep:exclude=on {A}/x/new/tmp")
    good(hosts.run("alpha", REJOIN))
    assert {f"{A}/x/new", f"{A}/x/new/tmp"} <= set(members(hosts, "alpha"))
    assert hosts["alpha"].read(f"{A}/x/new") == {"alone": b"new"}
    good(hosts.run("beta", SYNC_ALL))


def test_the_plan_that_is_shown_is_the_one_that_runs(hosts: Hosts) -> None:
    trees.diverged(hosts)
    before = hosts.world.view()
    shown = good(hosts.run("alpha", REJOIN, dry_run=True))
    assert hosts.world.view() == before
    hosts.wire.reset()
    good(hosts.run("alpha", REJOIN))
    changes = [c.argv for c in hosts.wire.log if c.argv[0] == "zfs" and c.argv[1] not in LOOKS]
    ran = [" ".join(argv) for argv in changes if argv[1] != "allow" or len(argv) > 3]
    planned = [line.partition(": ")[2] for line in shown.lines if " zfs " in line]

    def plain(commands: list[str]) -> list[str]:
        return [re.sub(r'_[0-9a-f]{8}\b|zrep:(sent|inprogress)=[^ ]*|"id":"\w+"', "", c) for c in commands]

    assert plain(ran) == plain(planned)


@pytest.mark.parametrize("root", ["", trees.KEY], ids=["plain root", "encrypted root"])
@pytest.mark.parametrize(
    "written",
    [
        ("/safe",),
        ("/safe/in",),
        ("/safe/own",),
        ("/safe/own/in",),
        ("/safe", "/safe/own"),
        ("/safe/in", "/safe/own/in"),
        ("", "/x/deep"),
        ("", "/safe/own"),
        ("", "/x", "/safe/own/in"),
        ("", *trees.LOCKED),
    ],
    ids=" ".join,
)
def test_encryption_roots_in_a_tree_are_split_as_the_others(hosts: Hosts, written: tuple[str, ...], root: str) -> None:
    """Their clones can be renamed to no other place before they are promoted."""
    trees.locked(hosts, written, root)
    before = members(hosts, "alpha")
    roots = [value(hosts, name, "encryptionroot") for name in before]
    good(hosts.run("alpha", REJOIN))
    copy = copy_of(hosts)
    assert members(hosts, "alpha") == before
    assert [value(hosts, name, "encryptionroot") for name in before] == roots
    trees.opened(hosts, "alpha", A)
    for name in written:
        assert hosts["alpha"].read(copy + name)["alone"] == name.encode()
        assert "alone" not in hosts["alpha"].read(f"{A}{name}")
    hosts.wire.reset()
    good(hosts.run("beta", SYNC_ALL))
    assert full_streams(hosts.wire.log) == []
    trees.opened(hosts, "alpha", A)
    good(hosts.run("beta", pairs.failing_over(B)))
    assert contents(hosts, "alpha", f"{A}/safe/in")["on beta"] == b"1"
    assert [value(hosts, name, "mounted") for name in before] == ["yes"] * len(before)


def test_the_root_of_a_pool_keeps_the_copy_inside_and_is_refused_where_it_was_written_to_itself(hosts: Hosts) -> None:
    alpha = hosts["alpha"]
    alpha.add_pool("small")
    alpha.sh("zfs create small/x")
    good(hosts.run("alpha", pairs.initialising(Request("small", "beta", "tank/s", recursive=True))))
    alpha.write("small/x", "alone", b"1")
    hosts.wire.cut = True
    good(hosts.run("beta", pairs.forcing("tank/s")))
    hosts.wire.cut = False
    before = hosts.world.dump()
    good(hosts.run("alpha", pairs.rejoining("small")))
    copy = copy_of(hosts, pool="small")
    assert copy.startswith("small/split_1_")
    assert alpha.read(f"{copy}/x") == {"alone": b"1"}
    good(hosts.run("beta", SYNC_ALL))
    hosts.load(before)
    alpha.write("small", "tail", b"2")
    refused = hosts.run("alpha", pairs.rejoining("small"))
    assert (refused.code, "it is the root of a pool" in refused.text) == (3, True), refused.text
    assert value(hosts, "small", "zrep:master") == "yes"
    assert members_of(hosts, "small") == ["small", "small/x"]
    # What is advised keeps it, in the same copy.
    base = lines(hosts, "alpha", "zfs list -H -t snapshot -o name small")[-1]
    kept = "to keep all of it: zfs snapshot small@alone; zfs send small@alone | zfs receive -u small/alone"
    assert f"{kept}; then: zfs rollback -r {base}, then zrep rejoin small" in refused.text
    alpha.sh("zfs snapshot small@alone")
    sent = alpha.run(["zfs", "send", "small@alone"]).out
    assert alpha.run(["zfs", "receive", "-u", "small/alone"], sent).rc == 0
    alpha.sh(f"zfs rollback -r {base}")
    good(hosts.run("alpha", pairs.rejoining("small")))
    assert alpha.read(f"{copy_of(hosts, pool='small')}/alone") == {"tail": b"2"}
    good(hosts.run("beta", SYNC_ALL))


def members_of(hosts: Hosts, root: str) -> list[str]:
    return lines(hosts, "alpha", f"zfs list -H -r -t filesystem,volume -o name {root}")
