"""Seeing before doing: what would stop a role change, what is worth knowing about it, how much there is to move."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from shlex import quote

from msgspec import Struct

from zrep.core.dataset import NO_TOKEN, Member
from zrep.core.diagnosis_data import diagnose_data, diagnose_turned
from zrep.core.errors import FailedError, RefusedError, ZrepError
from zrep.core.mounts import MountEntry, hidden_by, leads, mounted_by_hand, unmakable, unreachable_by_path, within
from zrep.core.pair import End, Tree
from zrep.core.plan_data import plan_advance, plan_stream
from zrep.core.plan_role import hidden_excluded, plan_open, plan_quiesce, while_master
from zrep.core.quantities import duration, size
from zrep.core.requests import (
    FindOpenVolumes,
    FindUnmakable,
    FindUnreadable,
    Identify,
    Identity,
    OpenVolumes,
    ReadRights,
    ReadUsers,
    Users,
)
from zrep.core.rights import as_root_there, may_not_mount, mounted_by
from zrep.core.steps import SendStream, Step
from zrep.host.local import Host
from zrep.ops.children import find_left_out, refused_change
from zrep.ops.memory import recall
from zrep.ops.read import read_mounts, read_stream_size
from zrep.ops.session import Session
from zrep.ops.tags import refuse_exchange
from zrep.ops.view import View

# Clocks that differ by less than this are as good as equal: the asking itself takes part of it.
_CLOCK_SECONDS = 5.0


class Preflight(Struct, frozen=True):
    """What a role change would meet: what would stop it, how much it has to move, and what is worth knowing."""

    blockers: tuple[ZrepError, ...]
    text: str = ""
    notes: tuple[str, ...] = ()


def blockers(view: View) -> tuple[ZrepError, ...]:
    """What would fail half way, found before anything is changed. Empty: nothing is known to stand in the way."""
    host = view.executor.target
    members = view.pair.target.members
    data = _unusable_data(view)
    found = [
        *refuse_exchange(view),
        *([data] if data else []),
        *by_hand(view.executor.source, view.pair.source.members),
    ]
    found += _rights(view)
    found += _unreplayed(view.executor.source, view.pair.source.members)
    found += covered(view.executor.source, view.pair.source.members)
    found += refused_change(view.executor.source, view.tag, view.pair.source, "on")
    found += refused_change(host, view.tag, view.pair.target, "off")
    return (*found, *unusable_keys(host, members).values(), *_mountpoints_taken(host, view.pair.target))


def obstacles(view: View, *, insist: bool) -> tuple[ZrepError, ...]:
    """The same, and the volumes that are in use: a filesystem's writers are found by its remount, those of a volume by
    nothing else."""
    return (*blockers(view), *open_volumes(view, insist=insist))


def preflight(session: Session, view: View, *, insist: bool) -> Preflight:
    """The same for a dry run, which has time to look further. insist: a writer would not stop it."""
    writers = _writers(view)
    found = (*obstacles(view, insist=insist), *((cannot_insist(view) if writers else ()) if insist else writers))
    notes = [f"{error.what} ({error.evidence}): it would be forced out" for error in writers] if insist else []
    master, host = view.pair.source.members[0], view.executor.source
    left = find_left_out(host, view.tag, [master], here=host is session.local, certain=True)
    notes += [what.line(name) for name, what in left.items()]
    notes += [gap.statement() for gap in gaps(view)]
    return Preflight(found, "" if _unusable_data(view) else _amount(session, view), tuple(notes))


def preflight_alone(session: Session, tree: Tree) -> list[str]:
    """What would keep a side that is promoted alone from being mounted: no reason not to promote it."""
    return [error.line() for error in _mountpoints_taken(session.local, tree)]


def _rights(view: View) -> list[ZrepError]:
    """Whoever may not mount gets as far as making the master read-only, and not back."""
    plans = (
        (End.SOURCE, plan_quiesce(view.pair, "")),
        (End.TARGET, plan_open(End.TARGET, view.pair.target, view.tag)),
    )
    command = "failover" if view.link.is_master else "takeover"
    found = []
    for end, plan in sorted(plans, key=lambda each: each[0] is not view.here):
        own, host = view.pair.at(end).name, view.executor.host(end)
        if end is view.here:
            advice = f"sudo zrep {command} {quote(own)}"
        else:
            advice = as_root_there(plain_host(host.name), view.name, own)
        if error := cannot_mount(host, plan, advice):
            found.append(error)
    return found


def cannot_mount(host: Host, plan: Iterable[Step], advice: str) -> ZrepError | None:
    """Why a plan would fail at a mount, an unmount or a share on a host: none is asked for what does nothing of it."""
    dataset = mounted_by(plan)
    if not dataset:
        return None
    rights = host.ask(ReadRights())
    return None if rights.mounts else may_not_mount(dataset, rights, plain_host(host.name), advice)


def plain_host(name: str) -> str:
    """A host's name without the user that it is dialled as."""
    return name.rpartition("@")[2]


def _unusable_data(view: View) -> ZrepError | None:
    for lane in view.lanes:
        found = diagnose_data(view.tag, lane.mine.members[0], lane.theirs.members[0])
        if found:
            return found.error(lane.name)
    turned = diagnose_turned(view.mine.members[0], view.theirs.members[0])
    return turned.error(view.name) if turned else None


def by_hand(host: Host, members: Sequence[Member]) -> list[RefusedError]:
    """Those that ZFS has not mounted, and could not mount again."""
    found = [member for member in members if member.mounted and not member.placed]
    table = read_mounts(host) if found else []
    return [mounted_by_hand(table, member.name, member.get("mountpoint"), host.name) for member in found]


def _unreplayed(host: Host, members: Sequence[Member]) -> list[ZrepError]:
    """Masters whose final snapshot might lack what was acknowledged before a crash: without its key no intent log is
    replayed. What is only not mounted is dealt with where writes stop, see replaying."""
    return [
        RefusedError(
            f"{member.name} is not {'open' if member.volume else 'mounted'} on {host.name}, "
            "and writes that a crash left in its intent log would be lost",
            evidence="its key is not loaded",
            advice=f"on {host.name}: {member.load_key}",
        )
        for member in members
        if member.key_missing
    ]


def unusable_keys(host: Host, members: Sequence[Member]) -> dict[str, RefusedError]:
    """Why encrypted datasets could not be mounted, by name: its key is not loaded, or the one that is opens it no
    more. All are asked about at once, as nobody can write meanwhile where the role is about to move."""
    # Any snapshot tells: the key is one for all of them.
    loaded = [m for m in members if m.encrypted and not m.key_missing and m.snapshots]
    tells = {f"{m.name}@{m.snapshots[0].name}": m.name for m in loaded}
    unreadable = {tells[snapshot] for snapshot in host.ask(FindUnreadable(tuple(tells)))} if tells else set()
    return {
        member.name: _key_missing(host, member) if member.key_missing else _key_changed(host, member)
        for member in members
        if member.key_missing or member.name in unreadable
    }


def _key_missing(host: Host, member: Member) -> RefusedError:
    return RefusedError(
        f"the key of {member.name} is not loaded on {host.name}", advice=f"on {host.name}: {member.load_key}"
    )


def _key_changed(host: Host, member: Member) -> RefusedError:
    unmount = f"zfs unmount {quote(member.name)}; " if member.mounted else ""
    unload = member.load_key.replace("load-key", "unload-key", 1)
    return RefusedError(
        f"the key of {member.name} that is loaded on {host.name} does not open it",
        evidence="the master's key was changed after it was loaded",
        advice=f"on {host.name}: {unmount}{unload}; {member.load_key}, with the new key",
    )


def _mountpoints_taken(host: Host, tree: Tree) -> list[ZrepError]:
    """Mounts of any kind on or below where a new master would be mounted, or over where it is mounted already."""
    members = tree.members
    wanted = [m for m in members if m.get("mountpoint").startswith("/") and not m.mounted and while_master(m) == "on"]
    table = read_mounts(host) if wanted else []
    excluded = {member.name for member in tree.excluded}
    table = [entry for entry in table if entry.source not in excluded]
    taken = [error for m in wanted for error in hidden_by(table, m.name, m.get("mountpoint"), host.name)]
    used = [error for m in hidden_excluded(tree) if (error := _in_use(host, m)) is not None]
    return [*taken, *used, *_unmakable(host, members, wanted, table), *covered(host, members)]


def _in_use(host: Host, excluded: Member) -> RefusedError | None:
    """Why what is left out of a tree cannot make way for a moment."""
    users = host.ask(ReadUsers(excluded.name))
    found = (*users.users, *users.elsewhere)
    if not found:
        return None
    return RefusedError(
        f"{excluded.name} on {host.name} is in use, and mounted where a new master has to be",
        evidence=", ".join(found),
        advice="stop what uses it; it is mounted again at once",
    )


def _unmakable(
    host: Host, members: Sequence[Member], wanted: Sequence[Member], table: Sequence[MountEntry]
) -> list[RefusedError]:
    """Mountpoints whose directories cannot be made, as in a replica that is mounted. What is in another member is made
    in that once it is writable."""
    names, points = {member.name for member in members}, {member.get("mountpoint"): member.name for member in wanted}
    places = {}
    for point, name in points.items():
        around = leads(table, point)
        in_member = around is not None and around.source in names
        if not in_member and not any(other != point and within(point, other) for other in points):
            places[point] = name
    found = host.ask(FindUnmakable(tuple(places))) if places else []
    return [unmakable(table, places[point], point, host.name) for point in found]


def covered(host: Host, members: Sequence[Member]) -> list[ZrepError]:
    """Those whose path leads to another mount: a remount of theirs would make that one read-only, or writable."""
    placed = [member for member in members if member.placed]
    table = read_mounts(host) if placed else []
    found = (unreachable_by_path(table, m.name, m.get("mountpoint"), host.name) for m in placed)
    return [error for error in found if error is not None]


def _writers(view: View) -> list[ZrepError]:
    host = view.executor.source
    members = [member for member in view.pair.source.members if member.mounted]
    found = ((member, host.ask(ReadUsers(member.name))) for member in members)
    return [being_written(host, member.name, users) for member, users in found if users.writing]


def being_written(host: Host, dataset: str, users: Users) -> RefusedError:
    """The refusal of a role change while somebody writes to the master."""
    return RefusedError(
        f"{dataset} is being written on {host.name}",
        evidence=", ".join(users.writing or users.users),
        advice=f"stop the writer{'' if users.mapped else ', or insist with --force-unmount'}",
    )


def open_volumes(view: View, *, insist: bool) -> list[RefusedError]:
    """Why a role change has to wait for volumes of the master: what is written to one that is open may be in the cache
    of its device alone, where no snapshot finds it, and cannot be stored once the volume is read-only. insist: somebody
    says that nobody has one open where that cannot be seen."""
    host = view.executor.source
    volumes = [member.name for member in view.pair.source.members if member.volume]
    found = find_open(host, volumes)
    if found.by or not found.unseen or insist:
        return [is_open(host.name, name, who) for name, who in sorted(found.by.items())]
    return [
        RefusedError(
            f"whether somebody has {', '.join(volumes)} open on {host.name} cannot be seen",
            evidence=found.unseen,
            advice="run this as root; or, when nobody has, with --force-unmount",
        )
    ]


def find_open(host: Host, volumes: Sequence[str]) -> OpenVolumes:
    """Who has these volumes open to write; nobody asks a host where there are none."""
    return host.ask(FindOpenVolumes(tuple(volumes))) if volumes else OpenVolumes()


def is_open(host: str, volume: str, who: Sequence[str]) -> RefusedError:
    """The refusal to take a volume from those that write to it."""
    return RefusedError(
        f"the volume {volume} is open to write on {host}",
        evidence=", ".join(who),
        advice="stop what has it open, which no --force-unmount does, and run this again",
    )


def cannot_insist(view: View) -> list[RefusedError]:
    """Why --force-unmount does not help: what a process stores through a mapped file is acknowledged though the
    filesystem is read-only, so that it could be after the final snapshot; and whether there is such a process must be
    known."""
    host = view.executor.source
    found: list[RefusedError] = []
    for member in view.pair.source.members:
        users = host.ask(ReadUsers(member.name)) if member.mounted else Users()
        if users.mapped or users.unseen:
            what = "has a file mapped for writing" if users.mapped else "may have a file mapped for writing"
            found.append(
                RefusedError(
                    f"a process on {host.name} {what} in {member.name}, which --force-unmount does not stop",
                    evidence=", ".join(users.mapped) or users.unseen,
                    advice="stop it and run this again",
                )
            )
    return found


def gaps(view: View) -> list[FailedError]:
    """Clocks and versions that differ: neither stops anything, both are worth knowing."""
    here, there = (view.executor.host(end) for end in (view.here, view.here.other))
    return gaps_between(meet(here, there), view.link.peer_host)


class Met(Struct, frozen=True):
    """Two hosts, as each says who it is. ahead: by how many seconds the clock there is ahead of that here, at least;
    less than 0: behind it."""

    here: Identity
    there: Identity
    ahead: float


def meet(mine: Host, peer: Host) -> Met:
    """Ask two hosts who they are. One that takes long to answer, as where it has to be dialled, is not ahead."""
    here, there = mine.ask(Identify()), peer.ask(Identify())
    ahead = there.clock - here.clock
    if ahead > _CLOCK_SECONDS:
        ahead = max(0.0, there.clock - mine.ask(Identify()).clock)
    return Met(here, there, ahead)


def gaps_between(met: Met, peer: str) -> list[FailedError]:
    """The same of two hosts, each with the command that mends it. peer: what the one there is called here."""
    here, there, found = met.here, met.there, []
    both = f"on {here.host} and on {plain_host(peer)}"
    if abs(met.ahead) > _CLOCK_SECONDS:
        way = "ahead of" if met.ahead > 0 else "behind"
        what = f"the clock of {peer} is {duration(int(abs(met.ahead)))} {way} this one"
        advice = f"{both}: timedatectl set-ntp true; where chrony keeps the time: chronyc makestep"
        found.append(FailedError(f"{what}: no order depends on it, the ages that are shown do", advice=advice))
    mends = {
        "zrep": "install the newer one as this one was: apt install ./zrep-zfs_*.deb; or see Installation in README",
        "OpenZFS": "apt update && apt install zfsutils-linux zfs-dkms, and boot it anew; nothing is wrong until then",
    }
    for what, mine, theirs in (("zrep", here.zrep, there.zrep), ("OpenZFS", here.zfs, there.zfs)):
        if mine != theirs:
            older = here.host if _numbers(mine) < _numbers(theirs) else plain_host(peer)
            advice = f"on {older}: {mends[what]}"
            found.append(FailedError(f"{what} is {mine} here and {theirs} on {peer}", advice=advice))
    return found


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"[0-9]+", version)]


def _left(view: View) -> int:
    """Bytes that one lane has still to send."""
    advance = plan_advance(view.lane, view.here)
    if not advance.pending:
        return advance.written
    *_, stream = plan_stream(view.lane, advance.base, advance.pending, NO_TOKEN)
    assert isinstance(stream, SendStream)
    sent = read_stream_size(view.executor.source, stream)
    return advance.written + (advance.pending.written if sent is None else sent)


def _amount(session: Session, view: View) -> str:
    """How much is still to be sent, and for about how long, judged by the last stream that took a while."""
    left = sum(_left(lane) for lane in view.lanes)
    pace = recall(session, view.name)[view.name].get("pace")
    if not isinstance(pace, int) or pace <= 0:
        return f"about {size(left)} to send; how long that takes is not known: no stream has taken a second yet"
    return f"about {size(left)} to send, roughly {duration(max(1, left // pace))} at {size(pace)} a second"
