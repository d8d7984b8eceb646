"""What a host is asked at the moment, in words: what a person waits for who sees nothing move."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zrep.core import requests, steps

# fmt: off
_STEPS: Mapping[type[steps.Step], str] = {
    steps.CloseTransactionGroup: "waiting for a transaction group",
    steps.TakeSnapshot: "taking snapshots",
    steps.Hold: "holding snapshots",
    steps.Release: "letting go of holds",
    steps.DestroySnapshots: "destroying surplus snapshots",
    steps.RemountReadOnly: "remounting read-only",
    steps.ReplayLog: "replaying an intent log",
    steps.Mount: "mounting",
    steps.Unmount: "unmounting",
    steps.Rollback: "rolling back",
    steps.DiscardPartial: "discarding what was half received",
    steps.DestroyClone: "destroying a clone",
}
_REQUESTS: Mapping[type[requests.Request[Any]], str] = {
    requests.Lock: "waiting for its lock",
    requests.RunHooks: "running hooks",
    requests.EndReceive: "ending a stream whose sender is gone",
    requests.Revoke: "waiting for the end of a stream",
    requests.TakeRole: "taking the role",
    requests.ReadUsers: "looking who uses it",
    requests.FindOpenVolumes: "looking who has its volumes open",
    requests.ReadDifferences: "looking for differences",
    requests.ReadStreamSize: "asking how much there is to send",
    requests.IsUnmodified: "looking whether it was written to",
    requests.Dial: "dialling back",
}
# fmt: on
_CHANGING = "changing properties"


def stage(request: requests.Request[Any]) -> str:
    """What a host is doing that is asked this."""
    if isinstance(request, requests.CarryOut):
        first = next(iter(request.steps), None)
        return _CHANGING if first is None else _STEPS.get(type(first), _CHANGING)
    if isinstance(request, requests.ReadMembers) and request.sync_txg:
        return "waiting for a transaction group, and reading"
    return _REQUESTS.get(type(request), "reading" if request.looks else _CHANGING)
