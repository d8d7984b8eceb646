"""changeconfig: what this side knows of a pair."""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote

from msgspec import Struct
from msgspec.structs import replace

from zrep.core import shape
from zrep.core.advice import command
from zrep.core.dataset import Member
from zrep.core.diagnosis import diagnose_alone
from zrep.core.errors import RefusedError, UsageError, ZrepError, tagged
from zrep.core.names import EXCLUDE, ancestors, check_dataset, check_host, spoken
from zrep.core.pair import End
from zrep.core.pair_state import State
from zrep.core.place import own_and_peer
from zrep.core.plan_copied_properties import plan_chosen
from zrep.core.quantities import floor_bytes, seconds
from zrep.core.relation import Unrelated, relate
from zrep.core.requests import Identify, Lock
from zrep.core.role import Role
from zrep.core.rules import parse_patterns, parse_schedule
from zrep.core.steps import InheritProperty, SetProperties, Step
from zrep.ops.finding import find_link, roles_here
from zrep.ops.locking import busy
from zrep.ops.one_side import apply_here, lock_here
from zrep.ops.outcome import Outcome
from zrep.ops.pairs import open_pair
from zrep.ops.read import find_role, observe
from zrep.ops.repair import prepare
from zrep.ops.session import Session
from zrep.ops.tags import check_all_below
from zrep.ops.view import Link

# No pool is so small that fewer bytes would be a floor.
_LEAST_BYTES = 2**20


class Config(Struct, frozen=True):
    """What changeconfig changes on this side; empty, 0 or None: as it is. Names are the peer's; lease: seconds, 0 for
    none; max_lag: how long the replica may be behind, as seconds() reads it, or "none"; after: for how long cron is not
    told of a trouble that may heal by itself, likewise; recursive: whether everything below goes with it, which both
    sides have to know; moved: the pool is here now; keep: a schedule, keep_foreign: patterns, either may be "none";
    unsent: "keep" or "drop"; exclude: whether it is left out, with all below it, of the tree that it is in; compress: a
    program, bwlimit: a rate, either may be "none"; all_snapshots: whether those of others travel too; props: what is
    not to follow (see Role.chosen), or "none", which both sides have to know."""

    peer_host: str = ""
    peer_fs: str = ""
    own_host: str = ""
    savecount: int = 0
    lease: int | None = None
    minfree: str = ""
    max_lag: str = ""
    after: str = ""
    recursive: bool | None = None
    moved: bool = False
    keep: str = ""
    keep_foreign: str = ""
    unsent: str = ""
    exclude: bool | None = None
    compress: str = ""
    bwlimit: str = ""
    all_snapshots: bool | None = None
    props: str = ""


def changeconfig(session: Session, name: str, config: Config) -> Outcome:
    """Change where this side finds its peer, or its own limits; a dataset that was renamed learns its
    own name. Only this side is changed, but where a Config says that both sides have to know."""
    if config.exclude is not None:
        return _exclude(session, name, config)
    link = _changeable(session, name)
    if done := _followed(session, name, link.role, config):
        return done
    changes = _changes(session, name, link, config)
    if config.recursive is not None:
        _change_tree(session, name, recursive=config.recursive)
        if not changes:
            what = "everything below goes with it from the next sync on" if config.recursive else "it goes alone"
            return Outcome(name, message=what)
    if config.props:
        _choose(session, name, "" if config.props == "none" else config.props)
        if not changes:
            return Outcome(name, message=f"does not follow: {config.props}")
    if not changes:
        raise UsageError("nothing to change", filesystem=name, advice="see: zrep changeconfig --help")
    _check_programs(session, link, changes, lock_here(session, name, link.role))
    properties = tuple((f"{session.tag}:{key}", value) for key, value in changes.items())
    text = ", ".join(f"{key}={value}" for key, value in changes.items())
    done = apply_here(session, name, [SetProperties(End.SOURCE, (name,), properties)], f"set {text}")
    if config.moved:
        _tell(session, name, link.role, changes)
    elif config.peer_host and not link.role.only_dialled:
        _look_for(session, name, link.role, config.peer_host)
    return done


def _changeable(session: Session, name: str) -> Link:
    """Find the link of a dataset that may be changed. RefusedError where something unfinished has to be ended first."""
    link = find_link(session, name, strict=False)
    found = diagnose_alone(name, link.role)
    if found.state in (State.UNREADABLE, State.REJOIN_UNFINISHED):
        raise found.error(name)
    if link.role.intent is not None and link.role.intent.role:
        raise RefusedError(
            "a role change is unfinished, and its record would undo this",
            filesystem=name,
            advice=f"finish it first: zrep sync {quote(name)}",
        )
    return link


def _followed(session: Session, name: str, role: Role, config: Config) -> Outcome | None:
    """Have a replica follow another master, where that is what its new peer is; None where it is not."""
    if not (config.peer_host and config.peer_fs and role.master is False):
        return None
    from zrep.ops.follow_another import follow_another, is_another  # seldom needed

    if not is_another(session, config.peer_host, config.peer_fs):
        return None
    if config != Config(config.peer_host, config.peer_fs, config.own_host):
        raise UsageError("another master goes with no other change", filesystem=name)
    told = replace(role, dest_host=config.own_host or role.dest_host)
    done = follow_another(session, name, told, config.peer_host, config.peer_fs)
    if role.recursive:
        _change_tree(session, name, recursive=True)
    return done


def _changes(session: Session, name: str, link: Link, config: Config) -> dict[str, str]:
    """The properties of this side that are to be changed, by their names without the tag, in the order in which they
    are told. UsageError for what makes no sense."""
    changes = _names(name, link, config) | _limits(name, config)
    if config.moved:
        changes["places"] = _moved(session, name)
    if config.all_snapshots is not None:
        changes["allsnaps"] = "on" if config.all_snapshots else "off"
    return changes | _rules(name, config) | _shape(name, config)


def _names(name: str, link: Link, config: Config) -> dict[str, str]:
    """The properties that say where the two halves are."""
    changes: dict[str, str] = {}
    ours, theirs = ("src", "dest") if link.is_master else ("dest", "src")
    if config.peer_host:
        changes[f"{theirs}-host"] = check_host(config.peer_host)
    if config.peer_fs:
        changes[f"{theirs}-fs"] = check_dataset(config.peer_fs)
    if link.role.own_fs != name:
        changes[f"{ours}-fs"] = name
    if config.own_host:
        changes[f"{ours}-host"] = check_host(config.own_host)
    return changes


def _limits(name: str, config: Config) -> dict[str, str]:
    """The properties that are numbers and times. UsageError for what makes no sense."""
    changes: dict[str, str] = {}
    if config.savecount:
        changes["savecount"] = str(config.savecount)
    if config.lease is not None:
        changes["lease"] = str(config.lease)
    if config.minfree:
        changes["minfree"] = config.minfree
        if floor_bytes(config.minfree, 0) is None:
            raise UsageError(f"{config.minfree!r} is no floor", filesystem=name, evidence="expected 2% or 10G")
        if config.minfree.isdigit() and 0 < int(config.minfree) < _LEAST_BYTES:  # 0: no floor
            number = config.minfree
            raise UsageError(
                f"{number} is {number} bytes", filesystem=name, advice=f"--minfree {number}%, or --minfree {number}G"
            )
    times = (("maxlag", config.max_lag), ("after", config.after))
    return changes | {key: _time(name, text) for key, text in times if text}


def _time(name: str, text: str) -> str:
    """Seconds, of a time as a person writes it; 0 for none."""
    found = 0 if text == "none" else seconds(text)
    if found is None:
        raise UsageError(f"{text!r} is no time", filesystem=name, evidence="expected 15m, 2h, 1d or none")
    return str(found)


def _look_for(session: Session, name: str, was: Role, host: str) -> None:
    """Say when nobody answers under the name that the peer has got: it may be mistyped, or be switched off."""
    try:
        session.host(host).ask(Identify())
    except ZrepError as error:
        back = tagged(command("", "changeconfig", name, was.peer_host, was.peer_fs), spoken(session.tag))
        session.warn(f"{name}: {host} is its peer now, and does not answer: {error.line()}; if that is no host: {back}")


def _moved(session: Session, name: str) -> str:
    """The places to remember from now on: its own as it is, its peer's as it was."""
    member = observe(session.local, session.tag, [name])[name]
    return f"{member.place} {own_and_peer(member.role.places)[1]}"


def _tell(session: Session, name: str, role: Role, changes: dict[str, str]) -> None:
    """Let the other half know where this one is now, and by what name it reaches it. This side comes first: after a
    disaster it may have to be made the master without the other one."""
    peer = session.peer(role)
    try:
        theirs = observe(peer, session.tag, [role.peer_fs]).get(role.peer_fs)
    except ZrepError as error:
        error.what = f"{role.peer_host} was not told that {name} was moved: {error.what}"
        error.advice = f"run this again when it answers: zrep changeconfig --moved {quote(name)}"
        raise
    if theirs is None or isinstance(relate(role, theirs.role), Unrelated):
        raise RefusedError(f"{role.peer_fs} on {role.peer_host} is not the other half", filesystem=name)
    if peer.ask(Lock((role.peer_fs,), 2.0, session.tag)):
        raise busy(role.peer_fs)
    told = {key: value for key, value in changes.items() if key in ("src-host", "dest-host")}
    own = changes["places"].partition(" ")[0]
    told["places"] = f"{own_and_peer(theirs.role.places)[0]} {own}"
    properties = tuple((f"{session.tag}:{key}", value) for key, value in told.items())
    session.alone(peer).do_all([SetProperties(End.SOURCE, (role.peer_fs,), properties)])


def _rules(name: str, config: Config) -> dict[str, str]:
    """The properties of what this side keeps that are to be changed; UsageError for what makes no sense."""
    given = (
        ("keep", config.keep, parse_schedule, "a schedule: 24h 14d 8w 12m 5y, or none"),
        ("foreign", config.keep_foreign, parse_patterns, "patterns of names: autosnap_*,by-hand-?, or none"),
    )
    for _, text, parse, expected in given:
        if text not in ("", "none") and not parse(text):
            raise UsageError(f"{text!r} cannot be kept by", filesystem=name, evidence=f"expected {expected}")
    if config.unsent not in ("", "keep", "drop"):
        raise UsageError(f"{config.unsent!r} is no choice", filesystem=name, evidence="expected keep or drop")
    changes = {key: "" if text == "none" else " ".join(text.split()) for key, text, *_ in given if text}
    return changes | ({"unsent": config.unsent} if config.unsent else {})


def _shape(name: str, config: Config) -> dict[str, str]:
    """The properties of what streams pass through that are to be changed; UsageError for what makes no sense."""
    if config.bwlimit not in ("", "none") and not shape.rate(config.bwlimit):
        raise UsageError(f"{config.bwlimit!r} is no rate", filesystem=name, evidence="expected 500K, 10M or none")
    if config.compress not in ("", "none") and not shape.compressor(config.compress):
        expected = f"expected {', '.join(shape.COMPRESSORS)} or none"
        raise UsageError(f"{config.compress!r} is no compressor", filesystem=name, evidence=expected)
    given = (("compress", config.compress), ("bwlimit", config.bwlimit))
    return {key: "" if text == "none" else text for key, text in given if text}


def _check_programs(session: Session, link: Link, changes: Mapping[str, str], here: Member) -> None:
    """RefusedError where streams of this side would pass through what is not installed: a compressor on either host."""
    bwlimit, compress = shape.rate(changes.get("bwlimit", "")) or 0, changes.get("compress", "")
    asked = [(session.local.name, True, here)]
    if compress:
        there = observe(session.host(link.peer_host), session.tag, [link.peer_name]).get(link.peer_name)
        asked += [(link.peer_host, False, there)] if there else []
    for host, sends, member in asked:
        if name := shape.missing(bwlimit, compress, sends=sends, programs=member.programs):
            raise RefusedError(
                f"{name} is not installed on {host}",
                filesystem=link.name,
                evidence="nothing was changed",
                advice=f"install it there, where the PATH of zrep finds it, and run this again{_or_another(compress)}",
            )


def _or_another(compress: str) -> str:
    others = ", ".join(name for name in shape.COMPRESSORS if name != compress)
    return f"; or another one: {others}" if compress else ""


def _change_tree(session: Session, name: str, *, recursive: bool) -> None:
    """Make a pair that of a tree, or of one dataset again, on both sides. What has arrived is not sent again, and what
    is below the replica stays. The replica learns of a tree first, and of its end last: a member that it has is never
    taken for somebody else's."""
    view = prepare(
        session, open_pair(session, name, there="changeconfig -r" if recursive else "changeconfig --no-recursive")
    )
    if recursive:
        check_all_below(view.executor.target, session.tag, view.pair.target.name)
    ends = (End.TARGET, End.SOURCE) if recursive else (End.SOURCE, End.TARGET)
    mark = ((f"{session.tag}:recursive", "on" if recursive else "off"),)
    view.do([SetProperties(end, (view.pair.at(end).name,), mark) for end in ends])


def _choose(session: Session, name: str, props: str) -> None:
    """Change which properties do not follow, on both sides: the replica's first, so that a run that is cut is made good
    by another one that is told the same."""
    view = prepare(session, open_pair(session, name, there="changeconfig -o and -x"))
    chosen = replace(view.pair.source.role, props=props).chosen
    view.do([step for lane in view.lanes for step in plan_chosen(lane.lane, chosen)])
    mark = f"{session.tag}:props"
    for end in (End.TARGET, End.SOURCE):
        names = (view.pair.at(end).name,)
        view.do([SetProperties(end, names, ((mark, props),)) if props else InheritProperty(end, names, mark)])


def _exclude(session: Session, name: str, config: Config) -> Outcome:
    """Leave a dataset and all below it out of the tree that it is in, or take it in again. It is said where the tree is
    master; the next sync sets the replica's copy aside, or takes that back."""
    if config != Config(exclude=config.exclude):
        raise UsageError("--exclude and --include go with no other option", filesystem=name)
    roles = roles_here(session)
    root = next((above for above in reversed(ancestors(name)) if above in roles and roles[above].recursive), None)
    if root is None or find_role(session.local, session.tag, name) is None:
        raise RefusedError(
            "it is not below the root of a tree here",
            filesystem=name,
            evidence=f"trees here: {', '.join(each for each, role in roles.items() if role.recursive) or 'none'}",
            advice="see: zrep list",
        )
    role = roles[root]
    if not role.master:
        raise RefusedError(
            f"its tree {root} is a replica here",
            filesystem=name,
            advice=f"on {role.peer_host}: zrep changeconfig {'--exclude' if config.exclude else '--include'} "
            f"{quote(role.peer_fs + name.removeprefix(root))}",
        )
    mark = f"{session.tag}:{EXCLUDE}"
    step: Step = InheritProperty(End.SOURCE, (name,), mark)
    if config.exclude:
        step = SetProperties(End.SOURCE, (name,), ((mark, "on"),))
    lock_here(session, root, role)
    said = "left out from the next sync on" if config.exclude else "taken in again by the next sync"
    return apply_here(session, root, [step], f"{name} is {said}, with all below it")
