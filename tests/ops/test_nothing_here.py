"""Silence is only for success: a command for all pairs where there is none says so. A tag may be a typing mistake."""

from __future__ import annotations

import pytest

from tests.ops import pairs
from tests.ops.hosts import Hosts, Work
from tests.ops.pairs import SYNC_ALL, good
from zrep.core.errors import RefusedError
from zrep.ops.history import history
from zrep.ops.status import status

ALL = pytest.mark.parametrize(
    "work", [SYNC_ALL, pairs.expiring(), lambda session: status(session, [])], ids=["sync", "expire", "status"]
)


@ALL
def test_a_tag_nobody_uses_is_refused_with_those_that_are_used(hosts: Hosts, work: Work) -> None:
    """The advice is for that tag, whichever was named before it: zrep status -t zrep,offsiet."""
    pairs.linked(hosts)
    ended = hosts.run("alpha", work, tag="offsiet")
    assert ended.code == 3
    assert ended.text == (
        "no filesystem on alpha is replicated under the tag offsiet (tags with pairs here: zrep); "
        "next: zrep -t offsiet init FS HOST DEST_FS; or, if that is how it should be, --may-be-empty"
    )


@ALL
def test_a_host_without_any_pair_is_refused(hosts: Hosts, work: Work) -> None:
    ended = hosts.run("beta", work)
    assert (ended.code, "nor under any other tag" in ended.text) == (3, True)


def test_what_has_no_such_option_does_not_name_it(hosts: Hosts) -> None:
    with hosts.session("beta") as session, pytest.raises(RefusedError) as caught:
        history(session, [])
    assert "may-be-empty" not in caught.value.line()


@ALL
def test_that_nothing_is_here_may_be_meant(hosts: Hosts, work: Work) -> None:
    good(hosts.run("beta", work, may_be_empty=True))


def test_a_host_of_replicas_has_nothing_to_send_and_all_is_well(hosts: Hosts) -> None:
    pairs.linked(hosts)
    good(hosts.run("beta", SYNC_ALL))
