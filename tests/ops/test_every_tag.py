"""Who names no tag sees the pairs of all of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from tests.ops import pairs
from tests.ops.hosts import Hosts
from tests.ops.pairs import A, B, good
from zrep.core.errors import RefusedError, UsageError
from zrep.core.settings import DEFAULT_SETTINGS
from zrep.ops.every_tag import each_tag, in_order
from zrep.ops.init_way import Request
from zrep.ops.rows import Row
from zrep.ops.status import status

X = "tank/x"


@pytest.fixture
def tagged(hosts: Hosts) -> Hosts:
    """tank/a to tank/b under the usual tag and to tank/c under another, which has tank/x too."""
    pairs.linked(hosts)
    hosts["alpha"].sh(f"zfs create {X}")
    for name, target in ((A, "tank/c"), (X, X)):
        good(hosts.run("alpha", pairs.initialising(Request(name, "beta", target)), tag="offsite"))
    return hosts


def rows(hosts: Hosts, host: str, names: Sequence[str] = (), tag: str = "zrep") -> list[Row]:
    with hosts.session(host, tag=tag) as session:
        return in_order([status(one, given) for one, given in each_tag(session, names)])


def shown(found: Sequence[Row]) -> list[tuple[str, str, str]]:
    return [(row.name, row.tag, row.state) for row in found]


def test_both_sides_show_every_pair_with_its_tag(tagged: Hosts) -> None:
    assert shown(rows(tagged, "alpha")) == [(A, "offsite", "ok"), (A, "zrep", "ok"), (X, "offsite", "ok")]
    assert shown(rows(tagged, "beta")) == [(B, "zrep", "ok"), ("tank/c", "offsite", "ok"), (X, "offsite", "ok")]


def test_a_name_is_found_under_the_tags_that_know_it(tagged: Hosts) -> None:
    assert shown(rows(tagged, "alpha", [X])) == [(X, "offsite", "ok")]
    assert shown(rows(tagged, "alpha", [A, X])) == shown(rows(tagged, "alpha"))
    with pytest.raises(RefusedError, match="no such filesystem"):
        rows(tagged, "alpha", [A, "tank/nothing"])


def test_who_names_a_tag_sees_that_alone(tagged: Hosts) -> None:
    tagged.settings = replace(DEFAULT_SETTINGS, every_tag=False)
    assert shown(rows(tagged, "alpha", tag="offsite")) == [(A, "offsite", "ok"), (X, "offsite", "ok")]
    assert shown(rows(tagged, "alpha")) == [(A, "zrep", "ok")]


def test_who_names_several_sees_those_and_hears_of_one_that_is_none(tagged: Hosts) -> None:
    tagged.settings = DEFAULT_SETTINGS.of_several("zrep,offsite,zrep")
    assert shown(rows(tagged, "alpha")) == [(A, "offsite", "ok"), (A, "zrep", "ok"), (X, "offsite", "ok")]
    assert shown(rows(tagged, "alpha", [X])) == [(X, "offsite", "ok")]
    for wrong in ("zrep,offsiet", "offsiet,zrep"):
        tagged.settings = DEFAULT_SETTINGS.of_several(wrong)
        with pytest.raises(RefusedError, match="no filesystem on alpha is replicated under the tag offsiet"):
            rows(tagged, "alpha", tag=tagged.settings.tag)
    for wrong in ("zrep,", "zrep,A B"):
        with pytest.raises(UsageError):
            DEFAULT_SETTINGS.of_several(wrong)


def test_a_host_without_the_usual_tag_is_no_mistake_and_one_without_any_is(tagged: Hosts) -> None:
    good(tagged.run("alpha", pairs.clearing(A)))
    assert shown(rows(tagged, "alpha")) == [(A, "offsite", "ok"), (X, "offsite", "ok")]
    for name in (A, X):
        good(tagged.run("alpha", pairs.clearing(name), tag="offsite"))
    with pytest.raises(RefusedError, match="no filesystem on alpha is replicated"):
        rows(tagged, "alpha")


def test_the_peer_is_dialled_once_for_all_tags(tagged: Hosts) -> None:
    with tagged.session("alpha") as session:
        dialled: list[str] = []
        connect = session.connect
        session.connect = lambda host: dialled.append(host) or connect(host)  # type: ignore[func-returns-value]
        for one, given in each_tag(session, []):
            status(one, given)
    assert dialled == ["beta"]
