"""Planning the end of what was set aside: the copies of members whose source is gone. Never by itself: a person says
how long they are kept."""

from __future__ import annotations

from collections.abc import Collection
from shlex import quote

from msgspec import Struct

from zrep.core.dataset import Member
from zrep.core.errors import RefusedError
from zrep.core.pair import End, Tree
from zrep.core.steps import DestroyAside, DestroySnapshots, Release, Step


class Gone(Struct, frozen=True):
    """One that was set aside for long enough: what removes it, or why it stays."""

    member: Member
    steps: tuple[Step, ...] = ()
    refusal: RefusedError | None = None


def plan_gone(end: End, tag: str, tree: Tree, below: Collection[str], before: int, host: str) -> tuple[Gone, ...]:
    """What becomes of all that was set aside in a tree before a moment (seconds since 1970), the deepest first. below:
    the names of everything below its root; host: where that is. One in which anything is that zrep did not make stays,
    as does what that lies below."""
    stays = set(below)
    found = []
    due = [member for member in tree.aside if member.role.gone is not None and member.role.gone <= before]
    for member in sorted(due, key=lambda member: member.name.split("/"), reverse=True):
        inside = sorted(name for name in stays if name.startswith(f"{member.name}/"))
        refusal = _refused(tag, member, inside, host)
        if refusal is None:
            stays.discard(member.name)
        found.append(Gone(member, () if refusal else _removed(end, tag, member), refusal))
    return tuple(found)


def _removed(end: End, tag: str, member: Member) -> tuple[Step, ...]:
    """Snapshots first, by name: ZFS destroys no dataset that has any, so that one that somebody has made since stays,
    and all with it."""
    held = tuple(f"{member.name}@{snapshot.name}" for snapshot in member.snapshots if tag in snapshot.holds)
    names = tuple(snapshot.name for snapshot in member.snapshots)
    return (
        *((Release(end, tag, held),) if held else ()),
        *((DestroySnapshots(end, member.name, names),) if names else ()),
        DestroyAside(end, member.name, tag, member.role.gone or 0),
    )


def _refused(tag: str, member: Member, inside: Collection[str], host: str) -> RefusedError | None:
    """Why one is not removed."""
    name, ours = member.name, member.ours(tag)
    foreign = [snapshot.name for snapshot in member.snapshots if snapshot not in ours]
    others = [snapshot.name for snapshot in member.snapshots if snapshot.holds - {tag}]
    clones = [clone for snapshot in member.snapshots for clone in snapshot.clones]
    trouble = (
        (inside, "something is below it", f"zfs rename it away on {host}, or remove it there yourself"),
        (foreign, "it has snapshots that zrep did not make", f"remove them on {host} yourself"),
        (others, "somebody holds its snapshots", f"on {host}: zfs release them"),
        (clones, "its snapshots have clones", f"on {host}: zfs promote {quote(clones[0])}" if clones else ""),
        (_changed(member), "it was changed by hand", f"look at it on {host}: zfs diff; then remove it yourself"),
        ([name] if member.mounted else [], "it is mounted", f"on {host}: zfs unmount {quote(name)}"),
        (
            [name] if member.role.paired else [],
            "it is in a pair of its own",
            f"on {host}: zrep clear -L {quote(name)}",
        ),
    )
    for which, why, advice in trouble:
        if which:
            what = f"it was set aside and stays: {why}"
            return RefusedError(what, filesystem=name, evidence=", ".join(list(which)[:5]), advice=advice)
    return None


def _changed(member: Member) -> list[str]:
    """What was written to it since its newest snapshot; one without any is what a run that was cut left of it."""
    written = member.number("written") if member.snapshots else 0
    return [f"{written} bytes were written"] if written and not member.only_quotas else []
