"""One run of zrep: what was settled, its hosts, its clock, and how it talks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from shlex import quote
from typing import TypeVar

from msgspec import Struct

from zrep.core.errors import AGAIN, CutShortError, FailedError, RefusedError, ZrepError
from zrep.core.names import DEFAULT_TAG
from zrep.core.neighbours import LeftOut
from zrep.core.pair import End
from zrep.core.quantities import size
from zrep.core.role import Role
from zrep.core.settings import DEFAULT_SETTINGS, Settings
from zrep.host.local import Host, LocalHost, OwnHost, Watch
from zrep.host.parallel import at_once
from zrep.host.process import Progress
from zrep.ops.dry_run import DryRun, DryRunHost, DryRunOwnHost
from zrep.ops.execute import Executor, Line
from zrep.ops.outcome import Outcome
from zrep.ops.stream_progress import Follower
from zrep.ops.view import Link
from zrep.wire.ahead import Ahead
from zrep.wire.client import RemoteHost

Answer = TypeVar("Answer")

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
        ahead: Ahead | None = None,
    ) -> None:
        """connect: what dials a host, RemoteHost unless given. ahead: the connections that were begun already."""
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
        # What a run that is ended now leaves, where that is not as it was: for whoever ends it.
        self.leaves = ""
        # This host as the run works with it: -n only looks.
        self.local: OwnHost = self.driver
        if self.options.dry_run:
            self.local = DryRunOwnHost(self.driver, self.tag, self.lines.append)
        self.ahead = ahead or Ahead()
        self.connect: Callable[[str], Host] = connect or self._dial
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

    def is_here(self, name: str) -> bool:
        """Whether a name is plainly this host's own."""
        return name.lower() in _LOOPBACK or name == self.local.name

    def host(self, name: str) -> Host:
        """The host of that name; this one without ssh when the name is plainly its own."""
        if self.is_here(name):
            return self.local
        if name not in self._remotes:
            remote = self.connect(name)
            self._remotes[name] = DryRunHost(remote, self.tag, self.lines.append) if self.options.dry_run else remote
        return self._remotes[name]

    def _dial(self, name: str) -> RemoteHost:
        begun = self.ahead.take(name)
        return RemoteHost(name, self.settings, self.driver.runner.runs, self.driver.watch, begun)

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
        self.ahead.reached = frozenset(name for name, remote in self._remotes.items() if remote.answered)
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
        leaves = "" if self.options.dry_run else self.leaves
        streams = (
            f"{stream}: {size(far.sent)}{f' of {size(far.total)}' if far.total else ''} sent"
            for stream, far in sorted(cut.items())
        )
        return CutShortError(
            "interrupted",
            evidence="; ".join(filter(None, [", ".join(streams), leaves])),
            advice="running the same command again: what has arrived is kept, and it goes on from there"
            if cut and not leaves
            else AGAIN,
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
