"""Native properties: which there are, on what, their defaults and how they are inherited."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .names import FILESYSTEM, SNAPSHOT, VOLUME

INHERIT, OWN, READONLY, ONCE = "inherit", "own", "readonly", "once"
_TYPES = {"f": FILESYSTEM, "v": VOLUME, "s": SNAPSHOT}


@dataclass(frozen=True, slots=True)
class Native:
    name: str
    how: str
    types: frozenset[str]
    default: str
    values: tuple[str, ...] = ()
    number: bool = False


# As `zfs get all` prints them.
_ORDER = (
    "type creation used available referenced compressratio mounted origin quota reservation volsize volblocksize "
    "recordsize mountpoint sharenfs checksum compression atime devices exec setuid readonly zoned snapdir aclmode "
    "aclinherit createtxg canmount xattr copies version utf8only normalization casesensitivity vscan nbmand sharesmb "
    "refquota refreservation guid primarycache secondarycache usedbysnapshots usedbydataset usedbychildren "
    "usedbyrefreservation logbias defer_destroy userrefs objsetid dedup mlslabel sync dnodesize refcompressratio "
    "written clones logicalused logicalreferenced volmode filesystem_limit snapshot_limit filesystem_count "
    "snapshot_count snapdev acltype context fscontext defcontext rootcontext relatime redundant_metadata overlay "
    "encryption keylocation keyformat pbkdf2iters encryptionroot keystatus special_small_blocks snapshots_changed "
    "prefetch direct volthreading longname receive_resume_token pbkdf2salt"
)
_RANK = {name: rank for rank, name in enumerate(_ORDER.split())}
WITHOUT_SOURCE = frozenset({"version", "utf8only", "normalization", "casesensitivity"})


def _table() -> dict[str, Native]:
    rows: list[Native] = []

    def row(how: str, types: str, names: str, default: str = "", values: str = "", number: bool = False) -> None:
        rows.extend(
            Native(name, how, frozenset(_TYPES[t] for t in types), default, tuple(values.split()), number)
            for name in names.split()
        )

    onoff = "on off"
    row(READONLY, "fvs", "type creation used referenced compressratio refcompressratio guid createtxg objsetid written")
    row(READONLY, "fvs", "logicalreferenced keystatus encryptionroot")
    row(ONCE, "fv", "pbkdf2salt", "0", number=True)
    row(READONLY, "fv", "available usedbysnapshots usedbydataset usedbychildren usedbyrefreservation logicalused")
    row(READONLY, "fv", "origin receive_resume_token snapshots_changed")
    row(READONLY, "f", "mounted")
    row(OWN, "fv", "snapshot_count", "none")
    row(OWN, "f", "filesystem_count", "none")
    row(READONLY, "s", "userrefs defer_destroy clones")
    row(INHERIT, "fv", "readonly", "off", onoff)
    row(INHERIT, "f", "atime relatime overlay", "on", onoff)
    row(INHERIT, "fs", "devices exec setuid", "on", onoff)
    row(INHERIT, "f", "zoned vscan longname", "off", onoff)
    row(INHERIT, "fs", "nbmand", "off", onoff)
    row(INHERIT, "f", "mountpoint", "/")
    row(INHERIT, "f", "sharenfs sharesmb", "off")
    row(
        INHERIT,
        "fv",
        "compression",
        "on",
        "on off lzjb gzip zle lz4 zstd gzip-1 gzip-6 gzip-9 zstd-3 zstd-19 zstd-fast",
    )
    row(INHERIT, "fv", "checksum", "on", "on off fletcher2 fletcher4 sha256 sha512 skein edonr blake3")
    row(INHERIT, "fv", "dedup", "off", "on off verify sha256 sha512 skein blake3")
    row(INHERIT, "fv", "sync", "standard", "standard always disabled")
    row(INHERIT, "fv", "logbias", "latency", "latency throughput")
    row(INHERIT, "fv", "copies", "1", "1 2 3")
    row(INHERIT, "fv", "redundant_metadata", "all", "all most some none")
    row(INHERIT, "fv", "snapdev", "hidden", "hidden visible")
    row(INHERIT, "fv", "volmode", "default", "default full geom dev none")
    row(INHERIT, "f", "snapdir", "hidden", "disabled hidden visible")
    row(INHERIT, "f", "aclmode", "discard", "discard groupmask passthrough restricted")
    row(INHERIT, "f", "aclinherit", "restricted", "discard noallow restricted passthrough passthrough-x")
    row(INHERIT, "fs", "acltype", "off", "off nfsv4 posix")
    row(INHERIT, "fs", "xattr", "on", "on off dir sa")
    row(INHERIT, "f", "dnodesize", "legacy", "legacy auto 1k 2k 4k 8k 16k")
    row(INHERIT, "f", "direct", "standard", "disabled standard always")
    row(INHERIT, "fvs", "primarycache secondarycache prefetch", "all", "all none metadata")
    row(INHERIT, "fvs", "mlslabel", "none")
    row(INHERIT, "f", "recordsize", "131072", number=True)
    row(INHERIT, "f", "special_small_blocks", "0", number=True)
    row(OWN, "f", "canmount", "on", "on off noauto")
    row(OWN, "f", "quota refquota", "0", number=True)
    row(OWN, "f", "filesystem_limit", "none", number=True)
    row(OWN, "fv", "snapshot_limit", "none", number=True)
    row(OWN, "fv", "reservation refreservation", "0", number=True)
    row(OWN, "vs", "volsize", "0", number=True)
    row(OWN, "v", "volthreading", "on", onoff)
    row(OWN, "fvs", "context fscontext defcontext rootcontext", "none")
    row(OWN, "fv", "keylocation", "none")
    row(OWN, "fs", "version", "5")
    row(ONCE, "fs", "utf8only", "off", onoff)
    row(ONCE, "fs", "normalization", "none", "none formC formD formKC formKD")
    row(ONCE, "fs", "casesensitivity", "sensitive", "sensitive insensitive mixed")
    row(ONCE, "fvs", "encryption", "off", "on off aes-256-gcm aes-256-ccm aes-128-gcm")
    row(ONCE, "fv", "keyformat", "none", "none raw hex passphrase")
    row(ONCE, "fv", "pbkdf2iters", "0", number=True)
    row(ONCE, "v", "volblocksize", "16384", number=True)
    return {native.name: native for native in sorted(rows, key=lambda native: _RANK[native.name])}


NATIVE = _table()
ALIASES = {
    "refer": "referenced",
    "avail": "available",
    "compress": "compression",
    "recsize": "recordsize",
    "rdonly": "readonly",
    "reserv": "reservation",
    "refreserv": "refreservation",
    "volblock": "volblocksize",
    "usedsnap": "usedbysnapshots",
    "usedds": "usedbydataset",
    "usedchild": "usedbychildren",
    "usedrefreserv": "usedbyrefreservation",
}
# Each of these is set in a transaction group of its own; all others of one command share one.
ALONE = frozenset(
    {
        "quota",
        "refquota",
        "reservation",
        "refreservation",
        "volsize",
        "filesystem_limit",
        "snapshot_limit",
        "version",
        "keylocation",
    }
)
_USER = re.compile(r"[a-z0-9:._+-]*")
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}


def canonical(name: str) -> str:
    return ALIASES.get(name, name)


def is_user(name: str) -> bool:
    """A colon somewhere, and no capital letters."""
    return ":" in name and _USER.fullmatch(name) is not None


def is_written(name: str) -> bool:
    return name.startswith(("written@", "written#"))


def is_userquota(name: str) -> bool:
    return name.startswith(("userquota@", "groupquota@", "userused@", "groupused@", "userobjquota@"))


def number(text: str) -> int | None:
    """512, 1K, 2.5G, none."""
    if text == "none":
        return 0
    body = text.lower().removesuffix("ib").removesuffix("b") if not text.isdigit() else text
    unit = body[-1:] if body[-1:] in "kmgtp" else ""
    try:
        return int(float(body.removesuffix(unit)) * (1 << _UNITS[unit])) if unit else int(body)
    except ValueError:
        return None
