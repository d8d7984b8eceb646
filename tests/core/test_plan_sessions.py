"""Which streams share a session, and how many sessions there are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from hypothesis import given, settings
from hypothesis import strategies as st

from zrep.core.plan_sessions import (
    OWN_SESSION_BYTES,
    SESSION_BYTES,
    SESSION_STREAMS,
    STREAMS_WORTH_A_SESSION,
    Parcel,
    plan_sessions,
)


def test_a_few_small_streams_are_one_session() -> None:
    assert plan_sessions([Parcel(size) for size in (300, 100, 200, 100)], 4) == ((0, 1, 2, 3),)


def test_many_are_as_many_sessions_as_may_be_open_at_the_same_time() -> None:
    assert len(plan_sessions([Parcel(100)] * 100, 4)) == 4
    assert len(plan_sessions([Parcel(100)] * 100, 2)) == 4  # so many that none has more than it may carry
    assert len(plan_sessions([Parcel(100)] * (STREAMS_WORTH_A_SESSION + 1), 4)) == 2


def test_sessions_are_filled_alike() -> None:
    sizes = [OWN_SESSION_BYTES, 10, 10, OWN_SESSION_BYTES, *[10] * (STREAMS_WORTH_A_SESSION - 2)]
    one, other = plan_sessions([Parcel(size) for size in sizes], 4)
    assert sum(0 in session for session in (one, other)) == 1
    assert (0 in one) != (3 in one)


def test_one_that_has_its_own_shares_with_none() -> None:
    parcels = [Parcel(1), Parcel(OWN_SESSION_BYTES * 9, alone=True), Parcel(1), Parcel(1, alone=True)]
    assert set(plan_sessions(parcels, 4)) == {(0, 2), (1,), (3,)}


def test_only_those_of_one_kind_share() -> None:
    parcels = [Parcel(1, kind=("a", "b")), Parcel(1, kind=("a", "c")), Parcel(1, kind=("a", "b"))]
    assert set(plan_sessions(parcels, 4)) == {(0, 2), (1,)}


def test_what_waits_for_others_is_in_a_later_session() -> None:
    parcels = [Parcel(1, level=2), Parcel(1), Parcel(1, level=1), Parcel(9, alone=True), Parcel(1, level=1)]
    found = plan_sessions(parcels, 4)
    assert found[-2:] == ((2, 4), (0,))
    assert set(found[:2]) == {(1,), (3,)}


PARCELS = st.lists(
    st.builds(
        Parcel,
        size=st.integers(0, OWN_SESSION_BYTES),
        alone=st.booleans(),
        kind=st.sampled_from("ab"),
        level=st.integers(0, 2),
    ),
    max_size=100,
)


@settings(deadline=None)  # a machine that is busy
@given(PARCELS, st.integers(1, 9))
def test_each_is_in_one_session_that_is_not_too_large(parcels: Sequence[Parcel], most: int) -> None:
    found = plan_sessions(parcels, most)
    assert sorted(chain.from_iterable(found)) == list(range(len(parcels)))
    for session in found:
        assert list(session) == sorted(session)
        assert len(session) <= SESSION_STREAMS or sum(parcels[number].size for number in session) <= SESSION_BYTES
        assert len({(parcels[number].level, parcels[number].kind) for number in session}) == 1
        assert len(session) == 1 or not any(parcels[number].alone for number in session)
    levels = [parcels[session[0]].level for session in found]
    assert levels == sorted(levels)
