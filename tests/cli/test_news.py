"""What cron mails: changes, not every minute."""

from __future__ import annotations

from tests.ops import pairs
from tests.ops.hosts import Ended, Hosts
from tests.ops.pairs import SYNC_ALL, good
from zrep.cli.news import suppress_repeats
from zrep.ops.sync import sync

DAY = 86400


def cron(hosts: Hosts) -> Ended:
    return hosts.run("alpha", lambda session: suppress_repeats(session, sync(session, [])))


def mailed(ended: Ended) -> list[str]:
    return [item.error.what for item in ended.outcomes if item.error and not item.told and not item.skipped]


def test_a_peer_that_is_down_is_one_line_and_its_return_another(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts.wire.cut = True
    first = cron(hosts)
    assert (first.code, len(mailed(first))) == (5, 1)
    for _ in range(5):
        again = cron(hosts)
        assert (again.code, mailed(again)) == (5, [])
    hosts.wire.cut = False
    hosts.said.clear()
    good(cron(hosts))
    [line] = hosts.said
    assert line == "lost beta: over after 6m"
    hosts.said.clear()
    good(cron(hosts))
    assert hosts.said == []


def test_another_trouble_is_news(hosts: Hosts) -> None:
    pairs.diverged(hosts)
    hosts.wire.cut = True
    assert len(mailed(cron(hosts))) == 1
    hosts.wire.cut = False
    assert mailed(cron(hosts)) == ["the master role has moved to tank/b on beta"]
    assert mailed(cron(hosts)) == []


def test_it_is_said_again_after_a_day(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts.wire.cut = True
    cron(hosts)
    hosts.world.pass_time(DAY)
    assert len(mailed(cron(hosts))) == 1
    assert mailed(cron(hosts)) == []


def test_a_person_hears_it_every_time(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts.wire.cut = True
    for _ in range(2):
        assert len(mailed(hosts.run("alpha", SYNC_ALL))) == 1


def test_a_lost_record_costs_a_line(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts.wire.cut = True
    cron(hosts)
    for path in (hosts.directory / "alpha" / "state").iterdir():
        path.write_text('{"said": [1, {"tank/a": 2}]}')
    assert len(mailed(cron(hosts))) == 1
    assert mailed(cron(hosts)) == []
