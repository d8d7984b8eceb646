"""Carrying out steps, each on the host of the end it names."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import takewhile

from msgspec import Struct
from msgspec.structs import replace

from zrep.core import steps
from zrep.core.errors import FailedError, RefusedError, ZrepError
from zrep.core.pair import End
from zrep.host.local import Agent, LocalAgent, receive_argv, stream_refusal
from zrep.host.parallel import together
from zrep.host.process import Progress
from zrep.ops.read import picture_of
from zrep.zfs import commands
from zrep.zfs import errors as zfs_errors
from zrep.zfs.commands import Completed

# A step that finds its goal reached already is done: a run may have been cut between doing and knowing.
_ALREADY = {
    steps.Hold: "tag already exists on this dataset",
    steps.Release: "no such tag on this dataset",
    steps.Mount: "filesystem already mounted",
    steps.Unmount: "not currently mounted",
    steps.Share: "already shared|not permitted|legacy|sharenfs|no 'sharenfs'|share",
}


class Line(Struct, frozen=True):
    """One command of a plan, for --dry-run: on which host, and its words."""

    host: str
    argv: tuple[str, ...]


class Executor:
    """The hosts at the two ends of a pair's streams."""

    def __init__(
        self,
        driver: LocalAgent,
        source: Agent,
        target: Agent,
        tag: str,
        progress: Callable[[str, Progress | None], None] | None = None,
    ) -> None:
        self.driver = driver
        self.source = source
        self.target = target
        self.tag = tag
        self.progress = progress
        # Bytes a second of the last stream that was long enough to tell.
        self.pace = 0
        # The receive token for the next stream where one has been granted already, with those of others.
        self.granted: tuple[str, str] | None = None

    @property
    def turned(self) -> Executor:
        """The same two hosts with the streams going the other way."""
        return type(self)(self.driver, self.target, self.source, self.tag, self.progress)

    def agent(self, end: End) -> Agent:
        return self.source if end is End.SOURCE else self.target

    def do_all(self, plan: Iterable[steps.Step]) -> None:
        """Steps in order; neighbours at one end are one request, which ends at the first that fails."""
        left = list(plan)
        while left:
            if isinstance(left[0], steps.SendStream):
                self.do(left.pop(0))
                continue
            end = left[0].end
            batch = list(takewhile(lambda s: s.end is end and not isinstance(s, steps.SendStream), left))  # noqa: B023  # used at once
            self.carry_out(end, batch)
            left = left[len(batch) :]

    def do(self, step: steps.Step, generation: str = "") -> None:
        """One step; its typed error when it fails. generation: what a stream's receiver must have (or NO_GENERATION),
        where it has not been looked at already (granted)."""
        if isinstance(step, steps.SendStream):
            self._stream(step, generation)
            return
        self.carry_out(step.end, [step])

    def carry_out(self, end: End, batch: Sequence[steps.Step]) -> None:
        """Steps at one end, in one request; the typed error of the first that fails."""
        agent = self.agent(end)
        if (picture := picture_of(agent)) is not None:
            picture.carry_out(batch)
            return
        done = agent.run([commands.command(step) for step in batch])
        for step, completed in zip(batch, done, strict=False):
            self.check(step, completed)

    def take_role(self, step: steps.TakeRole) -> str:
        """Ask an end to take the role, in one guarded request; "" when it has, else what was said: then only what is
        read tells whether it has. RefusedError when the guard has said no."""
        agent = self.agent(step.end)
        words = commands.command(step)
        try:
            done = agent.take_role(self.tag, step.dataset, step.expected, step.identity, words)
        except FailedError as error:
            return error.line()
        return "" if done.status == 0 else done.err.strip() or f"exit status {done.status}"

    @staticmethod
    def check(step: steps.Step, done: Completed) -> None:
        """Raise the error a finished command of a step stands for, if any."""
        if done.status == 0:
            return
        said = done.err.strip()
        already = _ALREADY.get(type(step))
        if already and said and all(re.search(already, line) for line in said.splitlines()):
            return
        raise zfs_errors.error(done)

    def try_do(self, step: steps.Step) -> ZrepError | None:
        """One step whose failure is reported, not raised."""
        try:
            self.do(step)
        except ZrepError as error:
            return error
        return None

    def side_by_side(self, works: Sequence[Callable[[], None]]) -> None:
        """Do what does not depend on each other at the same time."""
        together(*works)

    def _stream(self, step: steps.SendStream, generation: str) -> None:
        """Send and receive, joined by the kernel. The receiver's lock is granted to the process that receives."""
        marked = not self.source.local
        sender = self.source.stream_argv(commands.send(step))
        granted, self.granted = self.granted or self._grant(step.target, generation), None
        receiver = self.target.stream_argv(receive_argv(granted, commands.receive(step), marked=marked), receives=True)
        started = time.monotonic()
        seen: list[Progress] = []

        def note(progress: Progress) -> None:
            seen[:] = [progress]
            if self.progress:
                self.progress(step.snapshot, progress)

        try:
            sent, received = self.driver.runner.pipe(
                sender,
                receiver,
                keep=self.driver.locks.descriptors({step.snapshot.partition("@")[0], step.target}),
                progress=note,
            )
        except ZrepError:
            with suppress(ZrepError):
                self.target.revoke(step.target)
            raise
        finally:
            if self.progress:
                self.progress(step.snapshot, None)
        self.target.revoke(step.target)
        if seen:  # zfs send tells how far it is once a second: this one took longer
            self.pace = int(max(seen[0].sent, seen[0].total) / (time.monotonic() - started))
        # Named by the command itself, not by the ssh that carried it.
        _judge(step, replace(sent, argv=commands.send(step)), replace(received, argv=commands.receive(step)))

    def _grant(self, target: str, generation: str) -> tuple[str, str]:
        granted = self.target.grant(self.tag, {target: generation})
        if target not in granted:
            raise RefusedError(
                "the stream was not accepted", filesystem=target, evidence="it is no longer a replica of its generation"
            )
        return granted[target]


def _judge(step: steps.SendStream, sent: Completed, received: Completed) -> None:
    """Raise for a stream that failed, with the cause and not its echo: a sender that died shows as a broken stream
    at the receiver, a receiver that refused shows as a broken pipe at the sender."""
    if received.status == 0 and sent.status == 0:
        return
    if refusal := stream_refusal(received.status, step.target):
        raise refusal
    at_receiver = zfs_errors.error(received) if received.status != 0 else None
    if at_receiver is not None and not isinstance(at_receiver, zfs_errors.BrokenStreamError) and received.err.strip():
        raise at_receiver
    if sent.status != 0 or (step.outfilter and sent.err.strip()):
        # Behind a filter the status is the filter's; what zfs send said is its own.
        raise zfs_errors.error(sent)
    assert at_receiver is not None
    raise at_receiver
