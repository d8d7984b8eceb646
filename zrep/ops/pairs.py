"""What every operation shares: the hosts it talks to, finding a pair, locking it, reading both sides."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from shlex import quote
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.dataset import Member, Snapshot
from zrep.core.diagnosis import diagnose, diagnose_alone
from zrep.core.errors import BusyError, CutShortError, FailedError, RefusedError, ZrepError
from zrep.core.names import DEFAULT_TAG
from zrep.core.neighbours import LeftOut
from zrep.core.pair import End, Lane, Pair, Tree, plain_tree
from zrep.core.pair_state import ELSEWHERE, Diagnosis, State
from zrep.core.plan_first_stream import member_stream
from zrep.core.plan_hop import was_between
from zrep.core.quantities import size, whole_number
from zrep.core.requests import EndReceive, IsRunning, Lock, ReadTags, Unlock
from zrep.core.role import Role
from zrep.core.settings import DEFAULT_SETTINGS, Settings
from zrep.core.steps import Hold, SendStream, TakeSnapshot
from zrep.host.local import Host, LocalHost, OwnHost, Watch
from zrep.host.parallel import at_once, together
from zrep.host.process import Progress
from zrep.ops.dry_run import DryRun, DryRunHost, DryRunOwnHost
from zrep.ops.execute import Executor, Line
from zrep.ops.outcome import Outcome
from zrep.ops.read import find_role, find_roles, lost_pools, observe_trees, read_snapshots
from zrep.ops.stream_progress import Follower
from zrep.ops.view import Link, View
from zrep.wire.client import RemoteHost

Answer = TypeVar("Answer")

LOCK_SECONDS = 5.0
# A receive that nobody is left for, and into which nothing has come for so long, is ended.
_QUIET_SECONDS = 10.0

# What no operation but the one that is advised works on: whatever the other half is, or whatever this one is.
_NO_LINK = frozenset({State.REJOIN_UNFINISHED, State.UNREADABLE, State.RENAMED})
_NO_VIEW = _NO_LINK | {State.INIT_UNFINISHED, State.BUSY, State.PEER_MISSING, State.WRONG_PLACE}

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "localhost.localdomain"})


class Options(Struct, frozen=True):
    """What the command line and the environment settled. quiet: seconds for which busy is no news (-q);
    expire: whether sync lets go of surplus snapshots (ZREP_SKIP_EXPIRE: not); jobs: filesystems that one peer is
    sent at the same time, 0: what this machine can bear; fence: the command that takeover -L runs first, "" for
    none; may_be_empty: that there is no pair at all is no mistake; json: everything is told in one document at the
    end; crash_consistent: a snapshot is made although a before-snapshot hook has failed; take: sync makes snapshots,
    and not only sends what there is."""

    tag: str = DEFAULT_TAG
    force: bool = False
    dry_run: bool = False
    verbose: bool = False
    quiet: int = 0
    expire: bool = True
    jobs: int = 0
    fence: str = ""
    may_be_empty: bool = False
    json: bool = False
    crash_consistent: bool = False
    take: bool = True


class Session:
    """One run of zrep: its hosts, its clock and its way to talk. Close it."""

    def __init__(
        self,
        options: Options | None = None,
        settings: Settings = DEFAULT_SETTINGS,
        local: LocalHost | None = None,
        connect: Callable[[str], Host] | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        new_identity: Callable[[], str] = lambda: os.urandom(8).hex(),
        say: Callable[[str], None] = lambda text: None,
        warn: Callable[[str], None] = lambda text: None,
        progress: Callable[[str, Progress | None], None] | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.options = options or Options()
        self.settings = settings
        self.driver = local or LocalHost(settings)
        # The commands that -n has found, in the order in which they would run.
        self.lines: list[Line] = []
        # What was said on the way, where it is told in the end.
        self.warnings: list[str] = []
        # Of snapshots that could not be expired, and of what a stream could not bring.
        self.untidied: list[Outcome] = []
        # Whether an administrator's programs run around snapshots: a role change has stopped what they bring to rest.
        self.quiesces = True
        # What nobody replicates below masters here, by the names of these.
        self.left_out: dict[str, LeftOut] = {}
        # This host as the run works with it: -n only looks.
        self.local: OwnHost = self.driver
        if self.options.dry_run:
            self.local = DryRunOwnHost(self.driver, self.tag, self.lines.append)
        self.connect: Callable[[str], Host] = connect or partial(
            RemoteHost, settings=settings, moving=self.driver.runner.runs, watch=watch
        )
        self.driver.watch = watch
        self.clock = clock
        self.sleep = sleep
        self.new_identity = new_identity
        self.say = say
        self.warn = warn
        self.progress = progress
        self._follower: Follower | None = None
        self._remotes: dict[str, Host] = {}

    @property
    def tag(self) -> str:
        return self.options.tag

    @property
    def now(self) -> int:
        return int(self.clock())

    def host(self, name: str) -> Host:
        """The host of that name; this one without ssh when the name is plainly its own."""
        if name.lower() in _LOOPBACK or name == self.local.name:
            return self.local
        if name not in self._remotes:
            remote = self.connect(name)
            self._remotes[name] = DryRunHost(remote, self.tag, self.lines.append) if self.options.dry_run else remote
        return self._remotes[name]

    def unlock(self, *links: Link) -> None:
        """Give filesystems with one peer back, on both hosts, before the run ends; a lane of a tree goes with the tree.
        A peer that is lost has done so itself."""
        links = tuple(link for link in links if not link.within)
        if not links:
            return
        self._unlock(links)

    def unlock_tree(self, view: View) -> None:
        """Give a tree back, with those of its lanes that were locked."""
        self._unlock((view.link, *(lane.link for lane in view.lanes)))

    def _unlock(self, links: Sequence[Link]) -> None:
        self.local.ask(Unlock(tuple(link.name for link in links)))
        with suppress(ZrepError):
            self.peer(links[0].role).ask(Unlock(tuple(link.peer_name for link in links)))

    def cancel(self) -> None:
        """Interrupted: end what runs in other threads, so that they end."""
        self.driver.stop()
        for remote in list(self._remotes.values()):  # other threads may be dialling
            remote.close()

    def side_by_side(self, works: Sequence[Callable[[], Answer]], limit: int) -> list[Answer]:
        """Do all of them, so many at once; the answers in order. After Ctrl-C those under way are ended by ending what
        they wait for."""
        if limit == 1 or len(works) <= 1 or self.options.dry_run:
            return [work() for work in works]
        return at_once(works, limit, self.cancel)

    def close(self) -> None:
        for remote in self._remotes.values():
            remote.close()
        self.local.close()

    def peer(self, role: Role) -> Host:
        """The host of the other half of a pair with this role here. RefusedError where that one is never dialled."""
        if role.only_dialled:
            raise RefusedError(
                f"{role.peer_host} pulls this pair, and is never dialled from here",
                evidence=f"{self.tag}:driver is {role.driver}",
                advice=f"the same on {role.peer_host}, where it is {quote(role.peer_fs)}",
            )
        return self.host(role.peer_host)

    # --- finding ---

    def roles(self) -> dict[str, Role]:
        """Every dataset here with a role of this tag, or the record of an unfinished rejoin; other leftovers without a
        complete pair are not among them."""
        found = find_roles(self.local, self.tag).items()
        return {name: role for name, role in found if role.paired or role.rejoining}

    def lost_here(self) -> dict[str, ZrepError]:
        """The pools here that answer nothing, with the reason: a list of what is here leaves out what is in them, and a
        filesystem that is not in it is not one that is well."""
        return lost_pools(self.local)

    def nothing_here(self) -> RefusedError:
        """The refusal of a command for all pairs where there is none: silence is only for success. A tag may be a
        typing mistake."""
        tags = self.local.ask(ReadTags())
        others = ", ".join(tag for tag in tags if tag != self.tag)
        return RefusedError(
            f"no filesystem on {self.local.name} is replicated under the tag {self.tag}",
            evidence=f"tags with pairs here: {others}" if others else "nor under any other tag",
            advice="zrep init FS HOST DEST_FS; or, if that is how it should be, --may-be-empty",
        )

    def link(self, name: str, *, strict: bool = True, there: str = "") -> Link:
        """The link of one dataset here. RefusedError when it is not there, in no pair, or (if strict) when it was
        renamed, its rejoin was cut or its properties hold what zrep never writes. there: the command that does the same
        on the other host, for where only that one dials."""
        role = find_role(self.local, self.tag, name)
        if role is None:
            raise RefusedError("no such filesystem here", filesystem=name, advice="see: zrep list")
        link = self.accept(name, role, strict=strict)
        self.check_driving(name, role, there)
        return link

    def check_driving(self, name: str, role: Role, there: str) -> None:
        """RefusedError for a command that asks the other half of a pair, where only that one's host dials this one.
        there: the command that does it there, "" for one that asks nobody."""
        if there and role.only_dialled:
            raise RefusedError(
                f"this pair is pulled by {role.peer_host}, which is never dialled from here",
                filesystem=name,
                evidence=f"{self.tag}:driver is {role.driver}",
                advice=f"on {role.peer_host}: zrep {there} {quote(role.peer_fs)}",
            )

    def accept(self, name: str, role: Role, *, strict: bool = True) -> Link:
        """The link of a dataset here that has this role; refused as link does."""
        found = diagnose_alone(name, role)
        if found.state is State.SPLIT_COPY or (strict and found.state in _NO_LINK):
            raise found.error(name)
        if not role.paired and not role.rejoining:
            raise RefusedError(
                "it is not replicated by zrep here",
                filesystem=name,
                evidence=f"no local {self.tag}: properties",
                advice=f"zrep init {quote(name)} HOST DEST_FS",
            )
        return Link(self.tag, name, role)

    # --- locking and reading ---

    def executor(self, link: Link) -> Executor:
        """The hosts of a pair's two ends. The only place that knows which of them drives: this one."""
        hosts = {link.end: self.local, link.end.other: self.peer(link.role)}
        return self._executor(hosts[End.SOURCE], hosts[End.TARGET])

    def alone(self, host: Host | None = None) -> Executor:
        """An executor for steps on one host, this one unless another is given: both sides are that host."""
        own = host or self.local
        return self._executor(own, own)

    def _executor(self, source: Host, target: Host) -> Executor:
        kind = DryRun if self.options.dry_run else Executor
        self._follower = self._follower or Follower(self.driver, self.tag, self.clock, self.progress)
        return kind(self.driver, source, target, self.tag, self._follower, self._leave, self._note)

    def interrupted(self) -> CutShortError:
        """What is to be said when this run is ended from outside."""
        cut = self._follower.unfinished if self._follower else {}
        if not cut:
            return CutShortError(
                "interrupted", advice="running the same command again finishes or undoes what was begun"
            )
        streams = (
            f"{stream}: {size(far.sent)}{f' of {size(far.total)}' if far.total else ''} sent"
            for stream, far in sorted(cut.items())
        )
        return CutShortError(
            "interrupted",
            evidence=", ".join(streams),
            advice="running the same command again: what has arrived is kept, and it goes on from there",
        )

    def _note(self, dataset: str, said: str) -> None:
        what = "it was received, but not all of it could be kept"
        self.untidied.append(
            Outcome(dataset, error=FailedError(what, filesystem=dataset, evidence=said), harmless=True)
        )

    def _leave(self, snapshot: str, error: ZrepError) -> None:
        what = "it could not be expired, which is no harm: the next run tries again"
        reason = error.evidence or error.what
        self.untidied.append(
            Outcome(snapshot, error=FailedError(what, filesystem=snapshot, evidence=reason), harmless=True)
        )

    def lock(self, links: Sequence[Link], wait: float = LOCK_SECONDS) -> list[str]:
        """Lock both halves of links with one peer and one direction, master's side first (the order is fixed, so
        two runs from both ends cannot hold half each for ever). Returns the names here that are busy."""
        if not links:
            return []
        peer = self.peer(links[0].role)
        mine = {link.name: link for link in links}
        theirs = {link.peer_name: link for link in links}
        sides: list[tuple[Host, dict[str, Link]]] = [(self.local, mine), (peer, theirs)]
        if not links[0].is_master:
            sides.reverse()
        if peer is self.local:
            both = sorted({*mine, *theirs})
            busy = self.local.ask(Lock(tuple(both), wait, self.tag))
            return [link.name for link in links if {link.name, link.peer_name} & set(busy)]
        (first, sources), (second, targets) = sides
        busy_links = [sources[name].name for name in first.ask(Lock(tuple(sources), wait, self.tag))]
        wanted = [name for name, link in targets.items() if link.name not in busy_links]
        return busy_links + [targets[name].name for name in self._lock_targets(second, wanted, wait)]

    def _lock_targets(self, host: Host, names: Sequence[str], wait: float) -> list[str]:
        """Lock the targets of pairs whose sources are locked, so that no stream of theirs is sent any more: the busy
        ones. Where the link was cut in silence, or the source lost its power, a receive waits for the rest of its
        stream until the kernel finds out, for minutes: it is ended first. What has arrived stays, and is gone on with.
        """
        busy = host.ask(Lock(tuple(names), wait, self.tag)) if names else []
        if not busy:
            return []
        ended = together(*(partial(host.ask, EndReceive(name, _QUIET_SECONDS)) for name in busy))
        # It may also have ended by itself meanwhile.
        return host.ask(Lock(tuple(busy), wait if any(ended) else 0.0, self.tag))

    def views(self, links: Sequence[Link], *, sync_txg: bool = True) -> list[View | Outcome]:
        """Both sides of links with one peer, read at the same time; an Outcome where one cannot be worked on."""
        peer = self.peer(links[0].role)
        halves: list[tuple[Host, str, bool]] = [(self.local, link.name, link.role.recursive) for link in links]
        halves += [(peer, link.peer_name, link.role.recursive) for link in links]
        found = self._read(halves, sync_txg)
        return [self._view(x, found[self.local].get(x.name), found[peer].get(x.peer_name)) for x in links]

    def _read(
        self, halves: Iterable[tuple[Host, str, bool]], sync_txg: bool
    ) -> dict[Host, dict[str, Tree | ZrepError]]:
        """What is on each host of these datasets, those that are said to be trees with all below them: one request for
        each host, all at the same time. For one that could not be read, the reason."""
        names: dict[Host, dict[str, bool]] = {}
        for host, name, tree in halves:
            names.setdefault(host, {})[name] = tree
        read = [partial(observe_trees, host, self.tag, own, sync_txg=sync_txg) for host, own in names.items()]
        return dict(zip(names, together(*read), strict=True))

    def lock_and_read(
        self,
        links: Sequence[Link],
        wait: float = LOCK_SECONDS,
        then: Callable[[dict[str, Member]], None] = lambda members: None,
    ) -> tuple[list[str], list[View | Outcome]]:
        """Lock links with one peer and one direction, and read both sides of those that are not busy. The names here
        of the busy ones, and the others as from views. then: what else to do here with what was read here, where there
        is time for it because the peer has still to answer.

        What is locked here is read while the peer is still being dialled: nobody else changes it now, and whoever
        wants both halves begins with the master's.
        """
        peer = self.peer(links[0].role)
        if peer is self.local or not links[0].is_master:
            busy_here = self.lock(links, wait)
            free = [link for link in links if link.name not in busy_here]
            return busy_here, self.views(free) if free else []
        busy_here = self.local.ask(Lock(tuple(link.name for link in links), wait, self.tag))
        free = [link for link in links if link.name not in busy_here]
        if not free:
            return busy_here, []

        def there() -> dict[str, Tree | ZrepError]:
            busy_there = self._lock_targets(peer, [link.peer_name for link in free], wait)
            busy_here.extend(link.name for link in free if link.peer_name in busy_there)
            names = {x.peer_name: x.role.recursive for x in free if x.peer_name not in busy_there}
            return observe_trees(peer, self.tag, names, sync_txg=True)

        def here() -> dict[str, Tree | ZrepError]:
            names = {x.name: x.role.recursive for x in free}
            found = observe_trees(self.local, self.tag, names, sync_txg=True)
            trees = (tree for tree in found.values() if isinstance(tree, Tree))
            then({member.name: member for tree in trees for member in tree.members})
            return found

        mine, theirs = together(here, there)
        found = [self._view(x, mine.get(x.name), theirs.get(x.peer_name)) for x in free if x.name not in busy_here]
        return busy_here, found

    def view(self, link: Link, *, sync_txg: bool = True) -> View:
        """Both sides of one link; the error of an unusable one is raised."""
        return _usable(*self.views([link], sync_txg=sync_txg))

    def open(self, name: str, *, there: str = "") -> View:
        """Find, lock and read one pair. BusyError when either side is being worked on. there: see link."""
        taken, found = self.lock_and_read([self.link(name, there=there)])
        if taken:
            raise busy(name)
        return _usable(*found)

    def _view(self, link: Link, mine: Tree | ZrepError | None, theirs: Tree | ZrepError | None) -> View | Outcome:
        """One pair of what was read on both hosts."""
        if isinstance(mine, ZrepError):
            return Outcome(link.name, error=mine.about(link.name))
        if isinstance(theirs, ZrepError):
            return Outcome(link.name, error=theirs.about(link.name))
        if mine is None:
            return Outcome(link.name, error=RefusedError("it is gone", filesystem=link.name))
        if mine.role.links != link.role.links or mine.role.master != link.role.master:
            return Outcome(link.name, error=BusyError("its role changed meanwhile", filesystem=link.name))
        try:
            found = self.diagnose(mine.members[0], theirs.members[0] if theirs else None)
        except ZrepError as error:
            return Outcome(link.name, error=error.about(link.name))
        if theirs is None or found.state in _NO_VIEW:
            return Outcome(link.name, error=found.error(link.name))
        trees = {link.end: mine, link.end.other: theirs}
        return View(link, link.end, Pair(link.tag, trees[End.SOURCE], trees[End.TARGET]), self.executor(link))

    def diagnose(self, mine: Member, theirs: Member | ZrepError | None) -> Diagnosis:
        """What state a pair is in. Where the other half is not under its name, its host is asked once more, for all
        roles there: its rejoin may have been cut, or it was renamed. Raises what keeps the peer from saying so."""
        shell = self._living_shell(mine, self.local)
        if not shell and isinstance(theirs, Member):
            shell = self._living_shell(theirs, self.peer(mine.role))
        found = diagnose(self.tag, mine, theirs, shell=shell)
        if found.state in ELSEWHERE:
            roles = find_roles(self.peer(mine.role), self.tag)
            found = diagnose(self.tag, mine, theirs, elsewhere=roles, shell=shell)
        return found

    def _living_shell(self, member: Member, host: Host) -> str:
        """Evidence that a shell zrep is at work on a side, "" for none: a dead one's lock is no obstacle. host: where
        the side is, whose process that is."""
        pid = whole_number(member.role.lock_pid)
        alive = bool(pid) and host.ask(IsRunning(pid or 0))
        return f"{self.tag}:lock-pid {pid} is alive on {host.name}" if alive else ""

    def again(self, view: View, *ends: End, sync_txg: bool = False) -> View:
        """The same pair, read anew under the same locks (whatever its roles are now); with ends: only those."""
        deep = view.link.role.recursive
        halves = {end: (view.executor.host(end), view.pair.at(end).name, deep) for end in ends or tuple(End)}
        found = self._read(halves.values(), sync_txg)
        before = view.pair
        for end, (host, name, _) in halves.items():
            tree = found[host].get(name)
            root = before.at(end).members[0]
            if tree is None and root.arriving:
                tree = plain_tree(Member(name, {}, root.role, filters=root.filters, programs=root.programs))
            if tree is None:
                raise RefusedError(f"{name} vanished from {host.name} while zrep was working on it")
            if isinstance(tree, ZrepError):
                raise tree.about(view.name)
            view = view.with_tree(end, tree)
        return view._with_borrowed_roles(before)

    def taken(self, views: Sequence[View], *, held: bool = True) -> dict[str, View]:
        """Views of pairs whose sources are on one host, by name here, right after the next snapshot of each, of a tree
        that of every member, was taken (and held), under its lock: nothing else of it is known to have changed. Without
        those that are gone."""
        if not views:
            return {}
        names = {view.name: tuple(lane.next_snapshot for lane in view.pair.lanes) for view in views}
        made = read_snapshots(views[0].executor.source, [full for own in names.values() for full in own])
        found = {}
        for view in views:
            own = names[view.name]
            hold = (Hold(End.SOURCE, view.tag, own),) if held else ()
            if made.keys() >= set(own):
                found[view.name] = view.after(TakeSnapshot(End.SOURCE, view.tag, own), *hold, made=made)
        return found

    def arrived(self, streams: Sequence[tuple[View, Snapshot]]) -> dict[str, View]:
        """Views of pairs with one peer, by name here, after a stream that brings this snapshot has ended, under the
        locks: nothing else of the target has changed. Without those at whose target it is not."""
        names = {view.name: f"{view.lane.target.name}@{snapshot.name}" for view, snapshot in streams}
        made = read_snapshots(streams[0][0].executor.target, list(names.values()))
        found = {}
        for view, snapshot in streams:
            arrived = made.get(names[view.name])
            if arrived is not None and arrived.guid == snapshot.guid:
                found[view.name] = view.after(_arrival(view.lane, snapshot), made=made)
        return found

    def turned(self, view: View) -> View:
        """A view read anew after its roles have moved: its streams go from the new master to the old one now."""
        link = Link(view.tag, view.name, view.mine.role)
        return replace(view if link.end is view.here else view.turned, link=link)


def _arrival(lane: Lane, snapshot: Snapshot) -> SendStream:
    """The stream that has brought a snapshot, as far as it tells what the target is after it."""
    if lane.target.arriving:
        return member_stream(lane, snapshot, "")
    sent = SendStream(End.SOURCE, snapshot=f"{lane.source.name}@{snapshot.name}", target=lane.target.name)
    base = lane.base
    if base is None or base.bookmark or not lane.source.role.all_snapshots:
        return sent
    return replace(sent, base=f"{lane.source.name}@{base.name}", between=was_between(lane, snapshot))


def busy(name: str) -> BusyError:
    """Somebody has the lock of a filesystem, on this side or the other."""
    return BusyError("busy", filesystem=name, evidence="another zrep or a stream of ours is working on it")


def _usable(found: View | Outcome) -> View:
    """The error of one that is not is raised."""
    if isinstance(found, Outcome):
        assert found.error is not None
        raise found.error
    return found
