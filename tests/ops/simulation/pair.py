"""One pair of the simulation: its halves, the judges of it, and what was said about it."""

from __future__ import annotations

from tests.model.state import Dataset
from tests.ops.hosts import Ended, Hosts
from tests.ops.judge import OTHERS, Sides, Watch, find, local, settled, snapshots, writable
from tests.ops.simulation.events import MOVES
from tests.ops.simulation.ledger import Ledger
from zrep.core.role import Intent


class JudgedPair:
    """keep: the host that a person decides for when asked; lease: seconds, on both sides; root: that of the tree it is
    a member of, itself where it is none; abandoned: guids of snapshots that somebody destroyed on a master while a role
    change was unfinished there: nothing shows on the other side who made them."""

    def __init__(
        self, hosts: Hosts, sides: Sides, tag: str, keep: str, lease: int, root: JudgedPair | None = None
    ) -> None:
        self.root = root or self
        self.hosts, self.sides, self.tag, self.lease = hosts, sides, tag, lease
        self.names = dict(sides)
        self.abandoned: set[int] = set()
        (one, _), (other, _) = sides
        self.other = {one: other, other: one}
        self.keep = self.at(keep)
        self.watch = Watch(hosts, forced=False, linked=True, sides=sides, tag=tag, roots=self.root.sides)
        self.ledger = Ledger(hosts, sides, tag, self.root.sides)

    def at(self, host: str) -> str:
        """The host that a draw means: alpha is the one the pair was made on, beta the other one."""
        return self.sides[0 if host == "alpha" else 1][0]

    def dataset(self, host: str) -> Dataset | None:
        return find(self.hosts, host, self.names[host])

    def local(self, dataset: Dataset, name: str) -> str:
        return local(dataset, name, self.tag)

    def role(self, host: str, name: str) -> str:
        """A property of its role on a host, which the root of its tree has."""
        dataset = self.root.dataset(host)
        return self.local(dataset, name) if dataset else ""

    def look(self) -> None:
        self.watch.look()
        self.ledger.look()

    @property
    def broken(self) -> list[str]:
        name = f"{self.names[self.sides[0][0]]} ({self.tag})"
        return [f"{name}: {line}" for line in (*self.watch.broken, *self.ledger.broken)]

    @property
    def forced(self) -> bool:
        return self.ledger.forced

    def force(self, forced: bool) -> None:
        self.watch.forced = self.ledger.forced = forced

    def settle(self) -> None:
        if self.ledger.whole():
            self.force(False)
            self.ledger.settle()

    def roles(self) -> list[tuple[object, ...]]:
        keys = ("gen", "master", "epoch", "inprogress")
        return [
            (*(self.role(host, key) for key in keys), writable(self.hosts, host, name)) for host, name in self.sides
        ]

    def held(self) -> list[list[str]]:
        """What each side holds, beside the base: see judge.settled."""
        ends = settled(self.hosts, self.sides, self.tag)
        sides = [ends[host] for host in self.names]
        return [sorted({*side["held"], *side["held older"]}) for side in sides if isinstance(side, dict)]

    def linked(self) -> bool:
        return self.ledger.whole() and all("base" in held for held in self.held())

    def forget_taken_away(self, host: str) -> None:
        """A person has rolled a half back, destroyed or released snapshots there, and knew what goes with that."""
        self.ledger.forget_destroyed(host)
        found = snapshots(self.hosts, host, self.names[host], self.root.names[host])
        left = {snapshot.guid for snapshot in found}
        self.watch.foreign = {each for each in self.watch.foreign if each[0] != host or each[2] in left}
        kept = {snapshot.guid for snapshot in found if OTHERS in snapshot.holds}
        self.watch.held_by_others = {each for each in self.watch.held_by_others if each[0] != host or each[2] in kept}

    def moving(self, host: str) -> bool:
        """Whether a role change that begins on a host is recorded there and neither undone nor finished."""
        intent = Intent.parse(self.role(host, "inprogress"))
        return intent is not None and intent.operation == "failover"

    def is_replica(self, host: str) -> bool:
        """By its role, or by the record of a new one."""
        intent = Intent.parse(self.role(host, "inprogress"))
        return (intent.role if intent else {}).get("master", self.role(host, "master")) == "no"

    def reached(self, host: str, command: str, ended: Ended, had: set[str]) -> None:
        """Exit 0 means the goal holds on both sides (15). had: what the host had before."""
        said = [
            outcome
            for outcome in ended.outcomes
            if outcome.filesystem == self.root.names[host] and not (outcome.skipped or outcome.harmless)
        ]
        moved = command in MOVES and "role moved" in ended.text
        if moved or (said and command.startswith("sync")):
            self.ledger.synced |= had
        unasked = "could not be asked" in ended.text  # the master is one all the same, and says what it does not know
        if command in MOVES and not self.forced and not unasked:
            master = self.other[host] if command.startswith("failover") else host
            if [found for found, _ in self.ledger.masters()] != [master] or not self.ledger.whole():
                self.ledger.broken.append(f"{command} on {host} returned 0, but {master} is not the master (15)")

    def stale_and_writable(self, host: str) -> bool:
        """Whether a side that calls itself master takes writes although the other one, which has answered, is master
        of another generation."""
        there = self.other[host]
        if not writable(self.hosts, host, self.names[host]):
            return False
        both = self.role(host, "master") == self.role(there, "master") == "yes"
        return both and self.ledger.epoch(host) < self.ledger.epoch(there)
