"""Who may mount: ZFS lets a user be delegated everything else, the kernel lets nobody but root mount or unmount."""

from __future__ import annotations

from collections.abc import Iterable
from shlex import quote

from msgspec import Struct

from zrep.core import steps
from zrep.core.errors import RefusedError

_MOUNTING = (
    steps.Mount,
    steps.Unmount,
    steps.RemountReadOnly,
    steps.RemountWritable,
    steps.ReplayLog,
    steps.Share,
)


class Rights(Struct, frozen=True):
    """Who zrep runs as on a host, and whether what it starts may mount, unmount and share."""

    user: str
    mounts: bool


def mounted_by(plan: Iterable[steps.Step]) -> str:
    """The first dataset that a plan mounts, unmounts or shares; "" where it does none of it."""
    return next((step.dataset for step in plan if isinstance(step, _MOUNTING)), "")


def may_not_mount(dataset: str, rights: Rights, host: str, advice: str) -> RefusedError:
    """The refusal of what would mount or unmount a dataset on a host."""
    why = "only root may" if rights.user != "root" else "it lacks CAP_SYS_ADMIN, as in a container"
    return RefusedError(
        f"{rights.user} may not mount or unmount {dataset} on {host}",
        evidence=f"zrep runs as {rights.user} there, and {why}",
        advice=advice,
    )


def as_root_there(host: str, own: str, other: str) -> str:
    """What lets zrep be root on the peer. own, other: the pair's halves here and there."""
    gate = f'restrict,command="zrep gate --tree {other} --send --receive"'
    return (
        f"let it be root there: this key in /root/.ssh/authorized_keys on {host} after {gate}, "
        f"then: zrep changeconfig {quote(own)} root@{host} {quote(other)}"
    )
