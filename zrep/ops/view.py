"""A pair as an operation sees it: from this host, as it was read under its locks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.apply import after
from zrep.core.dataset import Member, Snapshot
from zrep.core.diagnosis import diagnose
from zrep.core.pair import End, Lane, Pair, Tree, plain_tree
from zrep.core.pair_state import Diagnosis
from zrep.core.plan_data import stages
from zrep.core.relation import Relation, relate
from zrep.core.role import Role
from zrep.core.steps import DestroySnapshots, Step
from zrep.ops.execute import Executor

_NONE_MADE: Mapping[str, Snapshot] = {}


class Link(Struct, frozen=True):
    """A dataset on this host and where its other half is, under a tag. within: the root of the tree here of which it is
    one lane, "" for a pair as a whole. What is locked and given back is the pair."""

    tag: str
    name: str
    role: Role
    within: str = ""

    @property
    def is_master(self) -> bool:
        return self.role.master is True

    @property
    def borrowed(self) -> bool:
        """Whether its role is that of the root of its tree: what is read of the dataset itself has none."""
        return self.within not in ("", self.name)

    @property
    def end(self) -> End:
        """Which end of the pair's streams this host is."""
        return End.SOURCE if self.is_master else End.TARGET

    @property
    def peer_host(self) -> str:
        return self.role.peer_host

    @property
    def peer_name(self) -> str:
        return self.role.peer_fs

    @property
    def drives(self) -> bool:
        """Whether a sync of the pair begins on this host."""
        return self.role.drives


class View(Struct, frozen=True):
    """One pair as read under its locks, and the hosts of its two ends. The ends are those of the roles its links had
    when it was locked: they stay what they are while a role moves."""

    link: Link
    here: End
    pair: Pair
    executor: Executor

    @property
    def name(self) -> str:
        return self.link.name

    @property
    def tag(self) -> str:
        return self.pair.tag

    @property
    def mine(self) -> Tree:
        return self.pair.at(self.here)

    @property
    def theirs(self) -> Tree:
        return self.pair.at(self.here.other)

    @property
    def sending(self) -> bool:
        """Whether its streams go from here to the peer."""
        return self.here is End.SOURCE

    @property
    def way(self) -> str:
        """Where its streams go to or come from, for a person here."""
        return f"{'to' if self.sending else 'from'} {self.link.peer_host}:{self.theirs.name}"

    @property
    def lane(self) -> Lane:
        """The one lane of a pair that is no tree."""
        [lane] = self.pair.lanes
        return lane

    @property
    def lanes(self) -> tuple[View, ...]:
        """Each lane as a pair of its own, for what moves data; a pair that is no tree is its own."""
        if not self.link.role.recursive:
            return (self,)
        return tuple(self._lane(lane) for lane in self.pair.lanes)

    def _lane(self, lane: Lane) -> View:
        own = lane.at(self.here)
        pair = Pair(
            self.tag,
            plain_tree(lane.source),
            plain_tree(lane.target),
            lane.taken,
            lane.upstream,
            lane.origin,
            lane.first,
        )
        role = replace(own.role, recursive=False)
        return View(
            Link(self.tag, own.name, role, self.name), self.here, pair, self.executor.within(self.pair.target.name)
        )

    @property
    def relation(self) -> Relation:
        """How this host's half stands to the other."""
        return relate(self.mine.role, self.theirs.role)

    @property
    def diagnosis(self) -> Diagnosis:
        """What state the pair is in, seen from this host."""
        return diagnose(self.tag, self.mine.members[0], self.theirs.members[0])

    @property
    def turned(self) -> View:
        """The same two halves with the streams going the other way."""
        return replace(self, here=self.here.other, pair=self.pair.turned, executor=self.executor.turned)

    def after(self, *done: Step, made: Mapping[str, Snapshot] = _NONE_MADE) -> View:
        """The same pair after steps that are known to be done. made: the snapshots they made, by full name."""
        pair = self.pair
        for step in done:
            pair = after(pair, step, made)
        return replace(self, pair=pair)._with_borrowed_roles(self.pair)

    def _with_borrowed_roles(self, before: Pair) -> View:
        """The same where the roles of the datasets are not their own."""
        if not self.link.borrowed:
            return self
        pair = self.pair
        for end in End:
            member = replace(pair.at(end).members[0], role=before.at(end).role)
            pair = pair.with_tree(end, plain_tree(member))
        return replace(self, pair=pair)

    def with_tree(self, end: End, tree: Tree) -> View:
        """Put another reading of one end in the place of the one there is."""
        return replace(self, pair=self.pair.with_tree(end, tree))

    def with_target(self, member: Member) -> View:
        """Put another reading of the target of a lane in the place of the one there is."""
        return self.with_tree(End.TARGET, plain_tree(member))._with_borrowed_roles(self.pair)

    def do(self, plan: Iterable[Step]) -> None:
        self.executor.do_all(plan)

    def converge(self, plan: Sequence[Step]) -> None:
        """Carry out a plan of plan_converge, in its stages. What cannot be expired is left, and told of."""
        for stage in stages(plan):
            self.executor.side_by_side([partial(self._converge, part) for part in stage])

    def _converge(self, part: Sequence[Step]) -> None:
        expired = [step for step in part if isinstance(step, DestroySnapshots)]
        if expired:
            self.executor.tidy(expired)
        else:
            self.do(part)
