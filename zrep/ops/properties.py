"""What is set on a master, set on its replica too: at each sync, written to or not."""

from __future__ import annotations

from contextlib import suppress
from shlex import quote

from zrep.core.errors import FailedError, UnreachableError, ZrepError
from zrep.core.plan_copied_properties import plan_copied_properties, plan_copied_record, plan_frozen
from zrep.core.steps import Change, InheritProperty, SetProperties
from zrep.ops.outcome import Outcome
from zrep.ops.session import Session
from zrep.ops.view import View
from zrep.zfs.errors import DeniedError


def followed(session: Session, view: View) -> View:
    """The pair of one lane once its replica's properties have followed. One that cannot be set there is told of, and
    keeps nothing else from being done."""
    for step in plan_copied_properties(view.lane):
        error = view.executor.try_do(step)
        if isinstance(error, UnreachableError):
            raise error
        if error is not None:
            session.untidied.append(_refused(view, step, error))
        else:
            view = view.after(step)
    for step in (*plan_copied_record(view.lane), *plan_frozen(view.lane)):
        view.do([step])
        view = view.after(step)
    return view


def _refused(view: View, step: Change, error: ZrepError) -> Outcome:
    match step:
        case SetProperties(properties=((name, value),)):
            what, command = f"{name}={value}", f"zfs set {name}={quote(value)}"
        case InheritProperty(name=name):
            what = command = f"zfs inherit {name}"
        case _:
            raise AssertionError(step)
    host, replica = view.executor.target.name, view.pair.target.name
    told = FailedError(
        f"{what} could not follow to {host}:{replica}",
        filesystem=view.name,
        evidence=error.evidence or error.what,
        advice=_allowing(view, name, error)
        or f"on {host}, once it can be: {command} {quote(replica)}; any other value that is set there is kept",
    )
    # News of its own: what else becomes of the filesystem is another outcome of the same run.
    return Outcome(view.name, error=told, harmless=True, about=f"{name} of {view.name}")


def _allowing(view: View, name: str, error: ZrepError) -> str:
    """What lets a user other than root set a property of a replica, where he was denied that; "" where it is not so."""
    if not isinstance(error, DeniedError):
        return ""
    from zrep.core.requests import ReadRights  # seldom needed
    from zrep.ops.preflight import plain_host

    host = view.executor.target
    with suppress(ZrepError):
        if (user := host.ask(ReadRights()).user) != "root":
            return f"as root on {plain_host(host.name)}: zfs allow -u {user} {name} {quote(view.pair.target.name)}"
    return ""
