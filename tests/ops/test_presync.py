"""What a role change sends while the master still takes writes: the master's pool and floor decide, from either end."""

from __future__ import annotations

import pytest

from tests.ops import pairs
from tests.ops.hosts import Hosts, Work
from tests.ops.pairs import A, B, good
from zrep.ops import role_change
from zrep.ops.changeconfig import Config

EITHER_END = pytest.mark.parametrize(
    ("host", "work"),
    [("alpha", pairs.failing_over(A)), ("beta", pairs.taking_over(B))],
    ids=["failover on the master", "takeover on the replica"],
)


@pytest.fixture(autouse=True)
def always_something_to_send(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(role_change, "_SMALL_DELTA", 0)


def pools_asked(hosts: Hosts) -> list[str]:
    return [command.host for command in hosts.wire.log if command.argv[:2] == ("zpool", "list")]


@EITHER_END
def test_the_floor_of_the_master_stops_it(hosts: Hosts, host: str, work: Work) -> None:
    pairs.linked(hosts)
    good(hosts.run("alpha", pairs.changing(A, Config(minfree="900T"))))
    pairs.written(hosts)
    hosts.wire.reset()
    ended = hosts.run(host, work)
    assert ended.code == 1
    assert "pool tank is too full for a new snapshot" in ended.text
    assert "the floor is 900T" in ended.text
    assert pairs.value(hosts, "alpha", A, "readonly") == "off"
    assert pools_asked(hosts) == ["alpha"]


@EITHER_END
def test_the_floor_of_the_replica_does_not(hosts: Hosts, host: str, work: Work) -> None:
    pairs.linked(hosts)
    good(hosts.run("beta", pairs.changing(B, Config(minfree="900T"))))
    pairs.written(hosts)
    hosts.wire.reset()
    good(hosts.run(host, work))
    assert pairs.value(hosts, "beta", B, "zrep:master") == "yes"
    assert pools_asked(hosts) == ["alpha"]
