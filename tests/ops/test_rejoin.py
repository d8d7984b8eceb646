"""What rejoin gives back to the clone that takes the place of a diverged dataset."""

from __future__ import annotations

import pytest

from tests.ops import pairs
from tests.ops.hosts import Hosts, Mode
from tests.ops.pairs import SYNC_ALL, A, B, good, value
from zrep.ops.init import Request


def test_what_was_delegated_is_delegated_again(hosts: Hosts) -> None:
    """A clone has no delegations: a user who replicates without being root would be out."""
    pairs.diverged(hosts)
    hosts["alpha"].sh(f"zfs allow -u zrep hold,release,receive {A}")
    hosts["alpha"].sh(f"zfs allow -l -g wheel mount {A}")
    hosts["alpha"].sh("zfs allow -u other send tank")
    before = hosts["alpha"].sh(f"zfs allow {A}")
    foreseen = hosts.run("alpha", pairs.rejoining(A), dry_run=True)
    assert f"alpha: zfs allow -u zrep hold,receive,release {A}" in foreseen.lines
    good(hosts.run("alpha", pairs.rejoining(A)))
    assert hosts["alpha"].sh(f"zfs allow {A}") == before


@pytest.mark.parametrize("mode", [Mode.FAIL, Mode.KILL_AFTER, Mode.PART], ids=lambda mode: mode.name.lower())
def test_a_rejoin_that_was_cut_late_is_not_carried_on_over_a_newer_role(hosts: Hosts, mode: Mode) -> None:
    """The dataset has its role and only the copy's record is left; then its new master dies and it is promoted."""
    pairs.diverged(hosts)
    before = hosts.world.dump()
    hosts.wire.reset()
    good(hosts.run("alpha", pairs.rejoining(A)))
    last = len(hosts.wire.log)
    promoted = 0
    for at in range(last):
        hosts.load(before)
        hosts.wire.reset(mode, at)
        hosts.run("alpha", pairs.rejoining(A))
        hosts.wire.reset()
        hosts.wire.cut = True
        ended = hosts.run("alpha", pairs.forcing(A))
        if ended.code != 0 or value(hosts, "alpha", A, "zrep:epoch") != "3":
            continue  # it was a master still, or nothing as long as the copy and the clone change places
        promoted += 1
        role = [value(hosts, "alpha", A, f"zrep:{name}") for name in ("master", "gen", "epoch")]
        hosts["alpha"].write(A, "after", b"the disaster")
        for cut in (True, False):
            hosts.wire.cut = cut
            hosts.run("alpha", pairs.rejoining(A))
            assert [value(hosts, "alpha", A, f"zrep:{name}") for name in ("master", "gen", "epoch")] == role, at
        assert hosts["alpha"].read(A)["after"] == b"the disaster"
        good(hosts.run("beta", pairs.rejoining(B)))
        good(hosts.run("alpha", SYNC_ALL))
    assert promoted > 3


def test_what_is_advised_of_the_root_of_a_pool_goes_past_holds(hosts: Hosts) -> None:
    """A final snapshot that is still held would stop the rollback. Found by the simulation (seed 26)."""
    hosts["alpha"].add_pool("small")
    good(hosts.run("alpha", pairs.initialising(Request("small", "beta", "tank/s"))))
    hosts["alpha"].write("small", "tail", b"mine")
    hosts["alpha"].sh("zfs snapshot small@zrep_000002")
    hosts["alpha"].sh("zfs hold zrep small@zrep_000002")
    hosts.wire.cut = True
    good(hosts.run("beta", pairs.forcing("tank/s")))
    hosts.wire.cut = False
    refused = hosts.run("alpha", pairs.rejoining("small"))
    typed = refused.text.partition("then: ")[2].partition(", then zrep rejoin small")[0].split("; ")
    assert typed == ["zfs release zrep small@zrep_000002", "zfs rollback -r small@zrep_000001"]
    for command in typed:
        hosts["alpha"].sh(command)
    good(hosts.run("alpha", pairs.rejoining("small")))


def test_the_root_of_a_pool_is_not_given_up_half_way(hosts: Hosts) -> None:
    """It cannot be renamed: refused before its role goes, and what is advised leads on."""
    hosts["alpha"].add_pool("small")
    hosts["alpha"].write("small", "one", b"1")
    good(hosts.run("alpha", pairs.initialising(Request("small", "beta", "tank/s"))))
    hosts["alpha"].write("small", "tail", b"mine")
    hosts.wire.cut = True
    good(hosts.run("beta", pairs.forcing("tank/s")))
    hosts.wire.cut = False
    hosts["alpha"].sh("zfs umount small")
    for dry_run in (True, False):
        refused = hosts.run("alpha", pairs.rejoining("small"), dry_run=dry_run)
        assert refused.code == 3
        assert "zfs rollback -r small@zrep_000001, then zrep rejoin small" in refused.text
    assert value(hosts, "alpha", "small", "zrep:master") == "yes"
    assert hosts["alpha"].read("small")["tail"] == b"mine"
    hosts["alpha"].sh("zfs rollback -r small@zrep_000001")
    good(hosts.run("alpha", pairs.rejoining("small")))
    good(hosts.run("beta", SYNC_ALL))
