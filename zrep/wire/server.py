"""The half of zrep that runs on the peer: one process per run, asked over its stdin (see messages).

It answers on stdout, and sends a beat every few seconds while it works. When the other end falls silent for
HEARTBEAT_SECONDS or closes the pipe, it gives everything up: its locks lapse with it.
Nothing it reads is ever given to a shell. What is not a request is answered with one error, and is the end of it.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from contextlib import suppress

from zrep.core.errors import BugError, UsageError, ZrepError
from zrep.core.requests import Identity
from zrep.core.settings import Settings
from zrep.host.local import Host, LocalHost
from zrep.host.procfs import runs_of_receives
from zrep.wire.messages import (
    BEAT_SECONDS,
    GREETING,
    HEARD_NOTHING,
    HEARTBEAT_SECONDS,
    REQUEST_BYTES,
    Ask,
    Beat,
    Failed,
    Lines,
    MalformedError,
    encode,
    encode_answer,
    read_for_helper,
    weight,
)
from zrep.zfs.errors import as_failure

# Requests under way at the same time: whoever asks has a thread for each, and far fewer of them.
_MOST_AT_ONCE = 256
# What is under way may weigh so many times the bytes of the longest line.
_TIMES = 4


class Server:
    """The helper's life: requests come in from one descriptor, answers go out to another. most_bytes: of one request;
    most_at_once: requests under way; at_work: of those, so many are carried out, and answered, side by side."""

    def __init__(
        self,
        host: LocalHost,
        reader: int = 0,
        writer: int = 1,
        most_bytes: int = REQUEST_BYTES,
        most_at_once: int = _MOST_AT_ONCE,
        at_work: int = _MOST_AT_ONCE,
    ) -> None:
        self._host = host
        self._reader = reader
        self._writer = writer
        self._most_bytes = most_bytes
        self._most_at_once = most_at_once
        self._write = threading.Lock()
        self._working = threading.BoundedSemaphore(at_work)
        self._asked: queue.SimpleQueue[tuple[Ask, int] | None] = queue.SimpleQueue()
        self._counting = threading.Lock()
        self._under_way = 0
        self._weight = 0
        self._heard = time.monotonic()
        self._status = 0

    def serve(self) -> int:
        """Greet, and carry out what is asked until nobody is left who asks; the exit status, 1 when what came was no
        request."""
        self._say(encode(GREETING))
        for work in (self._listen, self._beat, self._watch_for_silence):
            threading.Thread(target=work, daemon=True).start()
        working: list[threading.Thread] = []
        while (asked := self._asked.get()) is not None:
            # Side by side: what several filesystems have to write then shares a transaction group, and none waits
            # for another's lock. Whoever asks waits for the answer, so that no two requests depend on each other.
            working = [thread for thread in working if thread.is_alive()]
            working.append(threading.Thread(target=self._carry_out, args=asked))
            working[-1].start()
        for thread in working:
            thread.join()
        self._host.close()
        return self._status

    def _listen(self) -> None:
        """A thread of its own, so that beats count as heard while a long request is being carried out."""
        try:
            with suppress(OSError):
                for line in Lines(self._reader, self._most_bytes, self._hear):
                    self._accept(line)
        except MalformedError as error:
            error.what = f"{self._host.name} was sent what is no request: {error.what}"
            self._status = 1
            self._say(encode(Failed(0, as_failure(error))))
        self._asked.put(None)

    def _hear(self) -> None:
        self._heard = time.monotonic()

    def _accept(self, line: bytes) -> None:
        """Weighed before it is read: what is made of it stays until it has been carried out."""
        weighs, most = weight(line), _TIMES * self._most_bytes
        if self._weight + weighs > most:
            raise MalformedError("too much was asked at once", evidence=f"more than {most} bytes")
        message = read_for_helper(line)
        if isinstance(message, Beat):
            return
        with self._counting:
            self._under_way += 1
            self._weight += weighs
        if self._under_way > self._most_at_once:
            raise MalformedError("too much was asked at once", evidence=f"more than {self._most_at_once} requests")
        self._asked.put((message, weighs))

    def _carry_out(self, ask: Ask, weighs: int) -> None:
        with self._working:
            line = answer(self._host, ask)
            with self._counting:
                self._under_way -= 1
                self._weight -= weighs
            self._say(line)

    def _say(self, line: bytes) -> None:
        view = memoryview(line)
        try:
            with self._write:
                while view:
                    view = view[os.write(self._writer, view) :]
        except OSError:
            self._give_up()

    def _beat(self) -> None:
        beat = encode(Beat())
        while True:
            time.sleep(BEAT_SECONDS)
            self._say(beat)

    def _watch_for_silence(self) -> None:
        """Beats share the wire with the streams, and wait behind what is on its way already: on a slow one for longer
        than HEARTBEAT_SECONDS. While the bytes of a stream arrive the other end is alive."""
        runs = 0
        while (silent := time.monotonic() - self._heard) < HEARTBEAT_SECONDS:
            if silent > BEAT_SECONDS and (now := runs_of_receives(self._host.locks.lent)) != runs:
                runs = now
                self._hear()
            time.sleep(1.0)
        self._give_up(HEARD_NOTHING)

    def _give_up(self, status: int = 1) -> None:
        """Not sys.exit: the main thread may be waiting for a zfs command. The kernel frees the locks, unless a
        zfs child that inherited them still runs: then the dataset is rightly busy until it has ended."""
        os._exit(status)


def answer(host: Host, ask: Ask) -> bytes:
    """Have a request carried out; the line that answers it."""
    try:
        try:
            return encode_answer(ask.number, host.ask(ask.request))
        except ZrepError as error:
            return encode(Failed(ask.number, as_failure(error)))
    except UsageError as error:  # an error whose text cannot be encoded
        return encode(Failed(ask.number, as_failure(UsageError(error.what, evidence=ascii(error.evidence)))))
    except Exception as error:  # a bug here must reach the person at the other end as one
        return encode(Failed(ask.number, as_failure(BugError(f"on {host.name}: {error!a}"))))


def serve(settings: Settings) -> int:
    """The whole life of the helper; its exit status."""

    def dial(host: str) -> Identity:
        from zrep.wire.client import dial  # only init asks for it, and the helper starts with every run

        return dial(host, settings)

    return Server(LocalHost(settings, dial=dial)).serve()
