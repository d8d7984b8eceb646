"""A host that pulls, and a master that sends something else than what it was asked for: whatever zfs would take."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.model.stream import package, unpacked
from tests.ops import pairs, trees
from tests.ops.hosts import Hosts, Mode
from tests.ops.judge import files, find
from tests.ops.pairs import SYNC_ALL, A, B, good, hit, value
from zrep.ops.init_way import Request

Forge = Callable[[bytes], bytes]
SECRET = "tank/secret"
ROOT = "tank/of"


def forged(**fields: Any) -> Forge:
    """A stream whose beginning says something else."""

    def forge(stream: bytes) -> bytes:
        line, _, body = stream.partition(b"\n")
        return json.dumps({**json.loads(line), **fields}).encode() + b"\n" + body

    return forge


def with_another(stream: bytes) -> bytes:
    """A package, as send -R makes it: what was asked for, and what is to be mounted over /etc."""
    evil = forged(toname="tank/a/etc@zrep_000001", toguid=666, fromguid=0, props={"mountpoint": "/etc"})
    return package([stream, evil(stream)])


def inside_another(stream: bytes) -> bytes:
    return package([with_another(stream)])


def lying(hosts: Hosts, forge: Forge) -> None:
    hosts.wire.forge = lambda host, stream: forge(stream) if host == "alpha" else stream


def names(hosts: Hosts) -> set[str]:
    return set(hosts.world.state.hosts["beta"].datasets)


WRONG: dict[str, Forge] = {
    "another snapshot": forged(toguid=666),
    "another name": forged(toname="tank/a@daily"),
    "from elsewhere": forged(fromguid=666),
    "a volume": forged(kind="volume", volsize=1 << 20),
    "a package in a package": inside_another,
    "no stream": lambda stream: b"#!/bin/sh\n" + stream,
}


@pytest.mark.parametrize("forge", WRONG.values(), ids=WRONG.keys())
@pytest.mark.parametrize("begun", [False, True], ids=["init", "sync"])
def test_what_was_not_asked_for_is_not_received(hosts: Hosts, forge: Forge, begun: bool) -> None:
    pairs.source(hosts)
    if begun:
        good(hosts.run("beta", pairs.PULL))
        pairs.written(hosts)
    before = names(hosts), files(hosts, "beta", B) if begun else None
    lying(hosts, forge)
    ended = hosts.run("beta", SYNC_ALL if begun else pairs.PULL)
    assert ended.code == 3, ended.text
    assert f"{B}: what alpha sent is not what was asked for, and was not received" in ended.text
    assert (names(hosts), files(hosts, "beta", B) if begun else None) == before
    lying(hosts, lambda stream: stream)
    good(hosts.run("beta", SYNC_ALL if begun else pairs.PULL))
    assert files(hosts, "beta", B) == files(hosts, "alpha", A)


def test_what_comes_beside_the_stream_is_not_received(hosts: Hosts) -> None:
    pairs.source(hosts)
    lying(hosts, with_another)
    ended = hosts.run("beta", pairs.PULL)
    assert (ended.code, "more than one stream came" in ended.text) == (3, True), ended.text
    assert names(hosts) == {"tank", B}


def test_properties_do_not_come_with_it(hosts: Hosts) -> None:
    """Whether they are asked for or not: the replica gets those that follow, and nothing that acts."""
    pairs.source(hosts)
    hosts["alpha"].sh(f"zfs set compression=zstd {A}")
    evil = {"mountpoint": "/etc", "sharenfs": "on", "canmount": "on", "setuid": "on", "zrep:master": "yes", "x:y": "z"}
    lying(hosts, forged(props=evil, snapprops={"zrep:made": "1"}))
    good(hosts.run("beta", pairs.PULL))
    for name, own in {"mountpoint": "/tank/b", "sharenfs": "off", "canmount": "noauto", "x:y": "-"}.items():
        assert value(hosts, "beta", B, name) == own
    assert (value(hosts, "beta", B, "zrep:master"), value(hosts, "beta", B, "setuid")) == ("no", "on")
    pairs.written(hosts)
    good(hosts.run("beta", SYNC_ALL))
    assert value(hosts, "beta", B, "compression") == "zstd"


def test_only_properties_that_follow_are_taken_from_a_role_of_his(hosts: Hosts) -> None:
    pairs.source(hosts)
    good(hosts.run("beta", pairs.PULL))
    hosts["alpha"].sh(f"zfs set zrep:props=sharenfs=on {A}")
    ended = hosts.run("beta", SYNC_ALL)
    assert (ended.code, "zrep:props" in ended.text) == (3, True), ended.text


def test_what_is_plain_stays_so_below_an_encrypted_one_without_its_properties(hosts: Hosts) -> None:
    pairs.source(hosts)
    hosts["beta"].sh("zfs create -o encryption=on -o keyformat=raw -o keylocation=file:///key tank/v")
    good(hosts.run("beta", pairs.initialising(Request(A, "alpha", "tank/v/a", pull=True, flags="-p -w"))))
    assert value(hosts, "beta", "tank/v/a", "encryption") == "off"


def test_nothing_outside_of_its_tree_is_cloned(hosts: Hosts) -> None:
    hosts["beta"].sh(f"zfs create {SECRET}")
    hosts["beta"].sh(f"zfs snapshot {SECRET}@x")
    secret = find(hosts, "beta", SECRET)
    assert secret is not None
    pairs.source(hosts)
    lying(hosts, forged(fromguid=secret.snapshots[0].guid, clone=True))
    ended = hosts.run("beta", pairs.PULL)
    assert (ended.code, "it makes a clone" in ended.text) == (3, True), ended.text
    assert B not in names(hosts)


class TestTree:
    """Members, clones among them, come one by one, each as the one that it is."""

    @pytest.fixture
    def pulled(self, hosts: Hosts) -> Hosts:
        trees.planted(hosts)
        good(hosts.run("beta", pairs.initialising(Request(A, "alpha", B, pull=True, recursive=True))))
        return hosts

    def test_a_clone_is_made_of_what_is_in_the_tree(self, pulled: Hosts) -> None:
        """Although what is nearer by its name has the same guid."""
        pulled["alpha"].sh(f"zfs snapshot {A}/x@for")
        pulled["alpha"].sh(f"zfs clone {A}/x@for {A}/clone")
        pulled["alpha"].write(f"{A}/clone", "file", b"c")
        good(pulled.run("beta", SYNC_ALL))
        assert value(pulled, "beta", f"{B}/clone", "origin").startswith(f"{B}/x@")
        assert trees.contents(pulled, "beta", f"{B}/clone") == trees.contents(pulled, "alpha", f"{A}/clone")

    def test_one_that_lies_leaves_the_others_alone(self, pulled: Hosts) -> None:
        for name in ("x", "x/deep"):
            pulled["alpha"].write(f"{A}/{name}", "more", b"m")
        pulled.wire.forge = lambda host, stream: (
            forged(toguid=666)(stream) if f"{A}/x@".encode() in stream.partition(b"\n")[0] else stream
        )
        ended = pulled.run("beta", SYNC_ALL)
        assert (ended.code, f"{B}/x: what alpha sent is not" in ended.text) == (3, True), ended.text
        assert trees.contents(pulled, "beta", f"{B}/x/deep") == trees.contents(pulled, "alpha", f"{A}/x/deep")


def test_a_torn_one_is_gone_on_with_as_what_it_was(hosts: Hosts) -> None:
    pairs.source(hosts)
    good(hosts.run("beta", pairs.PULL))
    pairs.written(hosts)
    hit(hosts, "beta", SYNC_ALL, Mode.TORN, "zfs", "send")
    assert value(hosts, "beta", B, "receive_resume_token") != "-"
    lying(hosts, forged(toguid=666))
    assert hosts.run("beta", SYNC_ALL).code == 3
    lying(hosts, lambda stream: stream)
    good(hosts.run("beta", SYNC_ALL))
    assert files(hosts, "beta", B) == files(hosts, "alpha", A)


def test_all_snapshots_come_one_on_top_of_the_other(hosts: Hosts) -> None:
    pairs.source(hosts)
    good(hosts.run("beta", pairs.initialising(Request(A, "alpha", B, pull=True, all_snapshots=True))))
    for name in ("one", "two"):
        hosts["alpha"].write(A, name, b"x")
        hosts["alpha"].sh(f"zfs snapshot {A}@{name}")
    pairs.written(hosts)
    lying(hosts, lambda stream: package([*unpacked(stream), forged(fromguid=666)(unpacked(stream)[-1])]))
    ended = hosts.run("beta", SYNC_ALL)
    assert (ended.code, "more than one stream came" in ended.text) == (3, True), ended.text
    lying(hosts, lambda stream: stream)
    good(hosts.run("beta", SYNC_ALL))
    assert trees.snapshots(hosts, "beta", B)[-3:-1] == ["one", "two"]
    assert files(hosts, "beta", B) == files(hosts, "alpha", A)
