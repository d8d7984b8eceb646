"""The half of zrep that runs on the peer: one process per run, fed requests as lines of JSON on its stdin.

It answers on stdout, one line per request with the request's number, and sends a beat every few seconds while it
works. When the other end falls silent for HEARTBEAT_SECONDS or closes the pipe, it gives everything up: its locks
lapse with it.
Nothing it reads is ever given to a shell.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from zrep.core.errors import BugError, ZrepError
from zrep.host.local import PROTOCOL, LocalAgent

BEAT_SECONDS = 3.0
HEARTBEAT_SECONDS = 12.0
GREETING = "zrep-peer"


class _Server:
    def __init__(self) -> None:
        self._agent = LocalAgent()
        self._write = threading.Lock()
        self._requests: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._heard = time.monotonic()

    def serve(self) -> int:
        self._say({"greeting": GREETING, "protocol": PROTOCOL})
        for work in (self._listen, self._beat, self._watch_for_silence):
            threading.Thread(target=work, daemon=True).start()
        working: list[threading.Thread] = []
        while (request := self._requests.get()) is not None:
            # End by side: what several filesystems have to write then shares a transaction group, and none waits
            # for another's lock. Whoever asks waits for the answer, so that no two requests depend on each other.
            working = [thread for thread in working if thread.is_alive()]
            working.append(threading.Thread(target=self._carry_out, args=(request,)))
            working[-1].start()
        for thread in working:
            thread.join()
        self._agent.close()
        return 0

    def _carry_out(self, request: dict[str, Any]) -> None:
        self._say({"id": request["id"], **self._answer(request)})

    def _listen(self) -> None:
        """A thread of its own, so that beats count as heard while a long request is being carried out."""
        for line in sys.stdin:
            self._heard = time.monotonic()
            request = json.loads(line)
            if "call" in request:
                self._requests.put(request)
        self._requests.put(None)

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        calls: dict[str, Callable[..., Any]] = {
            "identity": self._agent.identity,
            "run": self._agent.run,
            "lock": self._agent.lock,
            "unlock": self._agent.unlock,
            "grant": self._agent.grant,
            "revoke": self._agent.revoke,
            "take_role": self._agent.take_role,
            "end_receive": self._agent.end_receive,
            "occupants": self._agent.occupants,
            "is_unmodified": self._agent.is_unmodified,
            "hooks": self._agent.hooks,
            "remember": self._agent.remember,
            "recall": self._agent.recall,
            "dial": self._agent.dial,
        }
        try:
            return {"result": calls[request["call"]](*request["args"])}
        except ZrepError as error:
            return {
                "error": {
                    "type": type(error).__name__,
                    "what": error.what,
                    "filesystem": error.filesystem,
                    "evidence": error.evidence,
                    "advice": error.advice,
                }
            }
        except Exception as error:  # a bug here must reach the person at the other end as one
            return {"error": {"type": BugError.__name__, "what": f"on the peer: {error!r}"}}

    def _say(self, answer: dict[str, Any]) -> None:
        text = json.dumps(answer, default=_plain)
        try:
            with self._write:
                sys.stdout.write(text + "\n")
                sys.stdout.flush()
        except OSError:
            self._give_up()

    def _beat(self) -> None:
        while True:
            time.sleep(BEAT_SECONDS)
            self._say({"beat": 1})

    def _watch_for_silence(self) -> None:
        while time.monotonic() - self._heard < HEARTBEAT_SECONDS:
            time.sleep(1.0)
        self._give_up()

    def _give_up(self) -> None:
        """Not sys.exit: the main thread may be waiting for a zfs command. The kernel frees the locks, unless a
        zfs child that inherited them still runs: then the dataset is rightly busy until it has ended."""
        os._exit(1)


def _plain(value: object) -> object:
    if isinstance(value, Struct):
        return asdict(value)
    raise TypeError(type(value))


def serve() -> int:
    """The whole life of the helper; its exit status."""
    return _Server().serve()
