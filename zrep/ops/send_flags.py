"""Which flags of ``zfs send`` a target can receive: settled at init, before anything is sent."""

from __future__ import annotations

from collections.abc import Collection

from msgspec.structs import replace

from zrep.core.dataset import Member
from zrep.core.errors import RefusedError
from zrep.core.names import pool_of
from zrep.core.plan_init import is_announced
from zrep.core.requests import ReadFeatures
from zrep.core.role import Role
from zrep.host.local import Host

_SHORT = {"--large-block": "-L", "--embed": "-e", "--compressed": "-c", "--raw": "-w"}
# What each sends, and the features that the target's pool must have for it (zpool-features(7)).
_NEEDS = {
    "-L": ("large blocks", ("large_blocks",)),
    "-e": ("embedded data", ("embedded_data",)),
    "-c": ("compressed data", ("lz4_compress", "zstd_compress")),
    "-w": ("what is encrypted, raw,", ("encryption",)),
}


def receivable(host: Host, source: Member, parent: Member, role: Role, *, asked: bool) -> Role:
    """The role with the flags that its target can receive: it is below parent on a host, or is parent itself.
    RefusedError where one that it cannot was asked for, or must be. What an earlier init has begun goes on as it was.
    """
    words = (role.flags or "").split()
    if is_announced(source) or not words:
        return role
    if source.encrypted and not role.raw:
        if asked and {"-p", "--props"} & set(words):
            raise RefusedError(
                "its properties (-p) can only be sent raw (-w)",
                filesystem=source.name,
                evidence="it is encrypted",
                advice="--send-flags '-p -w', or without -p, and it is sent as plain text",
            )
        words = [word for word in words if word != "-p"]
    features = host.ask(ReadFeatures(pool_of(parent.name)))
    why = {word: reason for word in words if (reason := _reason(word, features, source, parent, role))}
    for word, reason in why.items():
        if asked or word in ("-w", "--raw"):
            what = _NEEDS[_SHORT.get(word, word)][0]
            raise RefusedError(
                f"{what} ({word}) cannot be received below {parent.name} on {host.name}",
                filesystem=source.name,
                evidence=reason,
                advice="choose another target" if not asked else "leave that flag out, or all of them",
            )
    return replace(role, flags=" ".join(word for word in words if word not in why))


def _reason(word: str, features: Collection[str], source: Member, parent: Member, role: Role) -> str:
    """Why what a flag sends cannot be received, "" if it can."""
    if feature := lacking(word, features, encrypted=source.encrypted):
        return f"feature@{feature} of the pool {pool_of(parent.name)} is not enabled"
    flag = _SHORT.get(word, word)
    # What is encrypted takes none but from a raw stream.
    return "that is encrypted" if flag == "-e" and parent.encrypted and not role.raw else ""


def lacking(word: str, features: Collection[str], *, encrypted: bool) -> str:
    """The first feature that a pool lacks of those that what a flag sends needs there, "" for none. encrypted: what is
    sent is."""
    flag = _SHORT.get(word, word)
    if flag not in _NEEDS or (flag == "-w" and not encrypted):
        return ""
    return next((feature for feature in _NEEDS[flag][1] if feature not in features), "")
