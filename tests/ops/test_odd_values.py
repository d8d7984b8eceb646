"""One odd value costs its own filesystem, and no other: whoever may set a property of one, or hold its snapshots, can
write what zfs would print of another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import cycle

import pytest

from tests.ops import pairs, trees
from tests.ops.hosts import Ended, Hosts, Work
from tests.ops.pairs import SYNC_ALL, A, B, good, value
from zrep.ops.doctor import doctor
from zrep.ops.init_way import Request
from zrep.ops.list import listing
from zrep.ops.rows import Row
from zrep.ops.status import status

C, D = "tank/c", "tank/d"
PROPERTIES = ("paused", "flags", "inprogress", "savecount", "lock-time")
FORGED = {
    "a tab": "a\tb",
    "a line end": "a\nb",
    "only a line end": "\n",
    "a byte that is no UTF-8": "a\udcffb",
    "an escape code": "\x1b[2J",
    "another's role": f"x\tlocal\n{C}\tzrep:master\tno\tlocal\n{C}\tzrep:paused\tx",
    "a row of another": f"x\tlocal\n{C}\tzrep:gen\t0123456789abcdef",
    "another's first row": f"x\tlocal\n{C}\treservation\t0\tdefault\n{C}\tzrep:src-fs\ttank/x",
    "one that is not there": "x\tlocal\ntank/b9\treservation\t0\tdefault\ntank/b9\tzrep:src-fs\ttank/b9",
    "another's snapshot": f"1\n{C}@zrep_000009\t7\t1\t1\t0\t0\t0\t-\t1\tyes",
    "another dataset": f"1\n{C}\t7\t1\t1\t-\t0\t0\t-\t-\t-\n{C}@zrep_000009\t7\t1\t1\t0\t0\t0\t-\t1\tyes",
    "an odd record": '{"op":"failover","id":[],"detail":{"a":{}}}',
    "numbers in a record": '{"op":1,"id":1e999,"epoch":1e999}',
    "a large number": "9" * 5000,
    "other digits": "²",
}


@pytest.fixture
def two(hosts: Hosts) -> Hosts:
    """Two pairs, with something to send in each."""
    pairs.linked(hosts)
    hosts["alpha"].sh(f"zfs create {C}")
    good(hosts.run("alpha", pairs.initialising(Request(C, "beta", D))))
    for name in (A, C):
        hosts["alpha"].write(name, "new", b"new")
    return hosts


def rows(hosts: Hosts, host: str) -> dict[str, Row]:
    return {row.name: row for row in hosts.run(host, lambda session: status(session, [])).rows}


def listed(hosts: Hosts, host: str) -> dict[str, Row]:
    return {row.name: row for row in hosts.run(host, lambda session: listing(session, False)).rows}


def the_other_is_as_if_nothing_were(hosts: Hosts) -> Ended:
    """It is listed, looked at and sent as ever; what the run says of it is that."""
    for host, name in (("alpha", C), ("beta", D)):
        assert (rows(hosts, host)[name].state, listed(hosts, host)[name].role) == (
            "ok",
            "master" if name == C else "replica",
        )
    ended = hosts.run("alpha", SYNC_ALL)
    assert ended.code in (0, 3), ended.text
    assert hosts["beta"].read(f"{D}@zrep_000002")["new"] == b"new"
    assert not [outcome for outcome in ended.outcomes if outcome.filesystem == C and outcome.error]
    return ended


SIDES = pytest.mark.parametrize(("host", "name"), [("alpha", A), ("beta", B)])


@pytest.mark.parametrize(("odd", "prop"), list(zip(FORGED, cycle(PROPERTIES))))
@SIDES
def test_a_property_of_one_is_no_matter_to_another(two: Hosts, host: str, name: str, prop: str, odd: str) -> None:
    two[host].run(["zfs", "set", f"zrep:{prop}={FORGED[odd]}", name])
    the_other_is_as_if_nothing_were(two)


@pytest.mark.thorough
@pytest.mark.parametrize("prop", PROPERTIES)
@pytest.mark.parametrize("odd", FORGED)
@SIDES
def test_no_property_of_one_is_a_matter_to_another(two: Hosts, host: str, name: str, prop: str, odd: str) -> None:
    two[host].run(["zfs", "set", f"zrep:{prop}={FORGED[odd]}", name])
    the_other_is_as_if_nothing_were(two)


@pytest.mark.parametrize(("odd", "of"), list(zip(FORGED, cycle(("@zrep_000001", "")))))
@SIDES
def test_a_mark_of_one_is_no_matter_to_another(two: Hosts, host: str, name: str, of: str, odd: str) -> None:
    two[host].run(["zfs", "set", f"zrep:sent={FORGED[odd]}", f"{name}{of}"])
    the_other_is_as_if_nothing_were(two)


@pytest.mark.parametrize(
    "tag",
    ["a\tb", "a\nb", "\udcff", f"k\tSat Nov 28 05:16 2026\n{C}@zrep_000001\tk"],
)
@SIDES
def test_the_tag_of_a_hold_on_one_is_no_matter_to_another(two: Hosts, host: str, name: str, tag: str) -> None:
    assert two[host].run(["zfs", "hold", tag, f"{name}@zrep_000001"]).rc == 0
    assert not the_other_is_as_if_nothing_were(two).code
    assert two["beta"].read(f"{B}@zrep_000002")["new"] == b"new"


def test_what_is_odd_is_told_of_its_own_pair(two: Hosts) -> None:
    two["alpha"].run(["zfs", "set", "zrep:savecount=5\n", A])
    ended = the_other_is_as_if_nothing_were(two)
    assert (ended.code, "has properties that this zrep did not write" in ended.text) == (3, True), ended.text


@pytest.mark.parametrize("number", ["f" * 15, "f" * 12, "f" * 13, "00000g", "9" * 200])
def test_a_snapshot_with_a_number_out_of_the_way_stops_nothing(two: Hosts, number: str) -> None:
    two["alpha"].sh(f"zfs snapshot {A}@zrep_{number}")
    two["beta"].sh(f"zfs snapshot {B}@zrep_{number}")
    good(the_other_is_as_if_nothing_were(two))


# What nothing can be called: whoever is asked about it takes that for no request, and hears no other.
NO_NAMES = ("../x", "-F", "a;b", "x\udcffy", "a\tb", "x" * 256, "tank/a@zrep_000001")


LINKS = ("dest-fs", "src-fs", "dest-host", "src-host")


@pytest.mark.parametrize(("odd", "prop"), list(zip((*NO_NAMES, "-oProxyCommand=x"), cycle(LINKS))))
@SIDES
def test_what_nobody_is_called_is_asked_of_nobody(two: Hosts, host: str, name: str, prop: str, odd: str) -> None:
    two[host].run(["zfs", "set", f"zrep:{prop}={odd}", name])
    ended = the_other_is_as_if_nothing_were(two)
    assert (ended.code, "has properties that this zrep did not write" in ended.text) == (3, True), ended.text
    assert rows(two, host)[name].state == "unreadable"
    looked = two.run(host, lambda session: doctor(session, []))
    assert (looked.code, "understand" in looked.text) == (3, False), looked.text
    both = two.run(host, pairs.clearing(name))
    assert "understand" not in both.text
    here = two.run(host, pairs.clearing(name, here_only=True))
    assert (both.code, here.code) in ((3, 0), (0, 0)), both.text


@pytest.mark.parametrize(
    "links",
    [
        {"dest-fs": D},
        {"dest-fs": "tank", "recursive": "on"},
        {"src-fs": D, "src-host": "beta", "dest-fs": A, "dest-host": "alpha", "master": "no", "driver": "here"},
        {"dest-fs": C, "dest-host": "alpha"},
    ],
)
def test_who_calls_anothers_replica_his_own_keeps_nothing_from_it(two: Hosts, links: Mapping[str, str]) -> None:
    """The lock of both halves is what he would give up when he is refused."""
    for key, text in links.items():
        two["alpha"].sh(f"zfs set zrep:{key}={text} {A}")
    the_other_is_as_if_nothing_were(two)


# A record of a role change is the role as long as it is there: what it says is looked at as what is set.
RECORDED = {
    "flags": "-p",
    "props": "mountpoint=/etc",
    "places": "{}",
    "driver": "x",
    "keep": "x",
    "minfree": "x",
    "dest-fs": "-F",
    "foo": "x",
    "a=b": "x",
    "inprogress": "x",
}


@pytest.mark.parametrize("name", ["tank/x", A])
@pytest.mark.parametrize(("prop", "op"), list(zip(RECORDED, cycle(("follow", "promote", "init", "cancelled")))))
def test_a_record_of_a_role_of_one_is_no_matter_to_another(two: Hosts, prop: str, op: str, name: str) -> None:
    """Of what is in no pair too: all of them are looked at."""
    two["alpha"].sh("zfs create tank/x")
    record = {"op": op, "id": "1", "role": {prop: RECORDED[prop]}}
    two["alpha"].run(["zfs", "set", f"zrep:inprogress={json.dumps(record)}", name])
    ended = the_other_is_as_if_nothing_were(two)
    if name == A and prop != "flags":
        assert "has properties that this zrep did not write" in ended.text
        own = two["alpha"].sh(f"zfs get -H -o property,value -s local all {A}").decode()
        assert f"zrep:{prop}\t{RECORDED[prop]}\n" not in own


def test_where_it_is_is_looked_at_before_it_is_read(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts["alpha"].sh(f"zfs set zrep:places=odd {A}")
    good(hosts.run("alpha", pairs.clearing(A)))


class TestCanmount:
    """What a replica remembers of it is set when it is promoted: ZFS takes three words, and then it is too late."""

    @pytest.mark.parametrize("work", [pairs.taking_over(B), pairs.forcing(B)])
    def test_what_zfs_would_not_take_is_refused_before_the_role_moves(self, hosts: Hosts, work: Work) -> None:
        pairs.linked(hosts)
        hosts["beta"].sh(f"zfs set zrep:canmount=banana {B}")
        ended = hosts.run("beta", work)
        assert (ended.code, "zrep:canmount is 'banana'" in ended.text) == (3, True), ended.text
        assert value(hosts, "alpha", A, "readonly") == "off"
        assert rows(hosts, "alpha")[A].state == "unreadable"

    def test_of_a_member_of_a_tree_it_is_as_if_nothing_were_remembered(self, hosts: Hosts) -> None:
        trees.grown(hosts)
        hosts["beta"].sh(f"zfs set zrep:canmount=banana {B}/x")
        good(hosts.run("beta", pairs.taking_over(B)))
        assert value(hosts, "beta", f"{B}/x", "canmount") == "on"
        assert value(hosts, "beta", f"{B}/x", "mounted") == "yes"


@SIDES
def test_a_side_with_the_mark_of_a_split_copy_is_none_that_is_well(hosts: Hosts, host: str, name: str) -> None:
    """A split copy is in no pair, and nobody need do anything about it."""
    pairs.linked(hosts)
    hosts[host].sh(f"zfs set zrep:split=kept {name}")
    for where, own in (("alpha", A), ("beta", B)):
        found = rows(hosts, where)[own]
        assert (found.state, found.code) == ("unreadable", 3)
    assert "zrep:split is 'kept'" in hosts.run("alpha", SYNC_ALL).text
    hosts[host].sh(f"zfs inherit zrep:split {name}")
    good(hosts.run("alpha", SYNC_ALL))
