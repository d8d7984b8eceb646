"""What zrep doctor looks for in a pair, each finding with the command that mends it, and with the steps where zrep may
take them by itself: those that no data, no mount and nobody's own setting depends on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from shlex import join, quote

from msgspec import Struct

from zrep.core import delegation
from zrep.core.dataset import Member
from zrep.core.errors import FailedError, NotAdmittedError, ZrepError
from zrep.core.mounts import in_the_way
from zrep.core.names import ancestors, pool_of, spoken
from zrep.core.pair import End
from zrep.core.plan_data import plan_release
from zrep.core.plan_role import plan_closed
from zrep.core.quantities import size, whole_number
from zrep.core.requests import Dial, ReadFeatures, ReadHolders, ReadRights, ReadSchedule, ReadSessionLimit
from zrep.core.steps import InheritProperty, SetProperties, Step
from zrep.host.local import Host
from zrep.ops.children import find_left_out
from zrep.ops.memory import busy_for_long
from zrep.ops.preflight import blockers, gaps, plain_host
from zrep.ops.read import observe, read_all_properties, read_delegations, read_mounts, read_pool_space
from zrep.ops.send_flags import lacking
from zrep.ops.session import Session
from zrep.ops.view import Link, View

# Of a pool, below which it is nearly full: ZFS itself becomes slow there.
_LEAST_FREE = 10
# Of a connection: the helper's, and one for each stream that moves at the same time.
_SESSIONS = 5
# Programs that make snapshots by themselves, by the names that they give.
_TOOLS = {
    "zfs-auto-snap": "zfs-auto-snapshot",
    "autosnap_": "sanoid",
    "syncoid_": "syncoid",
    "zrepl_": "zrepl",
    "znapzend": "znapzend",
    "auto-": "the appliance's own schedule",
}
_USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_AUTO = "com.sun:auto-snapshot"


class Finding(Struct, frozen=True):
    """What will hurt later. fix: what mends it, where that is safe."""

    error: ZrepError
    fix: tuple[Step, ...] = ()


def findings(session: Session, link: Link, view: View) -> Iterator[Finding]:
    """All that is found of a pair that is well as it is."""
    for check in (_role_change, _canmount, _flags, _tools, _left_over, _quotas):
        yield from check(view)
    yield from map(Finding, gaps(view))
    yield from _back(session, link)
    yield from _left_out(session, view)
    yield from not_replicated(view.executor.source, view.pair.source.members)
    for end in End:
        host, tree = view.executor.host(end), view.pair.at(end)
        yield from _room(host, end, tree.name, view)
        yield from _rights(host, end, tree.name)
    peer = session.host(link.peer_host)
    yield from _noise(peer)
    yield from few_sessions(peer)
    yield from _schedule(session, link)
    yield from _locked(session, link)


def _found(what: str, evidence: str = "", advice: str = "", fix: tuple[Step, ...] = ()) -> Finding:
    return Finding(FailedError(what, evidence=evidence, advice=advice), fix)


def _role_change(view: View) -> Iterator[Finding]:
    found: tuple[ZrepError, ...] = ()
    with suppress(NotAdmittedError):  # no role moves through it
        found = blockers(view)
    for error in found:
        yield _found("a role change would be refused", error.line().partition("; next: ")[0], error.advice)


def _canmount(view: View) -> Iterator[Finding]:
    """A replica that mounts by itself may be mounted over what is there at the next boot, or under it."""
    host = view.executor.target
    for member in view.pair.target.members:
        if not member.volume and member.get("canmount") == "on":
            fix = plan_closed(End.TARGET, view.pair.target, view.tag)
            yield _found(
                f"{member.name} on {host.name} mounts by itself at the next boot, replica as it is",
                evidence="canmount is on",
                advice=f"on {host.name}: zfs set {view.tag}:canmount=on canmount=noauto {quote(member.name)}",
                fix=fix,
            )
            return


def _flags(view: View) -> Iterator[Finding]:
    """A pool that was made anew, or elsewhere, may lack what the pair's streams use."""
    source, target, host = view.pair.source.members[0], view.pair.target.name, view.executor.target
    with suppress(ZrepError):
        features = host.ask(ReadFeatures(pool_of(target)))
        for word in (view.pair.source.role.flags or "").split():
            if feature := lacking(word, features, encrypted=source.encrypted):
                yield _found(
                    f"what zfs send {word} sends cannot be received in {target} on {host.name}",
                    evidence=f"feature@{feature} of the pool {pool_of(target)} is not enabled",
                    advice=f"on {host.name}: zpool set feature@{feature}=enabled {pool_of(target)}",
                )


def _tools(view: View) -> Iterator[Finding]:
    """Programs that make snapshots of a replica: streams pass these by, but they keep room that its master does not
    know of, and the program lets those go that came from there."""
    host = view.executor.target
    for lane in view.lanes:
        target = lane.lane.target
        names = _made_there(lane)
        for prefix, tool in _TOOLS.items():
            own = [name for name in names if name.startswith(prefix)]
            auto = tool == "zfs-auto-snapshot"
            if own and not (auto and _told_not_to(host, target.name)):
                yield _found(
                    f"{tool} makes snapshots of the replica {target.name} on {host.name}",
                    evidence=f"@{own[-1]}, which the master does not have",
                    advice=f"on {host.name}: zfs set {_AUTO}=false {quote(target.name)}"
                    if auto
                    else f"leave {target.name} out of the configuration of {tool} on {host.name}",
                    fix=(SetProperties(End.TARGET, (target.name,), ((_AUTO, "false"),)),) if auto else (),
                )
                break


def _made_there(lane: View) -> list[str]:
    """The snapshots of a replica that came after the first that zrep knows to be there, and with no stream."""
    target, guids = lane.lane.target, {snapshot.guid for snapshot in lane.lane.source.snapshots}
    came = target.received(lane.tag)
    return [s.name for s in target.snapshots if came and s.createtxg > came[0].createtxg and s.guid not in guids]


def _told_not_to(host: Host, dataset: str) -> bool:
    """Whether zfs-auto-snapshot makes no more of a dataset: that it did is no news then."""
    value = read_all_properties(host, dataset).get(_AUTO)
    return value is not None and value.value == "false"


def _left_over(view: View) -> Iterator[Finding]:
    """The number of a shell zrep's process that has ended, and holds that no run will need again."""
    for end in End:
        host, root = view.executor.host(end), view.pair.at(end).members[0]
        if root.role.lock_pid:
            yield _found(
                f"a shell zrep has left its lock on {root.name} on {host.name}",
                evidence=f"{view.tag}:lock-pid is {root.role.lock_pid}",
                advice=f"on {host.name}: zfs inherit {view.tag}:lock-pid {quote(root.name)}",
                fix=tuple(
                    InheritProperty(end, (root.name,), f"{view.tag}:{word}") for word in ("lock-pid", "lock-time")
                ),
            )
        for lane in view.lanes:
            yield from _old_holds(lane, end, host)


def _old_holds(lane: View, end: End, host: Host) -> Iterator[Finding]:
    member, base = lane.lane.at(end), lane.lane.base
    own = member.by_guid(base.guid) if base else None
    if own is None or lane.tag not in own.holds:
        return
    for step in plan_release(lane.lane, end):
        names = [full.partition("@")[2] for full in step.snapshots]
        yield _found(
            f"{len(names)} snapshots of {member.name} on {host.name} are held that no stream begins at",
            evidence=", ".join(f"@{name}" for name in names[:3]),
            advice=f"on {host.name}: zfs release {lane.tag} {join(step.snapshots)}",
            fix=(step,),
        )


def _back(session: Session, link: Link) -> Iterator[Finding]:
    """Whether the peer reaches this host, as it must to take over; a pulled pair has no way back."""
    peer = session.host(link.peer_host)
    if peer is session.local or link.role.driver:
        return
    try:
        peer.ask(Dial(link.role.own_host))
    except ZrepError as error:
        yield _found(
            f"{link.peer_host} cannot dial back to this host as {link.role.own_host}",
            evidence=error.line(),
            advice=f"make 'ssh {link.role.own_host} zrep version' work on {link.peer_host}",
        )


def _left_out(session: Session, view: View) -> Iterator[Finding]:
    host = view.executor.source
    found = find_left_out(host, view.tag, [view.pair.source.members[0]], here=host is session.local, certain=True)
    for name, what in found.items():
        yield Finding(what.error(name))


def not_replicated(host: Host, members: Iterable[Member]) -> Iterator[Finding]:
    """What is mounted in a master and is no dataset: whoever writes there may take it for replicated."""
    placed = [member for member in members if member.placed]
    with suppress(NotAdmittedError):
        table = read_mounts(host) if placed else []
        inside = {
            entry.point: (entry, member)
            for member in placed
            for entry in in_the_way(table, member.get("mountpoint"))
            if entry.kind not in ("zfs", "autofs")
        }
        for entry, member in inside.values():
            yield _found(
                f"what is written to {entry.point} on {host.name} is not replicated, though it is in {member.name}",
                evidence=f"{entry.source} ({entry.kind}) is mounted there",
                advice=f"on {host.name}: mount it outside of {member.get('mountpoint')}",
            )


def _quotas(view: View) -> Iterator[Finding]:
    """A quota of the replica's own that the master's data will not fit into."""
    host, master, replica = view.executor.target, view.pair.source.members[0], view.pair.target.members[0]
    with suppress(ZrepError):  # what cannot be read is no finding
        own = read_all_properties(host, replica.name)
        for name, needed in (("quota", _used(master)), ("refquota", master.number("referenced"))):
            limit = whole_number(own[name].value, 20) if name in own else None
            if limit and limit < needed:
                yield _found(
                    f"the replica's {name} on {host.name} is less than what the master uses",
                    evidence=f"{size(limit)}, and {size(needed)} are used",
                    advice=f"on {host.name}: zfs set {name}=none {quote(replica.name)}",
                )


def _used(member: Member) -> int:
    return max(0, member.number("used") - member.number("usedbychildren"))


def _room(host: Host, end: End, dataset: str, view: View) -> Iterator[Finding]:
    """A pool that will soon take no more, because of what is in it or of what is reserved. A floor is that of the
    master's pool: a replica's is full of what its master has, and of what is kept there."""
    pool = pool_of(dataset)
    space = read_pool_space(host, pool)
    root = observe(host, view.tag, [pool]).get(pool)
    free = min(space.free, root.number("available")) if root else space.free
    if free * 100 < space.size * _LEAST_FREE:
        yield _found(
            f"the pool {pool} on {host.name} is nearly full",
            evidence=f"{size(free)} of {size(space.size)} can be written",
            advice=f"make room on {host.name}, or set a floor: zrep changeconfig --minfree 2% {quote(view.name)}"
            if end is End.SOURCE
            else f"on {host.name}: zfs list -o space -r {quote(dataset)}",
        )


def _rights(host: Host, end: End, dataset: str) -> Iterator[Finding]:
    """What a user other than root would be denied in the middle of a run."""
    with suppress(ZrepError):
        user = host.ask(ReadRights()).user
        if user == "root":
            return
        given: set[str] = set()
        for name in (dataset, *ancestors(dataset)):
            for kind, *words in read_delegations(host, name):
                if kind in ("-u", "-g", "-l", "-d", "-e") and words:
                    given |= set(words[-1].split(","))
        if any(word.startswith("@") for word in given):
            return  # a set may have any of them
        receive = end is End.TARGET
        missing = sorted(set(delegation.RECEIVE if receive else delegation.SEND) - given)
        if missing:
            way = "--receive" if receive else "--send"
            yield _found(
                f"{user} lacks permissions on {dataset} on {host.name}",
                evidence=", ".join(missing),
                advice=f"as root on {plain_host(host.name)}: zrep allow {user} {quote(dataset)} {way} --apply",
            )


def _noise(peer: Host) -> Iterator[Finding]:
    """zrep skips it; the next program over the same ssh may not."""
    if said := peer.noise:
        yield _found(
            f"login files on {peer.name} print something where nobody logs in to read it",
            evidence=said,
            advice=f"on {plain_host(peer.name)}: let them print only on a terminal: [ -t 1 ] || return",
        )


def few_sessions(peer: Host) -> Iterator[Finding]:
    """What sshd of a peer lets a run have."""
    limit = _SESSIONS
    with suppress(NotAdmittedError):
        limit = limit if peer.local else peer.ask(ReadSessionLimit())
    if limit < _SESSIONS:
        yield _found(
            f"sshd on {peer.name} lets a connection have {limit} sessions, and a run has up to {_SESSIONS}",
            evidence="MaxSessions in sshd_config",
            advice=f"on {plain_host(peer.name)}: MaxSessions 10 in sshd_config, then: systemctl reload ssh",
        )


def _schedule(session: Session, link: Link) -> Iterator[Finding]:
    """Either side becomes the master some day; a pulled pair has one host that syncs."""
    peer = session.host(link.peer_host)
    for host in dict.fromkeys((session.local, *(() if link.role.driver else (peer,)))):
        try:
            scheduled = host.ask(ReadSchedule(session.tag))
        except NotAdmittedError:
            continue
        if not scheduled:
            yield _unscheduled(plain_host(host.name), spoken(session.tag), host.ask(ReadRights()).user)
        for file, path in scheduled.items():
            if path:
                yield _found(
                    f"cron on {plain_host(host.name)} does not find zrep",
                    evidence=f"{file} calls it by its name alone, in the PATH {path}",
                    advice=f"on {plain_host(host.name)}: in {file}, before that line: PATH={_USUAL_PATH}",
                )


def _unscheduled(host: str, tag: str, user: str) -> Finding:
    """The timer of the package is for the usual tag, "" here; so is the file of cron that others name. Both are root's:
    any other user has a crontab, whose lines name no user."""
    words = f"-t {tag} sync" if tag else "sync"
    line = f"$(command -v zrep) {words} all"
    if user != "root":
        advice = f'on {host}, as {user}: (crontab -l; echo "* * * * * {line}") | crontab -'
    else:
        timer = "" if tag else "systemctl enable --now zrep-sync.timer, or a line of cron: "
        file = f"zrep-{tag.replace('.', '-')}" if tag else "zrep"
        advice = f'on {host}: {timer}echo "* * * * * root {line}" > /etc/cron.d/{file}'
    return _found(
        f"nothing on {host} runs zrep {words} by itself",
        evidence=f"no line of cron has it{'' if tag else ', and no timer of zrep is enabled'}",
        advice=advice,
    )


def _locked(session: Session, link: Link) -> Iterator[Finding]:
    """Somebody has it locked on either side, and nothing was synced for long: by the rule of status and sync."""
    for host, name in ((session.local, link.name), (session.host(link.peer_host), link.peer_name)):
        holder = host.ask(ReadHolders((name,))).get(name)
        if holder is None:
            continue
        if found := busy_for_long(session, link, holder):
            yield _found(f"{name} on {host.name} is {found.what}", found.evidence, f"on {host.name}: {found.advice}")
            return
