"""What is around a pair on its host: an intent log that nobody replayed, other mounts."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.ops import pairs
from tests.ops.hosts import Hosts, Work
from tests.ops.pairs import A, B, good, value
from zrep.ops.init import Request

FROM_EITHER_END = pytest.mark.parametrize(
    ("host", "work"), [("alpha", pairs.failing_over(A)), ("beta", pairs.taking_over(B))], ids=["failover", "takeover"]
)
ENCRYPTED = "-o encryption=on -o keyformat=raw -o keylocation=file:///key"


def changes(hosts: Hosts) -> list[str]:
    """The commands so far that change a role, a mount or what may be written."""
    return [str(c) for c in hosts.wire.log if c.argv[1:2] in (("set",), ("mount",), ("unmount",), ("snapshot",))]


# --- an intent log ---


class Left(NamedTuple):
    """A master as the power loss leaves it: made with these words, mended by these commands."""

    create: str
    says: str
    mend: tuple[str, ...]


KEY_MISSING = "(its key is not loaded); next: on alpha: zfs load-key 'tank/a'"
LEFT = {
    "canmount=noauto": Left("-o canmount=noauto", "canmount is noauto", (f"zfs mount {A}",)),
    "canmount=off meanwhile": Left("", "zfs set canmount=noauto", (f"zfs set canmount=noauto {A}", f"zfs mount {A}")),
    "mountpoint=none meanwhile": Left(
        "", "next: on alpha: zfs set mountpoint='/tank/a' 'tank/a'", (f"zfs set mountpoint=/{A} {A}",)
    ),
    "key missing": Left(ENCRYPTED, KEY_MISSING, (f"zfs load-key {A}", f"zfs mount {A}")),
    "volume without its key": Left(f"-V 1G {ENCRYPTED}", KEY_MISSING, (f"zfs load-key {A}",)),
}


def crashed(hosts: Hosts, left: Left) -> None:
    """alpha acknowledges a write, loses power and comes back; nobody mounts its tank/a, or loads the key of it."""
    hosts["alpha"].sh(f"zfs create {left.create} {A}")
    if "noauto" in left.create:
        hosts["alpha"].sh(f"zfs mount {A}")
    hosts["alpha"].write(A, "one", b"1")
    good(hosts.run("alpha", pairs.initialising(Request(A, "beta", B))))
    hosts["alpha"].write(A, "log", b"made", flushed=False, fsync=True)
    hosts["alpha"].write(A, "acknowledged", b"yes", flushed=False, fsync=True)
    hosts["alpha"].crash()
    hosts["beta"].load_key(B)


@pytest.mark.parametrize("left", LEFT.values(), ids=LEFT.keys())
@FROM_EITHER_END
def test_no_role_change_before_the_intent_log_of_the_master_is_replayed(
    hosts: Hosts, host: str, work: Work, left: Left
) -> None:
    crashed(hosts, left)
    for prop in ("canmount=off", "mountpoint=none"):
        if prop.partition("=")[0] in left.mend[0]:
            hosts["alpha"].sh(f"zfs set {prop} {A}")
    hosts.wire.reset()
    shown, refused = hosts.run(host, work, dry_run=True), hosts.run(host, work)
    assert (shown.code, refused.code) == (3, 3)
    assert "would be lost" in refused.text
    assert left.says in refused.text
    assert changes(hosts) == []
    for command in left.mend:
        hosts["alpha"].sh(command)
    good(hosts.run(host, work))
    assert hosts["beta"].read(B)["acknowledged"] == b"yes"


def test_a_volume_that_rejoins_without_its_key_keeps_its_intent_log_in_the_split_copy(hosts: Hosts) -> None:
    left = LEFT["volume without its key"]
    crashed(hosts, left)
    good(hosts.run("beta", pairs.forcing(B)))
    good(hosts.run("alpha", pairs.rejoining(A)))
    [copy] = [name for name in hosts["alpha"].names() if "_split_" in name]
    hosts["alpha"].load_key(value(hosts, "alpha", copy, "encryptionroot"))
    assert hosts["alpha"].read(copy)["acknowledged"] == b"yes"
    pairs.written(hosts, "beta", B)
    good(hosts.run("beta", pairs.SYNC_ALL))


Prepare = Callable[[Hosts], None]
