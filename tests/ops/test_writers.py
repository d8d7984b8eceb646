"""Who writes to a master while its role is to move: in whatever mount namespace, a file mapped or only open."""

from __future__ import annotations

import pytest

from tests.ops import pairs
from tests.ops.hosts import Hosts, ModelHost, Work
from tests.ops.pairs import A, B, good, value
from tests.ops.test_neighbours import changes, in_the_middle
from zrep.core.requests import OpenVolumes, ReadUsers, Users

INSISTING = [("alpha", pairs.failing_over(A, insist=True)), ("beta", pairs.taking_over(B, insist=True))]
BOTH_ENDS = pytest.mark.parametrize(("host", "work"), INSISTING, ids=["failover", "takeover"])


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "in a container"])
@BOTH_ENDS
def test_who_has_a_file_mapped_stops_it_although_a_person_insists(
    hosts: Hosts, host: str, work: Work, elsewhere: bool
) -> None:
    pairs.linked(hosts)
    if elsewhere:
        hosts["alpha"].mount_elsewhere(A)
    hosts["alpha"].map_file(A)
    hosts.wire.reset()
    shown = hosts.run(host, work, dry_run=True)
    assert (shown.code, changes(hosts)) == (3, [])
    refused = hosts.run(host, work)
    says = (
        "a process on alpha has a file mapped for writing in tank/a, which --force-unmount does not stop (postgres (7))"
    )
    assert (refused.code, says in refused.text) == (3, True)
    assert [says in blocker.line() for outcome in shown.outcomes for blocker in outcome.blockers] == [True]
    assert value(hosts, "alpha", A, "readonly") == "off"
    hosts["alpha"].store_mapped(A, "mapped", b"acknowledged")
    hosts["alpha"].map_file(A, -1)
    good(hosts.run(host, work))
    assert hosts["beta"].read(B)["mapped"] == b"acknowledged"


def test_a_file_that_is_mapped_once_it_is_read_only_undoes_it(hosts: Hosts) -> None:
    """It was open to write before, which is no mapping yet."""
    pairs.linked(hosts)
    hosts["alpha"].map_file(A)
    seen: list[Users] = [Users(writing=("sh (5)",)), Users(writing=("sh (5)",), mapped=("sh (5)",))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ModelHost, "users", lambda self, request: seen.pop(0))
        refused = hosts.run("alpha", pairs.failing_over(A, insist=True))
    assert (refused.code, "a process on alpha has a file mapped" in refused.text, seen) == (3, True, [])
    assert value(hosts, "alpha", A, "readonly") == "off"
    assert value(hosts, "alpha", A, "zrep:inprogress") in ("", "-")


def test_where_it_cannot_be_known_it_is_refused(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs.linked(hosts)
    hosts["alpha"].map_file(A)
    users = Users(unseen="zrep runs in a container there, and sees only its own processes")
    monkeypatch.setattr(ModelHost, "users", lambda self, request: users)
    refused = hosts.run("alpha", pairs.failing_over(A, insist=True))
    says = "a process on alpha may have a file mapped for writing in tank/a, which --force-unmount does not stop"
    assert (refused.code, f"{says} (zrep runs in a container" in refused.text) == (3, True)


def test_children_are_not_unmounted_by_who_insists(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts["alpha"].sh(f"zfs create -o readonly=off {A}/c")
    hosts["alpha"].map_file(A)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ModelHost, "users", lambda self, request: Users(writing=("sh (5)",)))
        good(hosts.run("alpha", pairs.failing_over(A, insist=True)))
    assert value(hosts, "alpha", f"{A}/c", "mounted") == "yes"


def test_what_is_stored_after_the_commit_all_the_same_is_told_and_whose_it_may_be(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts["alpha"].map_file(A)
    in_the_middle(hosts, ("zfs", "mount"), lambda: hosts["alpha"].store_mapped(A, "late", b"acknowledged"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ModelHost, "users", lambda self, request: Users(writing=("sh (5)",)))
        moved = hosts.run("alpha", pairs.failing_over(A, insist=True))
    whose = (
        "it was master before epoch 2, and this may be what a program stored there last: zfs diff tank/a@zrep_000002"
    )
    assert (moved.code, whose in moved.text) == (3, True)
    refused = hosts.run("beta", pairs.SYNC_ALL)
    assert (refused.code, whose in refused.text) == (3, True)


def test_a_replica_that_was_never_master_was_changed_by_hand(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts["beta"].sh(f"zfs set readonly=off {B}")
    hosts["beta"].sh(f"zfs mount {B}")
    hosts["beta"].write(B, "by hand", b"x")
    refused = hosts.run("alpha", pairs.SYNC_ALL)
    assert (refused.code, "was changed by hand" in refused.text, "master before" in refused.text) == (3, True, False)


# --- rejoin ---


def test_an_old_master_that_a_container_has_mounted_does_not_rejoin(hosts: Hosts) -> None:
    pairs.forced(hosts)
    hosts["alpha"].mount_elsewhere(A)
    hosts.wire.reset()
    shown, refused = hosts.run("alpha", pairs.rejoining(A), dry_run=True), hosts.run("alpha", pairs.rejoining(A))
    says = "it is in use, where an unmount here does not reach (mounted in another mount namespace: /data for postgres"
    assert (shown.code, refused.code, says in refused.text, says in shown.text) == (3, 3, True, True)
    assert changes(hosts) == []


def test_one_that_only_the_kernel_knows_to_be_in_use_stays_mounted_and_does_not_rejoin(hosts: Hosts) -> None:
    pairs.forced(hosts)
    hosts["alpha"].mount_elsewhere(A)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ModelHost, "users", unseen)
        refused = hosts.run("alpha", pairs.rejoining(A))
    assert (refused.code, "(the kernel says that it is busy)" in refused.text) == (3, True)
    assert value(hosts, "alpha", A, "mounted") == "yes"


def unseen(host: ModelHost, request: ReadUsers) -> Users:
    return Users(unseen="zrep runs in a container there")


# --- volumes: what is written to one that is open may be in its device's cache alone ---


@pytest.mark.parametrize("insist", [False, True], ids=["", "--force-unmount"])
@pytest.mark.parametrize(("host", "of"), [("alpha", "failover"), ("beta", "takeover")], ids=["failover", "takeover"])
def test_a_volume_that_is_open_to_write_is_not_given_up(hosts: Hosts, host: str, of: str, insist: bool) -> None:
    pairs.linked(hosts, volume=True)
    work = pairs.failing_over(A, insist=insist) if of == "failover" else pairs.taking_over(B, insist=insist)
    hosts["alpha"].open_file(A)
    hosts.wire.reset()
    shown, refused = hosts.run(host, work, dry_run=True), hosts.run(host, work)
    says = "the volume tank/a is open to write on alpha (qemu (8))"
    assert (shown.code, refused.code, says in refused.text) == (3, 3, True)
    assert [says in blocker.line() for outcome in shown.outcomes for blocker in outcome.blockers] == [True]
    assert changes(hosts) == []
    hosts["alpha"].open_file(A, -1)
    good(hosts.run(host, work))


def test_one_that_was_opened_after_the_first_look_undoes_it(hosts: Hosts) -> None:
    pairs.linked(hosts, volume=True)
    in_the_middle(hosts, ("zfs", "set"), lambda: hosts["alpha"].open_file(A))
    refused = hosts.run("alpha", pairs.failing_over(A))
    assert (refused.code, "is open to write on alpha" in refused.text) == (3, True)
    assert value(hosts, "alpha", A, "readonly") == "off"
    assert value(hosts, "alpha", A, "zrep:inprogress") in ("", "-")


def test_where_that_cannot_be_seen_a_person_says_so(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs.linked(hosts, volume=True)
    monkeypatch.setattr(ModelHost, "open_volumes", lambda self, request: OpenVolumes(unseen="root may"))
    refused = hosts.run("alpha", pairs.failing_over(A))
    assert (refused.code, "whether somebody has tank/a open on alpha cannot be seen (root may)" in refused.text) == (
        3,
        True,
    )
    good(hosts.run("alpha", pairs.failing_over(A, insist=True)))


def test_an_old_master_that_is_open_does_not_rejoin(hosts: Hosts) -> None:
    pairs.forced(hosts, volume=True)
    hosts["alpha"].open_file(A)
    hosts.wire.reset()
    refused = hosts.run("alpha", pairs.rejoining(A))
    assert (refused.code, "the volume tank/a is open to write on alpha" in refused.text) == (3, True)
    assert changes(hosts) == []
    hosts["alpha"].open_file(A, -1)
    good(hosts.run("alpha", pairs.rejoining(A)))
