"""Runs of zrep, judged after each of their commands, and the state that all of the simulation shares."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from hypothesis.stateful import RuleBasedStateMachine

from tests.ops.hosts import Ended, Mode
from tests.ops.judge import writable
from tests.ops.pairs import MINUTE
from tests.ops.simulation.around import Around
from tests.ops.simulation.events import COMMANDS, MOVES, Fault, Meanwhile, Overlap
from tests.ops.simulation.hosts import SimulatedHosts
from tests.ops.simulation.layouts import Layout
from tests.ops.simulation.pair import JudgedPair
from tests.ops.turns import Run, in_turns, schedule
from zrep.core.errors import BusyError, RefusedError, UnreachableError
from zrep.core.role import PEER

HEALED = "--- healed"
counted: Counter[str] = Counter()


class Runs(RuleBasedStateMachine):
    """down: hosts without power; cut: whether the link is; reachable: when each host could last reach its peer."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory(prefix="zrep-simulation-")
        self.pairs: list[JudgedPair] = []
        self.shared = False  # whether a dataset is in several pairs
        self.fence_says = 0
        self.reachable: dict[str, int] = {}
        self.number = 0
        self.imaged = ""  # whose image the spare host has imported
        self.cut = False
        self.down: set[str] = set()
        self.history: list[str] = []
        counted["examples"] += 1

    def start(self, layout: Layout, keep: str, lease: int) -> None:
        self.hosts = SimulatedHosts(Path(self.directory.name), layout.hosts, self._fence)
        layout.make(self.hosts, lease)
        self.reachable = dict.fromkeys(layout.hosts, self.now)
        self.hosts.wire.reset()
        self.pairs = []
        for link in layout.links:
            root = JudgedPair(self.hosts, link.sides, link.tag, keep, lease)
            members = [JudgedPair(self.hosts, sides, link.tag, keep, lease, root) for sides in link.below]
            self.pairs += [root, *members]
        self.shared = any(len(self.kin(pair)) > 1 for pair in self.pairs)
        self.around = Around(self.hosts)
        self.around.note()
        self.hosts.line.before_power = self.power_is_lost
        self.hosts.wire.after = self.look

    @property
    def names(self) -> list[str]:
        """Of the hosts."""
        return list(self.hosts.world.state.hosts)

    @property
    def now(self) -> int:
        return self.hosts.world.state.now or 0

    def pair(self, which: int) -> JudgedPair:
        return self.pairs[which % len(self.pairs)]

    def of(self, pair: JudgedPair) -> list[JudgedPair]:
        """A pair, with the members of its tree."""
        return [one for one in self.pairs if one.root is pair.root]

    def sharing(self, host: str, name: str) -> list[JudgedPair]:
        """The pairs that a dataset is in, each under a tag of its own."""
        return [one for one in self.pairs if one.names.get(host) == name]

    def kin(self, pair: JudgedPair) -> list[JudgedPair]:
        """All pairs that what is in this one is passed on through, whatever their tags."""
        found = [pair]
        for one in found:
            found += [each for side in one.sides for each in self.sharing(*side) if each not in found]
        return found

    def end(self, pair: JudgedPair) -> None:
        """A person has ended a pair: nobody looks at it any more."""
        self.pairs = [one for one in self.pairs if one.root is not pair.root]

    def joined(self, pair: JudgedPair) -> list[JudgedPair]:
        """The same, and of a tree those of every member."""
        return [each for one in self.of(pair) for each in self.kin(one)]

    def look(self) -> None:
        for pair in self.pairs:
            pair.look()
        self.around.look()
        for pair in self.pairs if self.shared else ():
            opened = [side for side in {s for one in self.kin(pair) for s in one.sides} if writable(self.hosts, *side)]
            if not pair.forced and len(opened) > 1 and not pair.ledger.broken:
                pair.ledger.broken.append(f"{opened} take writes (1)")

    def judge(self) -> None:
        broken = [*(line for pair in self.pairs for line in pair.broken), *self.around.broken]
        assert not broken, "\n".join([*broken, self.story(12)])

    def story(self, end: int) -> str:
        """What happened, the end of it."""
        healed = self.history.index(HEALED) if HEALED in self.history else len(self.history)
        return "\n".join([*self.history[max(0, healed - 40) : healed + 8], "...", *self.history[healed + 8 :][-end:]])

    # --- the surroundings ---

    def power_is_lost(self, host: str) -> None:
        """What has to be known of it before it happens."""
        for pair in self.pairs:
            if host in pair.names:
                pair.ledger.forget_unflushed(host)
        self.around.power_lost(host)

    def crash(self, host: str) -> None:
        if host not in self.down:
            self.history.append(f"{host}: (power lost)")
            self.power_is_lost(host)
            self.hosts[host].crash()
            self.down.add(host)

    def may_be_reached(self, runs: int, hosts: Iterable[str]) -> None:
        """So many runs that begin now on these hosts find their peer, the last of them when that many have begun; what
        one of them brings says on both sides that the other was there."""
        if not self.hosts.wire.cut and not all(self.dials_an_image(host) for host in hosts):
            self.reachable = dict.fromkeys(self.names, self.now + runs * MINUTE)

    def dials_an_image(self, host: str) -> bool:
        """Whether the spare host answers in the place of the other one of the two that have an image."""
        return bool(self.hosts.answering) and host not in self.hosts.answering

    def _fence(self, host: str) -> int:
        """The fence command of a host: it takes the power from the others, or says why not."""
        self.history.append(f"{host}: (fence command: {self.fence_says})")
        if self.fence_says == 0:
            for other in self.names:
                if other != host:
                    self.crash(other)
            self.hosts.wire.cut = True
        return self.fence_says

    # --- runs ---

    def one_run(
        self,
        pair: JudgedPair,
        host: str,
        command: str,
        fault: Fault | None = None,
        meanwhile: Meanwhile | None = None,
    ) -> Ended:
        """A run about a pair, or about the tree that it is a member of."""
        pair = pair.root
        also = [(pair, meanwhile.what)] if meanwhile else []
        told = len(self.hosts.told)
        with self._judged([(pair, command), *also], fault):
            self.hosts.wire.cut = self.hosts.wire.cut or bool(self.down - {host})
            self.hosts.wire.after = self._looking(pair, meanwhile)
            had = {id(one): one.ledger.can_be_sent(host) for one in self.pairs if host in one.names}
            self.may_be_reached(len(self.names) if meanwhile else 1, [host, *([meanwhile.host] if meanwhile else [])])
            reached = not self.hosts.wire.cut and not self.dials_an_image(host)
            ended = self._start(pair, host, command)
        about = [one for one in self.pairs if host in one.names and one.tag == pair.tag]
        for one in about:
            if command == "sync all" and not fault and not meanwhile:
                self._lease_is_kept(one, host, ended)
                self._stale_one_stops(one, host, ended, reached)
            if ended.code == 0 and meanwhile is None and (one.root is pair or command == "sync all"):
                one.reached(host, command, ended, had[id(one)])
        if not fault and not meanwhile and reached:
            self._is_told(pair, host, command, told)
        self.settle()
        return ended

    def _is_told(self, pair: JudgedPair, host: str, command: str, first: int) -> None:
        """Hooks that were told in a run what is to come were told what became of it, unless that is not over."""
        last = {(told.host, told.dataset): told.event for told in self.hosts.told[first:]}
        for (where, name), event in last.items():
            under_way = any(pair.role(where, "inprogress") for where in pair.names)
            if event.startswith("before-") and not under_way and pair.dataset(where) is not None:
                self.around.broken.append(f"{command} on {host} told {name} on {where} {event}, and nothing after it")

    def _stale_one_stops(self, pair: JudgedPair, host: str, ended: Ended, reached: bool) -> None:
        """An old master that has reached its peer is not written to after a run, paused or not (1); of a pulled pair,
        whose master asks nobody, after a run of the other side."""
        if not reached or ended.code in (BusyError.exit_code, UnreachableError.exit_code, None):
            return
        if pair.role(host, "driver") == PEER:
            return
        dialled = [there for there in [pair.other[host]] if pair.role(there, "driver") == PEER]
        for stale in filter(pair.stale_and_writable, [host, *dialled]):
            counted["stale and writable"] += 1
            pair.ledger.broken.append(f"{stale} is writable although its peer has been master since (1)")

    def _lease_is_kept(self, pair: JudgedPair, host: str, ended: Ended) -> None:
        """A master whose peer could not be reached for longer than its lease is not written to after a run."""
        silent = self.now - self.reachable[host]
        looked = ended.code == UnreachableError.exit_code
        looked = looked or (ended.code == RefusedError.exit_code and self.dials_an_image(host))
        if not looked or not pair.lease or silent <= pair.lease:
            return
        if pair.role(host, "master") == "yes" and pair.role(host, "alone") != "yes":
            counted["lease over"] += 1
            if writable(self.hosts, host, pair.names[host]):
                pair.ledger.broken.append(f"{host} is writable {silent} s after its peer was last reachable")

    def overlapping(self, overlap: Overlap, fault: Fault | None = None) -> list[Run]:
        """Both, or the one whose host is up."""
        asked = [
            (self.pair(which).root, host, command)
            for which, (host, command) in zip(overlap.which, overlap.runs, strict=True)
        ]
        which = [(pair, pair.at(host), command) for pair, host, command in asked if pair.at(host) not in self.down]
        counted["overlaps"] += 1
        with self._judged([(pair, command) for pair, _, command in asked], fault):
            self.hosts.wire.cut = self.hosts.wire.cut or bool(self.down)
            had = {id(one): one.ledger.can_be_sent(host) for pair, host, _ in which for one in self.of(pair)}
            self.may_be_reached(len(self.names), [host for _, host, _ in which])
            self.history.append(f"(at the same time: {[(host, command) for _, host, command in which]})")
            works = [(host, partial(self._start, pair, host, command)) for pair, host, command in which]
            runs = in_turns(self.hosts, works, schedule(overlap.turns, overlap.then), overlap.pace)
        for (pair, host, command), run in zip(which, runs, strict=True):
            # What another run has done to the roles since is judged by what comes after.
            if run.ended and run.ended.code == 0 and (command not in MOVES or len(runs) == 1):
                for one in self.of(pair):
                    one.reached(host, command, run.ended, had[id(one)])
        self.settle()
        return runs

    @contextmanager
    def _judged(self, runs: Sequence[tuple[JudgedPair, str]], fault: Fault | None) -> Iterator[None]:
        """Runs of zrep, maybe with a fault: after each command all is looked at."""
        wire = self.hosts.line
        wire.reset(fault.mode if fault else None, fault.at if fault else -1)
        wire.cut, wire.after = self.cut, self.look
        before = [(pair, pair.forced, pair.roles()) for pair in self.pairs]
        for root, command in runs:
            forcing = command.startswith("takeover -L")
            for one in self.joined(root):
                one.ledger.dropping = one.ledger.dropping or command == "sync -f"
                one.ledger.set_back = one.ledger.set_back or (forcing and len(self.of(root)) > 1)
                one.force(one.forced or forcing)
        tags = {pair.tag for pair, command in runs if command == "sync all"}
        named = [pair for pair, command in runs if command in COMMANDS]
        self.around.begin(side for pair in self.pairs if pair.root in named or pair.tag in tags for side in pair.sides)
        if fault:
            self.history.append(f"({fault.mode.name} from {fault.at} on)")
        yield
        for pair in self.pairs:
            pair.ledger.dropping = pair.ledger.set_back = False
        wire.after = self.look
        self._after_faults(fault)
        same = {id(pair) for pair, forced, roles in before if not forced and pair.roles() == roles}
        for pair in self.pairs:
            if all(id(one) in same for one in self.joined(pair)):
                pair.force(False)

    def settle(self) -> None:
        """Those that are whole, with all that share a dataset with them: whatever was forced before is over."""
        whole = [] if self.down else [id(pair) for pair in self.pairs if pair.ledger.whole()]
        for pair in self.pairs:
            if all(id(one) in whole for one in self.joined(pair)):
                pair.settle()

    def _start(self, pair: JudgedPair, host: str, command: str) -> Ended:
        counted["runs"] += 1
        work = COMMANDS[command](pair.names[host])
        fence = "fence" if command.endswith("--fence-cmd") else ""
        ended = self.hosts.run(host, work, force=command.endswith(" -f"), fence=fence, tag=pair.tag)
        code = "killed" if ended.code is None else ended.code
        counted[f"{command}: {code}"] += 1
        name = f" {pair.names[host]}" if len(self.pairs) > 1 else ""
        self.history.append(f"{host}: {command}{name}: {code} {ended.text[:300]}")
        return ended

    def _looking(self, pair: JudgedPair, meanwhile: Meanwhile | None) -> Callable[[], None]:
        """What follows each command: the judges, and at one number somebody else."""
        if meanwhile is None:
            return self.look
        waiting = [meanwhile]

        def after() -> None:
            self.look()
            if waiting and len(self.hosts.wire.log) > waiting[0].at:
                self._in_between(pair, waiting.pop())

        return after

    def _in_between(self, pair: JudgedPair, other: Meanwhile) -> None:
        """Another run has its own host, and leaves the wire to the first one as it was."""
        host = pair.at(other.host)
        if other.what not in COMMANDS:
            self.act(pair, host, other.what)
        elif host not in self.down:
            wire = self.hosts.wire
            driver = wire.driver
            self._start(pair, host, other.what)
            wire.driver = driver

    def act(self, pair: JudgedPair, host: str, what: str, pick: int = 0) -> None:
        """One thing that is not zrep's doing."""
        raise NotImplementedError

    def _after_faults(self, fault: Fault | None) -> None:
        wire = self.hosts.wire
        if wire.power_lost:
            self.down |= wire.power_lost
        elif wire.cut and fault and fault.mode in (Mode.CUT, Mode.LOST, Mode.TORN_CUT):
            self.cut = True
        wire.reset()
