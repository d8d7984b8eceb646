"""When a replica is older than it may be: from both sides the same."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.core.make import MASTER, REPLICA, member
from zrep.core.age import SENDING, UNLESS_SET, judge_age, longest_lag
from zrep.core.busy import Holder
from zrep.core.dataset import Member
from zrep.core.diagnosis import diagnose
from zrep.core.errors import BusyError, RefusedError, UnreachableError, ZrepError
from zrep.core.moving import Moving
from zrep.core.pair_state import Diagnosis, State
from zrep.core.quantities import seconds
from zrep.core.role import Intent, Role

NOW, LIMIT = 1_800_000_000, 900
MINUTES_20, SECOND, DAY = 1200, 1, 86400
LIMITED, LIMITED_THERE = replace(MASTER, max_lag=LIMIT), replace(REPLICA, max_lag=LIMIT)
UNREACHABLE = UnreachableError("cannot reach it", evidence="No route to host")
TOO_OLD = "it was not synced for 20m, longer than its --max-lag of 15m: "
CRON = "does cron on alpha run zrep sync all?"


def judged(
    mine: Member,
    theirs: Member | ZrepError | None,
    synced: int | None,
    behind: int | None = 0,
    paused: int | None = None,
) -> tuple[str, int, str, str]:
    other = theirs if isinstance(theirs, Member) else None
    known = [] if synced is None else [NOW - synced]
    found = judge_age(diagnose("zrep", mine, theirs), mine, other, known=known, paused=paused, behind=behind, now=NOW)
    return found.state.word, found.code, found.evidence, found.advice


def too_old(
    found: Diagnosis,
    here: Member,
    there: Member,
    moving: Moving | None = None,
    holder: Holder | None = None,
    failed: str = "",
) -> Diagnosis:
    """What becomes of a pair that was in step twenty minutes ago, two kilobytes written since."""
    known = [NOW - MINUTES_20]
    return judge_age(
        found, here, there, known=known, paused=None, behind=2048, now=NOW, moving=moving, holder=holder, failed=failed
    )


def cause(mine: Member, theirs: Member | ZrepError | None, synced: int, paused: int | None = None) -> str:
    other = theirs if isinstance(theirs, Member) else None
    known = [NOW - synced]
    return judge_age(diagnose("zrep", mine, theirs), mine, other, known=known, paused=paused, behind=0, now=NOW).cause


def sides(master: Role = LIMITED, replica: Role = REPLICA) -> tuple[Member, Member]:
    return member("tank/a", master, "1hs"), member("tank/b", replica, "1hs", readonly="on")


@pytest.mark.parametrize(("master", "replica"), [(LIMITED, REPLICA), (MASTER, LIMITED_THERE), (LIMITED, LIMITED_THERE)])
@pytest.mark.parametrize(
    ("behind", "why"), [(0, f"nothing was written since; {CRON}"), (2048, f"2.0K written since; {CRON}"), (None, CRON)]
)
def test_not_synced_for_longer_is_late_on_whichever_side_it_was_set(
    master: Role, replica: Role, behind: int | None, why: str
) -> None:
    here, there = sides(master, replica)
    assert judged(here, there, MINUTES_20, behind) == ("late", 1, TOO_OLD + why, "zrep sync tank/a")
    assert judged(there, here, MINUTES_20, behind) == ("late", 1, TOO_OLD + why, "on alpha: zrep sync tank/a")


@pytest.mark.parametrize(("age", "state"), [(LIMIT, "ok"), (LIMIT + SECOND, "late"), (-60, "ok"), (None, "late")])
def test_it_may_be_exactly_as_old_as_was_said(age: int | None, state: str) -> None:
    here, there = sides()
    assert judged(here, there, age)[0] == judged(there, here, age)[0] == state


def test_where_nothing_is_said_a_pair_that_nobody_syncs_is_late_after_two_days() -> None:
    unsaid = "it was not synced for 2d 1h, longer than 2d (changeconfig --max-lag: another time): "
    assert judged(*sides(MASTER), 2 * DAY) == ("ok", 0, "", "")
    assert judged(*sides(MASTER), 2 * DAY + 3600) == (
        "late",
        1,
        f"{unsaid}nothing was written since; {CRON}",
        "zrep sync tank/a",
    )
    assert judged(sides(MASTER)[0], UNREACHABLE, 2 * DAY + 1)[0] == "late"
    for paused, state in ((NOW - 2 * DAY, "paused"), (NOW - 2 * DAY - 1, "late"), (None, "paused")):
        assert judged(*sides(replace(MASTER, paused="upgrade")), 10**9, paused=paused)[0] == state
    # A pair of which nothing is known, as one of the shell zrep's: nobody has said that it is too old.
    assert judged(*sides(MASTER), None) == ("ok", 0, "", "")


def test_none_means_never() -> None:
    assert judged(*sides(replace(MASTER, max_lag=0)), 10**9) == ("ok", 0, "", "")


def test_of_two_limits_the_shorter_counts() -> None:
    assert longest_lag(replace(MASTER, max_lag=60), LIMITED) == 60
    assert longest_lag(MASTER, LIMITED) == LIMIT
    assert longest_lag(replace(MASTER, max_lag=0), LIMITED_THERE) == LIMIT
    assert longest_lag(MASTER, replace(REPLICA, max_lag=0)) == 0
    assert longest_lag(MASTER, REPLICA) == UNLESS_SET == 2 * DAY


@pytest.mark.parametrize(
    ("since", "state", "evidence"),
    [
        (NOW - LIMIT, "paused", "upgrade"),
        (NOW - MINUTES_20, "late", "it is paused for 20m, longer than its --max-lag of 15m: upgrade"),
        (None, "late", "it is paused for a time that is not known, longer than its --max-lag of 15m: upgrade"),
    ],
)
def test_a_pause_may_last_as_long(since: int | None, state: str, evidence: str) -> None:
    here, there = sides(replace(LIMITED, paused="upgrade"))
    advice = {"late": "zrep unpause tank/a", "paused": ""}[state]
    code = int(state == "late")
    assert judged(here, there, 10**6, paused=since) == (state, code, evidence, advice)
    there_advice = f"on alpha: {advice}" if advice else ""
    assert judged(there, here, 10**6, paused=since) == (state, code, evidence, there_advice)


def test_a_peer_that_was_not_reached_for_longer_is_late_with_the_reason() -> None:
    here, there = sides(LIMITED, LIMITED_THERE)
    assert judged(here, UNREACHABLE, LIMIT)[:2] == ("peer unknown", 5)
    evidence = f"{TOO_OLD}peer unknown: cannot reach it (No route to host)"
    assert judged(here, UNREACHABLE, MINUTES_20) == ("late", 1, evidence, "zrep sync tank/a")
    assert judged(there, UNREACHABLE, MINUTES_20) == ("late", 1, evidence, "on alpha: zrep sync tank/a")


def test_what_is_to_be_done_about_a_peer_that_is_not_reached_is_one_thing() -> None:
    """And an advice, for programs too: no sync gets anywhere."""
    here, _ = sides(LIMITED)
    down = UnreachableError("cannot reach it", evidence="No route to host", advice="try: ssh beta true")
    found = diagnose("zrep", here, down)
    assert (found.evidence, found.advice) == ("cannot reach it (No route to host)", "try: ssh beta true")
    evidence = f"{TOO_OLD}peer unknown: cannot reach it (No route to host)"
    assert judged(here, down, MINUTES_20) == ("late", 1, evidence, "try: ssh beta true")


def test_programs_tell_by_one_word_why_it_is_late() -> None:
    here, there = sides(LIMITED, LIMITED_THERE)
    paused = member("tank/a", replace(LIMITED, paused="upgrade"), "1hs")
    unmounted = member("tank/a", LIMITED, "1hs", mounted="no -")
    full = BusyError("the wire to beta is full")
    assert {
        "nobody syncs": cause(here, there, MINUTES_20),
        "peer down": cause(here, UNREACHABLE, MINUTES_20),
        "wire full": cause(here, full, MINUTES_20),
        "paused": cause(paused, there, MINUTES_20, NOW - MINUTES_20),
        "not mounted": cause(unmounted, there, MINUTES_20),
        "not late": cause(here, there, LIMIT),
        "down, not late": cause(here, UNREACHABLE, LIMIT),
    } == {
        "nobody syncs": "not synced",
        "peer down": "peer unknown",
        "wire full": "peer unknown",
        "paused": "paused",
        "not mounted": "not mounted",
        "not late": "",
        "down, not late": "",
    }


MOVES, STILL = Moving(NOW - 60, NOW - 1, 42, 100), Moving(NOW - 600, NOW - 300, 42, 100)
AT_IT: Holder = ("offsite", 77)
WHO = "a zrep of the tag offsite is working on it, process 77"


@pytest.mark.parametrize(
    ("theirs", "moving", "holder", "expected"),
    [
        # age, why, next, cause
        ("there", MOVES, None, ("2.0K written since; a stream is on its way", "", SENDING)),
        ("there", STILL, None, ("2.0K written since; a stream is on its way", "", "busy")),
        ("wire full", MOVES, None, ("peer unknown: the wire to beta is full", "", SENDING)),
        ("wire full", STILL, None, ("peer unknown: the wire to beta is full", "", "peer unknown")),
        ("others move", None, None, ("2.0K written since; the wire to beta is full", "", "busy")),
        ("others move", None, AT_IT, ("2.0K written since; the wire to beta is full", "", "busy")),
        ("there", None, AT_IT, (f"2.0K written since; {WHO}", "nothing, if a long", "busy")),
        ("there", None, None, (f"2.0K written since; {CRON}", "zrep sync tank/a", "not synced")),
        ("not mounted", MOVES, None, ("not mounted: its mountpoint is /tank/a", "zfs mount tank/a", "not mounted")),
    ],
)
def test_of_what_somebody_is_sending_nobody_is_asked_whether_cron_runs(
    theirs: str, moving: Moving | None, holder: Holder | None, expected: tuple[str, str, str]
) -> None:
    """It is late all the same."""
    here, there = sides()
    if theirs == "not mounted":
        here = member("tank/a", LIMITED, "1hs", mounted="no -")
    other = there if theirs in ("there", "not mounted") else BusyError("the wire to beta is full")
    found = too_old(diagnose("zrep", here, other, moving=theirs == "others move"), here, there, moving, holder)
    why, advice, cause = expected
    assert (found.state.word, found.code, found.evidence, found.cause) == ("late", 1, TOO_OLD + why, cause)
    assert found.advice.startswith(advice)
    assert bool(found.advice) == bool(advice)


def test_of_what_a_sync_has_failed_since_nobody_is_asked_whether_cron_runs() -> None:
    here, there = sides()
    found = too_old(diagnose("zrep", here, there), here, there, failed="its last sync failed 40s ago")
    assert found.evidence == f"{TOO_OLD}2.0K written since; its last sync failed 40s ago"
    assert (found.advice, found.cause) == ("zrep sync tank/a", "not synced")  # which says why


@pytest.mark.parametrize(
    ("role", "theirs"),
    [
        (replace(LIMITED, split="kept"), None),
        (replace(LIMITED, intent=Intent("init", "f" * 16)), None),
        (LIMITED, None),
        (LIMITED, RefusedError("another zrep version")),
        (LIMITED, member("tank/b", replace(REPLICA, gen="e" * 16), "1hs")),
    ],
)
def test_what_a_person_must_decide_stays_what_it_is(role: Role, theirs: Member | ZrepError | None) -> None:
    mine = member("tank/a", role, "1hs")
    found = diagnose("zrep", mine, theirs)
    assert found.code == 3 or found.state is State.SPLIT_COPY
    assert judge_age(found, mine, None, known=[0], paused=None, behind=0, now=NOW) == found


def test_what_else_it_is_is_told_with_it() -> None:
    here = member("tank/a", LIMITED, "1hs", mounted="no -")
    found = judged(here, sides()[1], MINUTES_20)
    assert found[0] == "late"
    assert found[2] == f"{TOO_OLD}not mounted: its mountpoint is /tank/a"
    assert found[3] == "zfs mount tank/a"


@pytest.mark.parametrize(
    ("text", "found"),
    [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86400), ("0", 0)]
    + [(text, None) for text in ("", "m", "-5m", "1.5h", "15 m", "15M", "1h30m", "١٥", "9" * 10)],
)
def test_a_time_as_a_person_writes_it(text: str, found: int | None) -> None:
    assert seconds(text) == found
