"""Hands on a pair's snapshots, or on its replica: what somebody changed is refused, kept, or rolled back on demand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.faults import CRON, INIT, SYNC, Hosts, base, role, tells, text, whole
from tests.lab.hosts import Lab
from tests.lab.zrep_on import (
    REFUSED,
    alone,
    content,
    in_step,
    made,
    newest_guid,
    silent,
    snapshots,
    unchanged,
    well,
)

BY_HAND = "zfs set readonly=off tank/a && zfs mount tank/a && echo by hand > /tank/a/file && zpool sync"


@pytest.fixture(scope="class")
def kept(lab: Lab) -> Lab:
    """One pair for all tests of a class."""
    lab.reset()
    made(lab.alpha, "tank/a")
    lab.alpha.run(INIT)
    return lab


class TestHands:
    """Somebody works on the snapshots or on the replica. One pair: each test leaves it whole."""

    @pytest.fixture
    def pair(self, kept: Lab, request: pytest.FixtureRequest) -> Iterator[Hosts]:
        """Two snapshots at least that both sides have, differing."""
        alpha, beta = kept
        text(alpha, request.node.name)
        silent(alpha, SYNC)
        yield alpha, beta
        text(alpha, "after all that")
        well(alpha, CRON)
        whole(alpha, beta)
        assert content(beta, "tank/a") == "after all that"

    def test_a_changed_replica_is_refused_and_rolled_back_on_demand(self, kept: Lab, pair: Hosts) -> None:
        alpha, beta = pair
        beta.run(BY_HAND)
        text(alpha, "on the master")
        with unchanged(kept):
            tells(alpha, SYNC, REFUSED, "by hand.*written there.*zrep sync -f tank/a")
        beta.run("zfs unmount tank/a")
        silent(alpha, f"{SYNC} -f")
        assert content(beta, "tank/a") == "on the master"

    def test_the_base_is_gone_from_the_replica(self, kept: Lab, pair: Hosts) -> None:
        alpha, beta = pair
        name = base(beta, alpha)
        beta.run(f"zfs release zrep tank/a@{name} && zfs destroy tank/a@{name}")
        with unchanged(kept):
            tells(alpha, CRON, REFUSED, "tank/a: .*by hand.*sync -f")
        silent(alpha, f"{SYNC} -f")

    def test_the_base_is_gone_from_the_master(self, kept: Lab, pair: Hosts) -> None:
        alpha, beta = pair
        name = base(alpha, beta)
        gone = "zfs release zrep tank/a@{0} && zfs destroy tank/a@{0}"
        alpha.run(gone.format(name))
        assert f"-i 'tank/a#zrep:{name}' " in alpha.run(f"{SYNC} -n", check=False).out
        text(alpha, "after the base was destroyed")
        silent(alpha, CRON)
        assert content(beta, "tank/a") == "after the base was destroyed"
        # Without its bookmark too, what is newer on the replica is zrep's own: a demand takes it away.
        name = base(alpha, beta)
        assert alpha.run("zfs list -H -d 1 -o name -t bookmark tank/a").lines == [f"tank/a#zrep:{name}"]
        alpha.run(f"zfs destroy tank/a#zrep:{name}; {gone.format(name)}")
        with unchanged(kept):
            tells(alpha, CRON, REFUSED, f"tank/a: the base @{name} was destroyed on the master.*sync -f tank/a")
        silent(alpha, f"{SYNC} -f")
        assert name not in snapshots(beta, "tank/a") or in_step(alpha, "tank/a", beta, "tank/a")

    @pytest.mark.parametrize("host", ["alpha", "beta"])
    def test_a_renamed_base_is_still_the_base(self, kept: Lab, pair: Hosts, host: str) -> None:
        alpha, beta = pair
        kept[host].run(f"zfs rename tank/a@{snapshots(kept[host], 'tank/a')[-1]} tank/a@renamed-{host}")
        text(alpha, "after the rename")
        silent(alpha, SYNC)
        assert content(beta, "tank/a") == "after the rename"

    @pytest.mark.parametrize("host", ["alpha", "beta"])
    def test_a_new_snapshot_with_the_name_of_the_base_is_not_the_base(self, kept: Lab, pair: Hosts, host: str) -> None:
        alpha, beta = pair
        name = base(alpha, beta)
        full = f"tank/a@{name}"
        text(alpha, "before the trick")
        kept[host].run(f"zpool sync; zfs release zrep {full} && zfs destroy {full} && zfs snapshot {full}")
        if host == "alpha":  # of the real one there is a bookmark
            silent(alpha, CRON)
            assert content(beta, "tank/a") == "before the trick"
            alpha.run(f"zfs destroy {full}")
            return
        with unchanged(kept):
            tells(alpha, CRON, REFUSED, "tank/a: ")
        for each in kept:
            each.run(f"zfs release zrep {full}; zfs destroy {full}", check=False)
        silent(alpha, f"{SYNC} -f")
        assert content(beta, "tank/a") == "before the trick"

    def test_a_snapshot_of_the_administrator_on_the_replica_is_kept(self, pair: Hosts) -> None:
        alpha, beta = pair
        beta.run("zfs snapshot tank/a@admin")
        text(alpha, "after it")
        silent(alpha, SYNC)
        assert "admin" in snapshots(beta, "tank/a")
        assert content(beta, "tank/a") == "after it"
        beta.run("zfs destroy tank/a@admin")

    def test_expire_leaves_what_somebody_else_holds(self, pair: Hosts) -> None:
        alpha, beta = pair
        old = base(alpha, beta)
        for host in pair:
            host.run(f"zfs hold backup tank/a@{old} && zfs set zrep:savecount=1 tank/a")
        for n in range(2):
            text(alpha, str(n))
            silent(alpha, SYNC)
        for host in pair:
            found = snapshots(host, "tank/a")
            assert old in found
            assert len([name for name in found if name.startswith("zrep_")]) <= 2
            host.run(f"zfs release backup tank/a@{old} && zfs set zrep:savecount=5 tank/a")


class TestFence:
    """takeover -L of a replica that nobody touches afterwards: the old master's next stream is not accepted."""

    @pytest.mark.parametrize("kind", ["", "-V 8M -s"], ids=["filesystem", "volume"])
    def test_a_stream_sent_by_hand_is_refused(self, hosts: Hosts, kind: str) -> None:
        alpha, beta = hosts
        mountpoint = "" if kind else "-o mountpoint=none"
        alpha.run(f"zfs create {kind} {mountpoint} tank/a")
        alpha.run(INIT)
        if not kind:
            beta.run("zfs set mountpoint=none tank/a")
        alone(beta, "tank/a")
        alpha.run("zfs snapshot tank/a@hand")
        arrived = newest_guid(beta, "tank/a")
        for receive in ("zfs receive -u tank/a", "zfs receive -u -F tank/a"):
            stream = f"zfs send -i @{base(alpha, beta)} tank/a@hand"
            done = alpha.run(f"{stream} | ssh beta {receive}", check=False)
            assert done.rc != 0, receive
            assert newest_guid(beta, "tank/a") == arrived
        assert role(beta, "tank/a")["zrep:master"] == "yes"
        tells(alpha, SYNC, REFUSED, "the master role has moved")
        assert newest_guid(beta, "tank/a") == arrived
