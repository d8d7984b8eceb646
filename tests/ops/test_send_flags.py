"""Flags that the target's pool cannot receive."""

from __future__ import annotations

import pytest

from tests.ops import pairs
from tests.ops.hosts import Hosts
from tests.ops.pairs import A, B, good, value
from zrep.ops.init_way import Request


def lacking(hosts: Hosts, *features: str) -> None:
    """An old pool on beta."""
    pairs.source(hosts)
    hosts.world.state.hosts["beta"].pools["tank"].lacks = features


@pytest.mark.parametrize(
    ("features", "flags"),
    [
        ((), "-p -L -e -c"),
        (("large_blocks",), "-p -e -c"),
        (("embedded_data", "zstd_compress"), "-p -L"),
        (("lz4_compress", "embedded_data", "large_blocks", "encryption"), "-p"),
    ],
)
def test_what_it_cannot_receive_is_left_out_of_the_default(hosts: Hosts, features: tuple[str, ...], flags: str) -> None:
    lacking(hosts, *features)
    good(hosts.run("alpha", pairs.INIT))
    assert value(hosts, "alpha", A, "zrep:flags") == flags


@pytest.mark.parametrize("word", ["-c", "--compressed"])
def test_what_was_asked_for_is_refused(hosts: Hosts, word: str) -> None:
    lacking(hosts, "zstd_compress")
    ended = hosts.run("alpha", pairs.initialising(Request(A, "beta", B, flags=f"-p {word}")))
    assert ended.code == 3
    assert f"compressed data ({word}) cannot be received below tank on beta" in ended.text
    assert "feature@zstd_compress of the pool tank is not enabled" in ended.text
    assert value(hosts, "alpha", A, "zrep:src-fs") == "-"


def test_what_is_adopted_below_an_encrypted_filesystem_gets_no_embedded_data(hosts: Hosts) -> None:
    pairs.source(hosts)
    hosts["beta"].sh("zfs create -o encryption=on -o keyformat=raw -o keylocation=file:///key -o canmount=off tank/v")
    sent = hosts["alpha"].run(["zfs", "send", f"{A}@daily"]).out
    assert hosts["beta"].run(["zfs", "receive", "-u", "tank/v/a"], sent).rc == 0
    good(hosts.run("alpha", pairs.initialising(Request(A, "beta", "tank/v/a", adopt=True))))
    assert value(hosts, "alpha", A, "zrep:flags") == "-p -L -c"
    pairs.written(hosts)
    good(hosts.run("alpha", pairs.SYNC_ALL))


def test_properties_of_what_is_encrypted_are_sent_raw_only(hosts: Hosts) -> None:
    hosts["alpha"].sh("zfs create -o encryption=on -o keyformat=raw -o keylocation=file:///key tank/secret")
    ended = hosts.run("alpha", pairs.initialising(Request("tank/secret", "beta", B, flags="-p -L")))
    assert (ended.code, "its properties (-p) can only be sent raw (-w)" in ended.text) == (3, True)
    assert value(hosts, "alpha", "tank/secret", "zrep:src-fs") == "-"
    good(hosts.run("alpha", pairs.initialising(Request("tank/secret", "beta", B, flags="-L"))))


def test_an_encrypted_source_needs_a_pool_that_knows_encryption(hosts: Hosts) -> None:
    lacking(hosts, "encryption")
    hosts["alpha"].sh("zfs create -o encryption=on -o keyformat=raw -o keylocation=file:///key tank/secret")
    ended = hosts.run("alpha", pairs.initialising(Request("tank/secret", "beta", B)))
    assert (ended.code, "what is encrypted, raw, (-w) cannot be received below tank on beta" in ended.text) == (3, True)
