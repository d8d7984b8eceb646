"""What state a pair is in, from both sides: the same reading gives both hosts the same thing to do."""

from __future__ import annotations

import re
from itertools import product

import pytest
from msgspec.structs import replace

from tests.core.make import GEN, MASTER, NEW, OLD, REPLICA, intent, member
from zrep.core.dataset import Member
from zrep.core.diagnosis import diagnose, diagnose_alone
from zrep.core.errors import BusyError, FailedError, RefusedError, UnreachableError, ZrepError
from zrep.core.pair import End
from zrep.core.pair_state import Action, Diagnosis, State
from zrep.core.repair import Repair, next_repair
from zrep.core.role import Intent, Role

A, B = "tank/a", "tank/b"
TURNED = Role("beta", B, "alpha", A, master=True, savecount=5, epoch=2, gen=NEW, parents=(GEN,))
FOLLOWER = replace(TURNED, master=False)
FORCED = replace(TURNED, alone=True)
OTHER = replace(MASTER, gen=OLD, parents=(GEN,))
REJOIN = Intent("rejoin", NEW, "split", 1, {"fs": A})
COPY = f"{A}_split_1_11111111"


def with_intent(role: Role, operation: str, identity: str = NEW, **about: bool) -> Role:
    return replace(role, intent=intent(operation, identity), **about)


def alpha(role: Role = MASTER, snapshots: str = "1hs", written: int = 0, name: str = A) -> Member:
    return member(name, role, snapshots, written)


def beta(role: Role = REPLICA, snapshots: str = "1hs", written: int = 0, name: str = B) -> Member:
    return member(name, role, snapshots, written)


# what it is about; the two sides; the state and the advice on alpha, then on beta
BOTH: list[tuple[str, Member, Member, State, str, State, str]] = [
    ("linked", alpha(), beta(), State.OK, "", State.OK, ""),
    ("the role has moved and back is linked", alpha(FOLLOWER), beta(TURNED), State.OK, "", State.OK, ""),
    ("the shell zrep's", alpha(replace(MASTER, gen="", epoch=None)), beta(replace(REPLICA, gen="", epoch=None)),
     State.OK, "", State.OK, ""),
    ("paused", alpha(replace(MASTER, paused="x since")), beta(), State.PAUSED, "", State.PAUSED, ""),
    ("init was cut", alpha(with_intent(MASTER, "init")), beta(),
     State.INIT_UNFINISHED, "zrep init tank/a beta tank/b",
     State.INIT_UNFINISHED, "on alpha: zrep init tank/a beta tank/b"),
    ("a role change before its commit", alpha(with_intent(MASTER, "failover")), beta(),
     State.ROLE_CHANGE_UNFINISHED, "zrep sync tank/a", State.ROLE_CHANGE_UNFINISHED, "on alpha: zrep sync tank/a"),
    ("the role was taken, the old master not told", alpha(with_intent(MASTER, "failover")), beta(TURNED),
     State.ROLE_CHANGE_UNFINISHED, "zrep sync tank/a", State.ROLE_CHANGE_UNFINISHED, "zrep sync tank/b"),
    ("a role that landed in part", alpha(FOLLOWER), beta(with_intent(TURNED, "promote", partially_applied=True)),
     State.ROLE_CHANGE_UNFINISHED, "on beta: zrep sync tank/b", State.ROLE_CHANGE_UNFINISHED, "zrep sync tank/b"),
    ("a new master that was not opened", alpha(FOLLOWER), beta(with_intent(TURNED, "promote")),
     State.ROLE_CHANGE_UNFINISHED, "on beta: zrep sync tank/b", State.ROLE_CHANGE_UNFINISHED, "zrep sync tank/b"),
    ("stopped by its lease", alpha(with_intent(MASTER, "stopped", GEN)), beta(),
     State.STOPPED, "zrep sync tank/a", State.STOPPED, "on alpha: zrep sync tank/a"),
    ("promoted alone", alpha(), beta(FORCED),
     State.STALE_MASTER, "zrep rejoin tank/a", State.PEER_STALE, "on alpha: zrep rejoin tank/a"),
    ("promoted alone, not opened", alpha(), beta(with_intent(FORCED, "promote")),
     State.STALE_MASTER, "zrep rejoin tank/a", State.PEER_STALE, "on alpha: zrep rejoin tank/a"),
    ("promoted alone in the middle of another role change", alpha(with_intent(MASTER, "failover", OLD)), beta(FORCED),
     State.STALE_MASTER, "zrep rejoin tank/a", State.PEER_STALE, "on alpha: zrep rejoin tank/a"),
    ("both were promoted", alpha(OTHER), beta(TURNED),
     State.SPLIT_BRAIN, "decide which side to give up (its data stays in a split copy): "
     "zrep rejoin -f tank/a here, or on beta: zrep rejoin -f tank/b",
     State.SPLIT_BRAIN, "decide which side to give up (its data stays in a split copy): "
     "zrep rejoin -f tank/b here, or on alpha: zrep rejoin -f tank/a"),
    ("the rejoin was cut before the split", alpha(replace(MASTER, master=False, intent=REJOIN)), beta(TURNED),
     State.REJOIN_UNFINISHED, "zrep rejoin tank/a", State.REJOIN_UNFINISHED, "on alpha: zrep rejoin tank/a"),
    ("unrelated", alpha(), beta(replace(TURNED, parents=())),
     State.UNRELATED, "to start over: zrep clear tank/a, then zrep init to a new target",
     State.UNRELATED, "to start over: zrep clear tank/b, then zrep init to a new target"),
    ("no common snapshot", alpha(snapshots="1"), beta(snapshots="2"),
     State.NO_COMMON_SNAPSHOT, "zrep clear tank/a, then zrep init to a new target",
     State.NO_COMMON_SNAPSHOT, "on alpha: zrep clear tank/a, then zrep init to a new target"),
    ("somebody wrote to the replica", alpha(), beta(written=4096),
     State.REPLICA_MODIFIED, "to throw that away: zrep sync -f tank/a",
     State.REPLICA_MODIFIED, "to throw that away: on alpha: zrep sync -f tank/a"),
    ("somebody wrote to the replica of a stopped master", alpha(with_intent(MASTER, "stopped", GEN)), beta(written=1),
     State.REPLICA_MODIFIED, "to throw that away: zrep sync -f tank/a",
     State.REPLICA_MODIFIED, "to throw that away: on alpha: zrep sync -f tank/a"),
    ("somebody's snapshot on the replica", alpha(), beta(snapshots="1hs weekly"), State.OK, "", State.OK, ""),
    ("renamed there, only this side knows", alpha(replace(MASTER, dest_fs="tank/new")), beta(name="tank/new"),
     State.RENAMED, "on beta: zrep changeconfig tank/new",
     State.RENAMED, "zrep changeconfig tank/new, then on alpha: zrep changeconfig tank/a beta tank/new"),
]  # fmt: skip


def seen(diagnosis: Diagnosis) -> tuple[State, str]:
    return diagnosis.state, diagnosis.advice


@pytest.mark.parametrize("row", BOTH, ids=[row[0] for row in BOTH])
def test_both_sides_see_the_same_pair(row: tuple[str, Member, Member, State, str, State, str]) -> None:
    _, here, there, state, advice, state_there, advice_there = row
    assert seen(diagnose("zrep", here, there)) == (state, advice)
    assert seen(diagnose("zrep", there, here)) == (state_there, advice_there)


# --- the other half is not under its name ---

LOST_FOR_GOOD = "if it is lost for good: zrep clear tank/a, then zrep init again"
# what the peer has; what alpha, a master whose peer has no tank/b, is told
ELSEWHERE: list[tuple[str, dict[str, Role], State, str]] = [
    ("nothing", {}, State.PEER_MISSING, LOST_FOR_GOOD),
    ("others", {"tank/x": replace(REPLICA, gen=OLD, dest_fs="tank/x")}, State.PEER_MISSING, LOST_FOR_GOOD),
    ("one of the shell zrep", {"tank/x": Role("alpha", "tank/x", "beta", "tank/x", master=False)},
     State.PEER_MISSING, LOST_FOR_GOOD),
    ("it, under another name", {"tank/new": REPLICA},
     State.RENAMED, "on beta: zrep changeconfig tank/new, then here: zrep changeconfig tank/a beta tank/new"),
    ("it, and it knows its new name", {"tank/new": replace(REPLICA, dest_fs="tank/new")},
     State.RENAMED, "zrep changeconfig tank/a beta tank/new"),
    ("it, promoted under its new name", {"tank/new": replace(TURNED, src_fs="tank/new")},
     State.RENAMED, "zrep changeconfig tank/a beta tank/new"),
    ("a copy with the record of its rejoin", {"tank/b_split_1": Role(intent=Intent("rejoin", NEW, detail={"fs": B}))},
     State.REJOIN_UNFINISHED, "on beta: zrep rejoin tank/b"),
    ("a copy with the record of another's", {"tank/c_split_1": Role(intent=Intent("rejoin", NEW, detail={"fs": "c"}))},
     State.PEER_MISSING, LOST_FOR_GOOD),
]  # fmt: skip


@pytest.mark.parametrize("row", ELSEWHERE, ids=[row[0] for row in ELSEWHERE])
def test_a_peer_that_is_missing_may_have_another_name(row: tuple[str, dict[str, Role], State, str]) -> None:
    _, roles, state, advice = row
    assert seen(diagnose("zrep", alpha(), None, elsewhere=roles)) == (state, advice)


def test_a_peer_that_does_not_know_the_new_name_of_this_side_is_to_learn_it() -> None:
    renamed = alpha(replace(MASTER, src_fs="tank/new"), name="tank/new")
    assert seen(diagnose("zrep", renamed, beta())) == (
        State.RENAMED,
        "on beta: zrep changeconfig tank/b alpha tank/new",
    )


def test_a_pair_of_the_shell_zrep_is_known_by_the_other_names() -> None:
    shell = replace(MASTER, gen="", epoch=None)
    renamed = replace(REPLICA, gen="", epoch=None, dest_fs="tank/new")
    assert diagnose("zrep", alpha(shell), None, elsewhere={"tank/new": renamed}).state is State.RENAMED


def test_a_clone_in_the_place_of_a_rejoin_that_was_cut_is_nothing_to_start_over_for() -> None:
    """It has no role yet; the record is on the copy."""
    copy = replace(MASTER, master=False, intent=REJOIN)
    found = diagnose("zrep", beta(FORCED), alpha(Role(savecount=5)), elsewhere={COPY: copy})
    assert seen(found) == (State.REJOIN_UNFINISHED, "on alpha: zrep rejoin tank/a")


# --- one side ---

ALONE: list[tuple[str, str, Role, State, str]] = [
    ("a master", A, MASTER, State.OK, ""),
    ("a replica", B, REPLICA, State.OK, ""),
    ("paused", A, replace(MASTER, paused="x"), State.PAUSED, ""),
    ("a split copy", COPY, Role(split="what it held alone"), State.SPLIT_COPY, ""),
    ("a copy whose rejoin was cut", COPY, replace(MASTER, intent=REJOIN),
     State.REJOIN_UNFINISHED, "zrep rejoin tank/a"),
    ("the same, all but told", COPY, Role(split="what it held alone", intent=REJOIN),
     State.REJOIN_UNFINISHED, "zrep rejoin tank/a"),
    ("by hand", A, replace(MASTER, unreadable="zrep:master is 'maybe'"), State.UNREADABLE,
     "update zrep on both hosts, or set right what was changed by hand: zrep list -v tank/a"),
    ("renamed", "tank/n", REPLICA, State.RENAMED,
     "zrep changeconfig tank/n, then on alpha: zrep changeconfig tank/a beta tank/n"),
    ("an init", A, with_intent(MASTER, "init"), State.INIT_UNFINISHED, "zrep init tank/a beta tank/b"),
    ("an init that landed in part", A, with_intent(replace(MASTER, master=None), "init"),
     State.INIT_UNFINISHED, "zrep init tank/a beta tank/b"),
    ("an init, renamed since", "tank/n", with_intent(MASTER, "init"), State.RENAMED,
     "zrep changeconfig tank/n, then on beta: zrep changeconfig tank/b alpha tank/n"),
    ("a role change", A, with_intent(MASTER, "failover"), State.ROLE_CHANGE_UNFINISHED, "zrep sync tank/a"),
    ("a promotion", B, with_intent(TURNED, "promote"), State.ROLE_CHANGE_UNFINISHED, "zrep sync tank/b"),
    ("a promotion alone", B, with_intent(FORCED, "promote"), State.ROLE_CHANGE_UNFINISHED, "zrep takeover -L tank/b"),
    ("one that was cancelled", B, with_intent(REPLICA, "cancelled"), State.OK, ""),
    ("stopped", A, with_intent(MASTER, "stopped"), State.STOPPED, "zrep sync tank/a"),
    ("a name with a space", "tank/my data", replace(with_intent(MASTER, "stopped"), src_fs="tank/my data"),
     State.STOPPED, "zrep sync 'tank/my data'"),
]  # fmt: skip


@pytest.mark.parametrize("row", ALONE, ids=[row[0] for row in ALONE])
def test_what_one_side_knows(row: tuple[str, str, Role, State, str]) -> None:
    _, name, role, state, advice = row
    assert seen(diagnose_alone(name, role)) == (state, advice)


LOST = UnreachableError("lost beta", evidence="the link is cut")
# state and exit status of what one side knows, while the peer cannot be asked
UNASKED: list[tuple[str, Role, ZrepError, State, int, str]] = [
    ("a master", MASTER, LOST, State.PEER_UNKNOWN, 5, ""),
    ("paused", replace(MASTER, paused="x"), LOST, State.PEER_UNKNOWN, 5, ""),
    ("the peer answers, but fails", MASTER, FailedError("no"), State.PEER_UNKNOWN, 1, ""),
    ("stopped by its lease", with_intent(MASTER, "stopped"), LOST, State.STOPPED, 5, ""),
    ("an init", with_intent(MASTER, "init"), LOST, State.INIT_UNFINISHED, 5, ""),
    ("a rejoin", replace(MASTER, intent=REJOIN), LOST, State.REJOIN_UNFINISHED, 3, "zrep rejoin tank/a"),
    ("promoted alone, not opened", replace(with_intent(MASTER, "promote"), alone=True), LOST,
     State.ROLE_CHANGE_UNFINISHED, 5, "zrep takeover -L tank/a"),
]  # fmt: skip


@pytest.mark.parametrize("row", UNASKED, ids=[row[0] for row in UNASKED])
def test_a_peer_that_cannot_be_asked(row: tuple[str, Role, ZrepError, State, int, str]) -> None:
    _, role, error, state, code, advice = row
    found = diagnose("zrep", alpha(role), error)
    assert (found.state, found.code, found.advice) == (state, code, advice)


# --- neither is master ---


def test_a_master_that_its_links_know_and_its_role_does_not_was_changed_by_hand() -> None:
    """No role change leaves that: each turns the links round."""
    neither = replace(REPLICA, src_fs=B)
    found = diagnose("zrep", beta(neither), beta(neither))
    assert seen(found) == (State.NO_MASTER, "on alpha: zfs set zrep:master=yes tank/b")
    found = diagnose("zrep", alpha(FOLLOWER), beta(REPLICA))
    assert seen(found)[0] is State.NO_MASTER
    assert "takeover -L" in seen(found)[1]


# --- what may be done ---


def test_a_living_shell_zrep_is_waited_for() -> None:
    found = diagnose("zrep", alpha(), beta(), shell="zrep:lock-pid 7 is alive")
    assert (found.state, found.code, found.state.action) == (State.BUSY, 4, Action.WAIT)
    assert isinstance(found.error(A), BusyError)


def test_a_refusal_says_what_status_says() -> None:
    found = diagnose("zrep", alpha(), beta(FORCED))
    error = found.error(A, "; it is read-only here now")
    assert isinstance(error, RefusedError)
    assert (error.what, error.advice) == ("the master role has moved to tank/b on beta", found.advice)
    assert error.evidence == f"{found.evidence}; it is read-only here now"


def test_only_a_side_that_cannot_be_the_right_master_stops_writes() -> None:
    stops = {state for state in State if state.action is Action.STOP_WRITES}
    assert stops == {State.STALE_MASTER, State.SPLIT_BRAIN}


REPAIRS: list[tuple[str, Role, Role, tuple[Repair, End] | None]] = [
    ("linked", MASTER, REPLICA, None),
    ("begun", with_intent(MASTER, "failover"), REPLICA, (Repair.UNDO, End.SOURCE)),
    ("taken", with_intent(MASTER, "failover"), TURNED, (Repair.DEMOTE, End.SOURCE)),
    ("taken, and not opened", with_intent(MASTER, "failover"), with_intent(TURNED, "promote"),
     (Repair.DEMOTE, End.SOURCE)),
    ("another one was made master meanwhile", with_intent(MASTER, "failover", OLD), FORCED, None),
    ("stopped", with_intent(MASTER, "stopped"), REPLICA, (Repair.RESTORE, End.SOURCE)),
    ("stopped, and rightly so", with_intent(MASTER, "stopped"), FORCED, None),
    ("landed in part", FOLLOWER, with_intent(TURNED, "promote", partially_applied=True), (Repair.COMPLETE, End.TARGET)),
    ("not opened", FOLLOWER, with_intent(TURNED, "promote"), (Repair.OPEN, End.TARGET)),
    ("alone and not opened", MASTER, with_intent(FORCED, "promote"), (Repair.OPEN, End.TARGET)),
    ("nobody was told", with_intent(FOLLOWER, "follow"), TURNED, (Repair.TELL, End.SOURCE)),
    ("it has met its peer", FOLLOWER, FORCED, (Repair.MET, End.TARGET)),
    ("it has not", MASTER, FORCED, None),
    ("cancelled", MASTER, with_intent(REPLICA, "cancelled"), None),
]  # fmt: skip


@pytest.mark.parametrize("row", REPAIRS, ids=[row[0] for row in REPAIRS])
def test_what_is_to_be_finished_first(row: tuple[str, Role, Role, tuple[Repair, End] | None]) -> None:
    """Whichever of the two is taken for the source."""
    _, one, other, expected = row
    assert next_repair(one, other) == expected
    assert next_repair(other, one) == (expected and (expected[0], expected[1].other))


# --- for every two sides ---


def roles() -> list[Role]:
    bare = [MASTER, REPLICA, TURNED, FOLLOWER, FORCED, OTHER, replace(MASTER, gen="", epoch=None)]
    intents = [None, *(intent(name, NEW) for name in ("failover", "promote", "follow", "cancelled", "stopped", "init"))]
    return [replace(role, intent=each) for role, each in product(bare, intents)]


def test_every_two_sides_have_a_state_that_says_what_to_do() -> None:
    """With the names of datasets, never with a placeholder; and where zrep is to finish something, there is something
    to finish."""
    for one, other in product(roles(), roles()):
        mine, theirs = (member(role.own_fs, role, "1hs") for role in (one, other))
        found = diagnose("zrep", mine, theirs)
        well = found.state in (State.OK, State.PAUSED)
        assert bool(found.advice) is not well, (one, other, found)
        assert not re.search(r"\b(FS|HOST|TAG)\b", found.advice), found
        if found.state.action is Action.REPAIR:
            assert next_repair(one, other) is not None, (one, other)
        if not well:
            assert found.what, found
