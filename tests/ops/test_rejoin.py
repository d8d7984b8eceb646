"""What rejoin gives back to the clone that takes the place of a diverged dataset."""

from __future__ import annotations

from tests.ops import pairs
from tests.ops.hosts import Hosts
from tests.ops.pairs import A, good


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
