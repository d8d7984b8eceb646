"""The command lines that errors and verdicts name: for which host, and from which side of a pair."""

from __future__ import annotations

from shlex import join, quote

from zrep.core.dataset import Member, Snapshot
from zrep.core.role import Role


def on(host: str, line: str) -> str:
    """A command line, and where to run it: "" for here."""
    return f"on {host}: {line}" if host else line


def command(host: str, *words: str) -> str:
    """A command line of zrep. host: where to run it, "" for here."""
    return on(host, f"zrep {join(words)}")


def of_pair(name: str, role: Role, *words: str) -> str:
    """A command for the side that drives, seen from one with this role."""
    own, other = role.roots or (name, role.peer_fs)
    return command("", *words, own) if role.drives else command(role.peer_host, *words, other)


def of_master(mine: Member, master: Member, *words: str) -> str:
    """A command for the master, or where the other side drives for that one, seen from mine."""
    if mine.role.driver:
        return of_pair(mine.name, mine.role, *words)
    name = master.role.roots[0] if master.role.roots else master.name
    return command("" if master is mine else mine.role.peer_host, *words, name)


def of_half(host: str, role: Role, name: str, *words: str) -> str:
    """A command that is about one half of a pair, with this role and name on host ("": here). Where its host never
    dials the other, that one does it, under the name there."""
    if not role.only_dialled:
        return command(host, *words, name)
    return command("" if host else role.peer_host, *words, "--peer", role.peer_fs)


def rejoin_again(host: str, role: Role, name: str, own: str) -> str:
    """The rejoin that goes on with one that was cut. role: that of the dataset on host that shows it, the copy or the
    clone in its place, whose links are no longer those of the pair; own: as of _decided."""
    if not role.only_dialled:
        return command(host, "rejoin", name)
    if host:
        return command("", "rejoin", "--peer", own)
    known = role.intent.detail if role.intent else {}
    # A clone in its place knows no peer: the copy does, and says it.
    return command(known["host"], "rejoin", "--peer", known["peer"]) if "peer" in known else ""


def init_again(host: str, role: Role, name: str, peer: str, target: str) -> str:
    """The init that goes on with one that was cut, of a source with this role and name on host."""
    if not role.only_dialled:
        return command(host, "init", name, peer, target)
    return command("" if host else role.dest_host, "init", "--pull", role.src_host, name, target)


def aside(name: str) -> str:
    """The command line that gives a dataset another name, where it keeps out what is to have its own."""
    return f"zfs rename {quote(name)} {quote(f'{name}_aside')}"


def rolling_back(member: Member, base: Snapshot) -> str:
    """The commands that give up what is after a snapshot: a hold would stop the rollback."""
    held = [(tag, f"{member.name}@{x.name}") for x in member.after(base) for tag in sorted(x.holds)]
    release = [f"zfs release {quote(tag)} {quote(name)}" for tag, name in held]
    return "; ".join([*release, f"zfs rollback -r {quote(f'{member.name}@{base.name}')}"])
