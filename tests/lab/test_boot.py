"""A host that was master starts again: nothing is written there before its peer has said who is master."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.hosts import Host, Lab
from tests.lab.zrep_on import made, silent

pytestmark = pytest.mark.lab

# Where zrep-boot.service stands: the pools are imported, and nothing is mounted yet.
_UNIT = r"sed -i 's#^        zfs mount -a#        /usr/local/bin/zrep boot > /boot.log 2>\&1; zfs mount -a#' /lab/pools"
_NO_UNIT = r"sed -i 's#/usr/local/bin/zrep boot > /boot.log 2>&1; ##' /lab/pools"
_WRITES = "echo late >> /tank/a/file"
_WRITES_DEVICE = (
    "timeout 60 sh -c 'until ls /dev/zd* > /dev/null 2>&1; do sleep 0.1; done'; "
    "dd if=/dev/zero of=/dev/zd0 bs=4k count=1 conv=fsync,notrunc"
)
ASK = "zrep boot --ask --wait 10s"


@pytest.fixture(scope="module")
def pair(lab: Lab) -> Iterator[tuple[Host, Host]]:
    """alpha, master of a pair and of a volume's, with the unit."""
    lab.reset()
    alpha, beta = lab
    made(alpha, "tank/a")
    alpha.run("zfs create -V 16M tank/v")
    for name in "av":
        silent(alpha, f"zrep init tank/{name} beta tank/{name}")
    alpha.run(f"{_UNIT}; grep -c 'zrep boot' /lab/pools; sync")
    yield alpha, beta
    lab.heal()
    alpha.run(_NO_UNIT)


def power_cycled(alpha: Host) -> None:
    """Power loss and a start, after which everything that is mounted is read-only."""
    alpha.power_off()
    alpha.boot()
    assert "read-only until beta has said who is master" in alpha.run("zrep boot -v; cat /boot.log").out
    assert " zfs ro," in alpha.run("grep ' /tank/a ' /proc/mounts").out
    assert alpha.run(_WRITES, check=False).rc != 0
    assert alpha.run(_WRITES_DEVICE, check=False).rc != 0


def readonly(host: Host) -> list[str]:
    return host.run("zfs get -H -o value,source readonly tank/a tank/v").lines


class TestBoot:
    def test_the_right_master_is_writable_again_once_its_peer_has_answered(self, pair: tuple[Host, Host]) -> None:
        alpha, _ = pair
        was = readonly(alpha)
        power_cycled(alpha)
        alpha.run(ASK)
        assert readonly(alpha) == was
        alpha.run(f"{_WRITES}; zrep sync all")

    @pytest.mark.thorough
    def test_without_the_peer_it_waits_so_long_and_does_what_was_asked_for(
        self, pair: tuple[Host, Host], lab: Lab
    ) -> None:
        alpha, beta = pair
        power_cycled(alpha)
        lab.cut(beta)
        waited = alpha.run(ASK, check=False, timeout=120)
        assert (waited.rc, waited.err.count("to go on without it: zrep takeover -L tank/")) == (5, 2), waited
        assert alpha.run(_WRITES, check=False).rc != 0
        alpha.run(f"{ASK} --open", timeout=120)
        alpha.run(_WRITES)
        lab.heal()
        alpha.run("zrep sync all")

    def test_a_role_that_was_taken_meanwhile_is_not_written_under(self, pair: tuple[Host, Host]) -> None:
        alpha, beta = pair
        alpha.power_off()
        beta.run("zrep takeover -L --yes tank/a", timeout=120)
        beta.run("echo beta >> /tank/a/file")
        power_cycled(alpha)
        asked = alpha.run(f"{ASK} --open", check=False, timeout=120)
        assert asked.rc == 3
        assert "the master role has moved to tank/a on beta" in asked.err
        assert alpha.run(_WRITES, check=False).rc != 0
        alpha.run(_WRITES_DEVICE)  # of this it is the master
        alpha.run("zrep rejoin tank/a", timeout=120)
        assert not [name for name in alpha.run("zfs list -H -o name").lines if "split" in name]
