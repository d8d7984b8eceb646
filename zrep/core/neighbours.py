"""What lies below a dataset of a pair without being in that pair, and what a change of the pair would do to it.

A dataset hands its ``readonly`` down, and ``zfs unmount`` takes along what is mounted below. What is not in the pair
keeps what it has. Where a person waits for the answer, the change is refused with the command that lets the child keep
it, before anything is changed: whose it is, and whether it may have a value of its own, is not zrep's to say. Where
waiting would cost data (a master that has to stop writes, a promotion after a disaster), the child gets what it has as
a value of its own, and that is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from shlex import quote

from msgspec import Struct

from zrep.core.dataset import Value
from zrep.core.errors import FailedError, RefusedError
from zrep.core.mounts import MountEntry
from zrep.core.names import EXCLUDE, ancestors
from zrep.core.pair import End
from zrep.core.role import Role
from zrep.core.steps import SetProperties

_NAMED = 5
_BECOMES = {"on": "read-only", "off": "writable"}


class Child(Struct, frozen=True):
    """A filesystem or volume below another one. tags: those under which it is in a pair itself; master: it takes the
    writes of one of them; excluded: what ``TAG:exclude`` is there; made: zrep made it, as a split copy or a clone that
    is rehearsed with."""

    name: str
    readonly: Value
    mounted: bool = False
    tags: tuple[str, ...] = ()
    master: bool = False
    excluded: Value = Value("-", "-")
    made: bool = False

    def has_own(self, value: Value, root: str) -> bool:
        """Whether a value of a property comes from the child, or from another one below root: nothing that is set on
        root, or above it, changes it."""
        above = value.source.removeprefix("inherited from ")
        return value.source in ("local", "received") or above.startswith(f"{root}/")


def would_change(root: str, below: Iterable[Child], readonly: str) -> list[Child]:
    """The topmost of those that would be what root is when its readonly is set, and are not: what is below them
    inherits from them."""
    changed: dict[str, Child] = {}
    for child in sorted(below, key=lambda child: child.name):
        differs = child.readonly.value != readonly and not child.has_own(child.readonly, root)
        if differs and child.name.startswith(f"{root}/") and not changed.keys() & set(ancestors(child.name)):
            changed[child.name] = child
    return list(changed.values())


def refuse_change(root: str, below: Iterable[Child], readonly: str, host: str) -> list[RefusedError]:
    """Why root must not become read-only (readonly on) or writable (off): others would with it."""
    changed = would_change(root, below, readonly)
    if not changed:
        return []
    others = some_names([child.name for child in changed])
    masters = some_names([child.name for child in changed if child.master])
    paired = f"; {masters}: master in a pair of its own" if masters else ""
    names = " ".join(f"'{child.name}'" for child in changed)
    return [
        RefusedError(
            f"{others} would become {_BECOMES[readonly]} with {root}",
            evidence=f"on {host}, below it and not in its pair{paired}",
            advice=f"to let it keep what it is, on {host}: zfs set readonly={opposite(readonly)} {names}",
        )
    ]


def refuse_unmount(
    root: str, below: Iterable[Child], table: Iterable[MountEntry], place: str, host: str
) -> list[RefusedError]:
    """Why root, mounted on place, must not be unmounted: what is mounted below it would be with it, wherever that is,
    and what is no child keeps it from being. table: the mounts of its host."""
    taken = sorted(child.name for child in below if child.mounted and child.name.startswith(f"{root}/"))
    inside = [entry for entry in table if entry.point.startswith(f"{place.rstrip('/')}/") and entry.source not in taken]
    found = [(name, "it would be with it", f"zfs unmount '{name}'") for name in taken]
    found += [(f"{entry.source} on {entry.point}", "it keeps it from being", entry.unmounting) for entry in inside]
    return [
        RefusedError(
            f"{what} is mounted, and {root} has to be unmounted",
            evidence=f"on {host}; {why}",
            advice=f"stop what uses it, then on {host}: {command}",
        )
        for what, why, command in found
    ]


def keep_readonly(end: End, root: str, below: Iterable[Child], readonly: str) -> SetProperties | None:
    """Give those that would change with root what they have as a value of their own; None where none would."""
    names = tuple(child.name for child in would_change(root, below, readonly))
    return SetProperties(end, names, (("readonly", opposite(readonly)),)) if names else None


def opposite(readonly: str) -> str:
    """Return what is not read-only for what is, and the other way round."""
    return "off" if readonly == "on" else "on"


def unreplicated(root: str, below: Iterable[Child]) -> list[str]:
    """What is below root, in no pair, and nobody has said that it need not be. What is below a master of another pair
    is that one's."""
    children = {child.name: child for child in below if child.name.startswith(f"{root}/")}
    masters = {name for name, child in children.items() if child.master}
    return [
        name
        for name, child in sorted(children.items())
        if not (child.tags or child.made or _excluded(child, root) or masters & set(ancestors(name)))
    ]


def _excluded(child: Child, root: str) -> bool:
    """Whether it, or one that it is in below root, says so: from root itself it would say nothing of the child."""
    return child.has_own(child.excluded, root) and child.excluded.value.lower() not in ("off", "no", "-", "")


class LeftOut(Struct, frozen=True):
    """What nobody replicates below the master of a pair: its names, as a statement, and what to do about it."""

    names: tuple[str, ...]
    what: str
    advice: str

    def line(self, master: str) -> str:
        return f"{master}: {self.what}; next: {self.advice}"

    def error(self, master: str) -> FailedError:
        """The same as something to be told of, that fails nothing."""
        return FailedError(self.what, filesystem=master, advice=self.advice)


def left_out(tag: str, master: str, role: Role, names: Iterable[str], host: str = "") -> LeftOut | None:
    """What nobody replicates below a master, by its names; None where there is nothing. role: that of the master;
    host: where it is, "" for here."""
    names = tuple(names)
    if not names:
        return None
    first, target = quote(names[0]), quote(role.peer_fs + names[0].removeprefix(master))
    return LeftOut(
        names,
        f"not replicated with it: {some_names(names)}",
        f"{f'on {host}: ' if host else ''}zrep init {first} {quote(role.peer_host)} {target}; "
        f"or, all of it as one tree: zrep changeconfig -r {quote(master)}; "
        f"or, if that is how it should be: zfs set {tag}:{EXCLUDE}=on {first}",
    )


def some_names(names: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
