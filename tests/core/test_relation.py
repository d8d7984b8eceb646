"""Every row of the relation table, from both sides."""

from __future__ import annotations

from itertools import product

import pytest
from msgspec.structs import replace

from tests.core.make import GEN, MASTER, NEW, OLD, REPLICA
from zrep.core.relation import (
    Adoptable,
    Interrupted,
    Linked,
    PeerStale,
    Relation,
    SplitBrain,
    Stale,
    Unrelated,
    relate,
)
from zrep.core.role import LEGACY, Role

TURNED = Role("beta", "tank/b", "alpha", "tank/a", master=True, epoch=2, gen=NEW, parents=(GEN,))
NOBODY = Role()
SHELL_MASTER = replace(MASTER, gen="", epoch=None)
SHELL_REPLICA = replace(REPLICA, gen="", epoch=None)
ADOPTED = replace(SHELL_MASTER, gen=GEN, epoch=0, parents=(LEGACY,))

# mine, theirs, what I say, what they say
ROWS: list[tuple[str, Role, Role, type[Relation], type[Relation]]] = [
    ("one generation, one master", MASTER, REPLICA, Linked, Linked),
    ("turned round", TURNED, replace(TURNED, master=False), Linked, Linked),
    ("the role moved on", MASTER, TURNED, Stale, PeerStale),
    ("the role moved on, and I was demoted half way", replace(MASTER, master=False), TURNED, Stale, PeerStale),
    ("it moved on twice", MASTER, replace(TURNED, gen=OLD, parents=(NEW, GEN)), Stale, PeerStale),
    ("it moved on further than is remembered", MASTER, replace(TURNED, parents=(OLD,)), Unrelated, Unrelated),
    ("both were promoted", replace(MASTER, gen=OLD, parents=(GEN,)), TURNED, SplitBrain, SplitBrain),
    (
        "both were promoted, one of them twice",
        replace(MASTER, gen=OLD, parents=("b" * 16, GEN)),
        TURNED,
        SplitBrain,
        SplitBrain,
    ),
    ("one generation, two masters", MASTER, replace(REPLICA, master=True), SplitBrain, SplitBrain),
    ("one generation, no master", replace(MASTER, master=False), REPLICA, Interrupted, Interrupted),
    ("one generation, the other without a role", MASTER, replace(REPLICA, master=None), Linked, Linked),
    ("one generation, neither has a role", replace(MASTER, master=None), replace(REPLICA, master=None), Interrupted,
     Interrupted),
    ("nothing in common", MASTER, replace(TURNED, parents=()), Unrelated, Unrelated),
    ("the other is no pair", MASTER, NOBODY, Unrelated, Unrelated),
    ("neither is", NOBODY, NOBODY, Unrelated, Unrelated),
    ("one generation, but of another filesystem", MASTER, replace(REPLICA, src_fs="tank/x"), Unrelated, Unrelated),
    ("a pair of the shell zrep", SHELL_MASTER, SHELL_REPLICA, Linked, Linked),
    ("a shell pair, adopted on the master only", ADOPTED, SHELL_REPLICA, Adoptable, Adoptable),
    ("a shell pair, adopted", ADOPTED, replace(ADOPTED, master=False), Linked, Linked),
    ("a shell pair without a master", replace(SHELL_MASTER, master=None), SHELL_REPLICA, Interrupted, Interrupted),
    ("a shell pair, both masters", SHELL_MASTER, replace(SHELL_REPLICA, master=True), SplitBrain, SplitBrain),
    ("a shell pair whose replica was forced", SHELL_MASTER, replace(TURNED, parents=(LEGACY,)), Stale, PeerStale),
]  # fmt: skip


@pytest.mark.parametrize(("mine", "theirs", "here", "there"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_rows(mine: Role, theirs: Role, here: type[Relation], there: type[Relation]) -> None:
    assert type(relate(mine, theirs)) is here
    assert type(relate(theirs, mine)) is there


def test_two_that_go_on_alone_again_and_again_stay_the_halves_of_one_pair() -> None:
    def alone(role: Role, number: int) -> Role:
        return replace(role, gen=f"{number:016x}", parents=role.lineage)

    mine, theirs = MASTER, TURNED
    for number in range(2, 60, 2):
        mine, theirs = alone(mine, number), alone(theirs, number + 1)
        assert type(relate(mine, theirs)) is type(relate(theirs, mine)) is SplitBrain
    assert type(relate(mine, REPLICA)) is PeerStale


MIRROR = {Stale: PeerStale, PeerStale: Stale}


def roles() -> list[Role]:
    generations = [("", ()), (GEN, ()), (GEN, (LEGACY,)), (NEW, (GEN,)), (NEW, (GEN, LEGACY)), (OLD, (GEN,))]
    links = [MASTER.links, TURNED.links, ("", "", "", "")]
    return [
        Role(*names, master=master, gen=gen, parents=parents, epoch=1)
        for (gen, parents), master, names in product(generations, (True, False, None), links)
    ]


def test_every_two_roles_have_a_verdict_that_both_sides_share() -> None:
    for one, other in product(roles(), roles()):
        here, there = relate(one, other), relate(other, one)
        assert type(there) is MIRROR.get(type(here), type(here)), (one, other)
        assert type(here) is not Relation
        assert here.evidence().startswith("here ")


def test_two_masters_are_never_linked() -> None:
    for one, other in product(roles(), roles()):
        if one.master and other.master:
            assert not isinstance(relate(one, other), Linked | Adoptable), (one, other)


def test_the_evidence_names_both() -> None:
    said = relate(MASTER, TURNED).evidence()
    assert said == f"here master gen {GEN[:8]} epoch 1, there master gen {NEW[:8]} epoch 2"
    assert relate(NOBODY, MASTER).evidence().startswith("here no role gen none epoch none")
