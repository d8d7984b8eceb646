"""The forced command of a key that is not trusted with the whole host: what its peer asks for is read as zrep would
build it, judged by core/gate_rules, and carried out; everything else is refused and logged.

The three command lines of wire/ssh are all that get in. No word of them is given to a shell: the programs are started
from here, with the words that this side makes of what was read.
"""

from __future__ import annotations

import os
import subprocess
import sys
import syslog
import time
from collections.abc import Collection, Mapping, Sequence
from functools import cache, partial
from itertools import takewhile
from shlex import quote
from typing import Any, cast

from zrep.core import shape
from zrep.core.dataset import NO_TOKEN
from zrep.core.errors import NotAdmittedError, RefusedError, ZrepError, one_line
from zrep.core.gate import DIALLED, Gate, Lacking
from zrep.core.gate_rules import refusal, refused_receive, refused_send, trimmed
from zrep.core.incoming import Beginning
from zrep.core.names import STREAM_MARK, ancestors, check_dataset, is_host
from zrep.core.requests import (
    Answer,
    Dial,
    FindRoles,
    FindUnmakable,
    Identity,
    Lock,
    ReadChildren,
    ReadStreamSize,
    ReadTags,
    ReadToken,
    Remember,
    Request,
)
from zrep.core.role import Intent
from zrep.core.settings import Settings
from zrep.core.steps import RAW
from zrep.host import exact, notes, process, room
from zrep.host.child import start
from zrep.host.guard import NO_STREAM, receive_lock, skip_to_mark
from zrep.host.local import LocalHost
from zrep.host.streams import STREAM_END
from zrep.host.wrapping import EndedError, streams
from zrep.wire import ssh
from zrep.wire.line import ssh_words
from zrep.wire.server import Server
from zrep.zfs import commands, resume_token, stream_words

# What one peer may have under way: far less than a whole host's other half.
REQUEST_BYTES = 4 << 20
REQUESTS_AT_ONCE = 32
# Of those, so many are carried out side by side: each may be a program, what that prints, and an answer that the peer
# does not read.
AT_WORK = 8
# So many refusals of one connection are told to syslog.
REFUSALS = 100
_LOGGED = 300


class GatedHost(LocalHost):
    """This host as a peer behind a gate may ask it."""

    def __init__(self, gate: Gate, settings: Settings, client: str) -> None:
        super().__init__(settings, dial=self._dial)
        self._gate = gate
        self._client = client
        self._refused = 0

    def ask(self, request: Request[Answer]) -> Answer:
        if reason := refusal(self._gate, request, self) or self._no_room(request) or self._elsewhere(request):
            self._refused += 1
            if self._refused <= REFUSALS:
                log(self._client, reason)
            raise _not_admitted(self, reason)
        if token := _token_of(request):
            return self._of_token(request, token)
        if isinstance(request, ReadTags):  # dear, and trimmed to nothing
            return cast(Answer, [])
        answer: Answer = trimmed(self._gate, request, super().ask(request))
        return answer

    def _of_token(self, request: Request[Answer], token: str) -> Answer:
        """What is asked about a resume token; of one of another tree as if its snapshot were gone."""
        try:
            _check_token(self._gate, self, token)
        except RefusedError as error:
            log(self._client, error.line())
            none: Any = NO_TOKEN if isinstance(request, ReadToken) else None
            return cast(Answer, none)
        return super().ask(request)

    # --- what the rules ask (core/gate.Known) ---

    @property
    def now(self) -> float:
        return time.time()

    def tags(self, datasets: Collection[str]) -> Mapping[str, Collection[str]]:
        return {name: _tags(own, "src-fs", "dest-fs") for name, own in self._own_names(datasets).items()}

    def settled(self, datasets: Collection[str]) -> Mapping[str, Collection[str]]:
        return {name: _tags(own, "places") for name, own in self._own_names(datasets).items()}

    def around(self, datasets: Collection[str]) -> Mapping[str, Collection[str]]:
        places = {name: [each for each in (*ancestors(name), name) if self._gate.has(each)] for name in datasets}
        own = self._own_names({each for inside in places.values() for each in inside})
        tags = {each: _tags(names, "src-fs", "dest-fs") for each, names in own.items()}
        trees = {each: tags[each] & _tags(names, "recursive") for each, names in own.items()}
        return {
            name: frozenset().union(*((tags if each == name else trees)[each] for each in inside))
            for name, inside in places.items()
        }

    def below(self, datasets: Collection[str]) -> Collection[str]:
        ask = super().ask
        return [child for name in datasets for child in ask(ReadChildren(name))]

    def links(self, tag: str, dataset: str) -> Mapping[str, Collection[str]]:
        names = {f"{tag}:{own}": own for own in (*DIALLED, "inprogress")}
        own = exact.properties(self, tuple(names), [dataset]).get(dataset, {})
        set_here = {names[name]: value.value for name, value in own.items() if value.local}
        record = Intent.parse(set_here.get("inprogress", ""))
        recorded = record.role if record else {}
        return {name: {each[name] for each in (set_here, recorded) if name in each} for name in DIALLED}

    def dials(self, tag: str, host: str) -> bool:
        if not is_host(host):
            return False
        roles = super().ask(FindRoles(tag))
        pairs = [role for name, role in roles.items() if self._gate.has(name) and role.paired and not role.only_dialled]
        return host in {role.peer_host for role in pairs} or _leads_to(host, self._client, self)

    def _own_names(self, targets: Collection[str]) -> Mapping[str, Sequence[str]]:
        """The properties that datasets, or those of snapshots, have themselves; none where one is not there."""
        datasets = {target: target.partition("@")[0] for target in targets}
        found = exact.own_names(self, sorted(set(datasets.values())), "local") if datasets else {}
        return {target: found.get(dataset, []) for target, dataset in datasets.items()}

    def _no_room(self, request: Request[Answer]) -> str:
        """Why the files that a request leaves behind would be too many, or too large."""
        match request:
            case Lock(datasets=names):
                more = {path: 0 for name in names for path in (self.locks.path(name), self.locks.receive_path(name))}
            case Remember(records=records):
                more = {notes.path_of(self.directory, key): len(repr(news)) for key, news in records.items()}
            case _:
                return ""
        return room.lacking(self.directory, self._gate.trees, more)

    def _elsewhere(self, request: Request[Answer]) -> str:
        """Why a question is about what is none of the peer's: the way to another host, or a path of no dataset here."""
        match request:
            case Dial(host=host):
                # A key that is good for little here is not to find out whom this host can reach, and as whom.
                return (
                    "" if _leads_to(host, self._client, self) else f"to dial {host}, which is not where it comes from"
                )
            case FindUnmakable(paths=paths):
                found = exact.below(self, ("mountpoint",), self._gate.trees)
                other = set(paths) - {own["mountpoint"].value for own in found.values()}
                return f"to look for {min(other)}" if other else ""
        return ""

    def _dial(self, host: str) -> Identity:
        from zrep.wire.client import dial  # only init asks for it

        return dial(host, self.settings)


def _leads_to(host: str, client: str, own: LocalHost) -> bool:
    """Whether ssh would dial an address, by a name that it knows a host by."""
    import ipaddress  # only init asks for it
    import socket

    said = own.output((*ssh_words(own.settings.ssh), "-G", "--", host))
    name = next((line.partition(" ")[2] for line in said.splitlines() if line.startswith("hostname ")), host)
    try:
        found = {str(entry[4][0]).partition("%")[0] for entry in socket.getaddrinfo(name, None)}
        wanted = ipaddress.ip_address(client.partition("%")[0])
        return wanted in {ipaddress.ip_address(address) for address in found}
    except (OSError, ValueError):
        return False


def _tags(names: Sequence[str], *own: str) -> frozenset[str]:
    """The tags of the role properties among names that are called so."""
    parts = (name.rpartition(":") for name in names)
    return frozenset(tag for tag, colon, short in parts if colon and short in own)


def _token_of(request: Request[Any]) -> str:
    """The resume token that a request is about; "" for none."""
    if isinstance(request, ReadStreamSize):
        return request.step.token
    return request.token if isinstance(request, ReadToken) else ""


def log(client: str, reason: str) -> None:
    """Tell syslog what was refused to whom; whoever is refused chooses no line of it."""
    syslog.openlog("zrep-gate", syslog.LOG_PID, syslog.LOG_AUTH)
    syslog.syslog(syslog.LOG_NOTICE, one_line(f"refused {client}: {reason}")[:_LOGGED])


def serve(gate: Gate, settings: Settings, environment: Mapping[str, str]) -> int:
    """Carry out, or refuse, what the peer's command line asks for; the exit status."""
    client = _client(environment)
    line = environment.get("SSH_ORIGINAL_COMMAND", "")
    try:
        match ssh.parse(line):
            case ssh.Helper():
                host = GatedHost(gate, settings, client)
                bounds = {"most_bytes": REQUEST_BYTES, "most_at_once": REQUESTS_AT_ONCE, "at_work": AT_WORK}
                return Server(host, **bounds).serve()
            case ssh.Sender(streams=streams):
                return _send(gate, LocalHost(settings), streams)
            case ssh.Receiver() as found:
                return _receive(gate, LocalHost(settings), found)
    except ZrepError as error:
        log(client, error.line())
        raise


def _client(environment: Mapping[str, str]) -> str:
    return environment.get("SSH_CONNECTION", "somebody").split(" ")[0]


def _refuse(host: LocalHost, reason: str) -> None:
    if reason:
        raise _not_admitted(host, reason)


def _not_admitted(host: LocalHost, reason: str, evidence: str = "", advice: str = "") -> NotAdmittedError:
    usual = f"do it on {host.name} itself, which needs no gate: see FORCED COMMAND in zrep(8)"
    if isinstance(reason, Lacking):
        file = f"the authorized_keys of {host.settings.user or 'root'}"
        usual = f'on {host.name}, if its peer may do that: in {file}: restrict,command="{reason.wider.command}"'
    return NotAdmittedError(
        f"the gate of {host.name} does not admit {reason}", evidence=evidence, advice=advice or usual
    )


# --- streams from here ---


def _send(gate: Gate, host: LocalHost, streams: Sequence[stream_words.Sending]) -> int:
    """Send the streams one after the other, to the first that fails; the exit status, as that of SEND_SCRIPT."""
    for sending in streams:
        _check_send(gate, host, sending)
    _write(b"\n" + STREAM_MARK.encode() + b"\n")
    for sending in streams:
        if status := start(stream_words.send(sending), stdin=subprocess.DEVNULL).wait():
            return status
        if len(streams) > 1:
            _tell_end()
    return 0


def _check_send(gate: Gate, host: LocalHost, sending: stream_words.Sending) -> None:
    """RefusedError for what is not admitted; nothing is asked of ZFS before it must be."""
    _refuse(host, refused_send(gate, (), sending.options, encrypted=False, raw=False))
    if sending.token:
        resumed = _check_token(gate, host, sending.token)
        _keep_named(gate, host, resumed)
        name, raw = resumed.snapshot, resumed.raw
    else:
        name, raw = sending.snapshot or "", bool(RAW & set(sending.options))
    names = [name, *([sending.base] if sending.base else [])]
    _refuse(host, refused_send(gate, names, sending.options, encrypted=False, raw=raw))
    encrypted = host.output(commands.get_one("value", "encryption", name)).strip() not in ("off", "-")
    if reason := refused_send(gate, names, sending.options, encrypted=encrypted, raw=raw):
        own = quote(name.partition("@")[0])
        anew = f"send it raw (-w): on {host.name}: zrep clear -L {own}, then init it again without --send-flags"
        raise _not_admitted(host, reason, advice=anew)
    host.check_filter(sending.outfilter, name)


def _check_token(gate: Gate, host: LocalHost, token: str) -> resume_token.Resumed:
    """What a resume token is of; RefusedError for one of what is not in the trees. Whoever has the key writes tokens as
    he likes, and ZFS sends whatever snapshot of the pool has the guid in it, whatever name stands beside that."""
    found = resume_token.read(token)
    _refuse(host, refused_send(gate, [found.snapshot], (), encrypted=False, raw=found.raw))
    if not _named(host, gate.around(found.snapshot.partition("@")[0]), found.guid):
        raise RefusedError("a resume token of no snapshot here", evidence=found.snapshot)
    return found


def _keep_named(gate: Gate, host: LocalHost, resumed: resume_token.Resumed) -> None:
    """Hold what a token is of until this process ends, so that ZFS, which looks for the guid once more, finds it before
    any outside of the trees: a peer that may bring and let go of snapshots could have it destroyed meanwhile.
    RefusedError where it cannot be held. What is held is looked at again: its name may have come to mean another."""
    trees = gate.around(resumed.snapshot.partition("@")[0])
    name = next(iter(_named(host, trees, resumed.guid)), "")
    held = host.library.hold_for_this_process(f"zrep-gate-{os.urandom(8).hex()}", name, process.COMMAND_SECONDS)
    if held is not None and not (held and name in _named(host, trees, resumed.guid)):
        raise RefusedError("a resume token of what cannot be held here", evidence=resumed.snapshot)


def _named(host: LocalHost, trees: Sequence[str], guid: str) -> list[str]:
    """The snapshots in trees that have a guid: a copy has that of what it was made of."""
    rows = (line.partition("\t") for line in host.output(commands.list_guids(*trees)).splitlines())
    return [name for found, _, name in rows if found == guid]


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def _tell_end() -> None:
    os.write(2, f"{STREAM_END}\n".encode())


# --- streams to here ---


def _receive(gate: Gate, host: LocalHost, line: ssh.Receiver) -> int:
    """Receive the streams one after the other, to the first that fails, as RECEIVE_SCRIPT does without its shell; the
    exit status is as its. What a stream says of properties is left out."""
    for admitted in line.streams:
        _check_receive(gate, host, admitted, alone=len(line.streams) == 1)
    try:
        if line.marked:
            skip_to_mark(0)
        for admitted in line.streams:
            if status := _receive_one(gate, host, admitted):
                return status
            _tell_end()
    except EndedError:
        print(NO_STREAM, file=sys.stderr)
        return 1
    return 0


def _check_receive(gate: Gate, host: LocalHost, admitted: ssh.Admitted, *, alone: bool) -> None:
    receiving = admitted.receiving
    _refuse(host, refused_receive(gate, receiving.target, receiving.override))
    host.check_filter(receiving.infilter, receiving.target)
    if admitted.lock != host.locks.receive_path(receiving.target):
        raise _not_admitted(host, "such a lock", admitted.lock)
    if (receiving.infilter or receiving.compress) and not alone:
        raise _not_admitted(host, "a filter for one of several streams")


def _receive_one(gate: Gate, host: LocalHost, admitted: ssh.Admitted) -> int:
    """Receive one stream, or those that come together: all increments of one dataset, each on top of the one before."""
    receiving = admitted.receiving
    lock, status = receive_lock(admitted.lock, admitted.token)
    if status:
        return status
    try:
        source = _source(shape.receiving(receiving.infilter, receiving.compress))
        before: Beginning | None = None
        check_several = cache(partial(_check_several, gate, host, receiving.target))
        for begin in streams(source):
            if before and (begin.clone or begin.since != before.guid):
                raise RefusedError("what was sent is no stream of one dataset", evidence="more than one in a wrapping")
            if before:
                check_several()
            given = (*receiving.override, *_quiet(begin), *_origin(gate, host, receiving.target, begin.origin))
            words = commands.receive_alone(receiving.target, dict.fromkeys(given))
            if status := start(words, stdin=source, pass_fds=(lock,)).wait():
                return status
            before = begin
        return 0
    finally:
        os.close(lock)


def _check_several(gate: Gate, host: LocalHost, target: str) -> None:
    """RefusedError unless the snapshots of others travel to a target: a pair that it is in here says so, or it is in
    none yet."""
    places = [each for each in (*ancestors(target), target) if gate.has(each)]
    own = exact.own_names(host, places, "local")
    roots = {name: tags for name, names in own.items() if (tags := _tags(names, "src-fs"))}
    marks = tuple(f"{tag}:allsnaps" for tag in sorted(frozenset().union(*roots.values())))
    found = exact.properties(host, marks, [*own]) if marks else {}
    if roots and not any(x.local and x.value == "on" for each in found.values() for x in each.values()):
        root = max(roots, key=len)
        raise _not_admitted(
            host,
            "snapshots of others beside its own",
            f"{root} does not have {marks[0]}=on",
            f"on {host.name}: zrep changeconfig --all-snapshots {quote(root)}",
        )


def _quiet(begin: Beginning) -> tuple[tuple[str, str], ...]:
    """What a filesystem that is new here is received with, whatever the peer says: it would be mounted at the next
    boot."""
    return (("canmount", "noauto"),) if begin.makes_filesystem else ()


def _origin(gate: Gate, host: LocalHost, target: str, guid: int) -> tuple[tuple[str, str], ...]:
    """What a clone's stream is received with. It names what it is a clone of by guid alone, and ZFS takes any snapshot
    of the pool that has it: one of another tree could not be destroyed any more, and a peer that may send too would
    read it. So ZFS is told its name: were it to look again, the one in the trees could have been destroyed meanwhile,
    by this peer. Of several the nearest, as ZFS has it."""
    if not guid:
        return ()
    trees = gate.around(target)
    found = _named(host, trees, str(guid))
    if not found:
        reason = f"a clone of what is outside of {' and '.join(trees)}"
        wider = f'restrict,command="{gate.command} --tree …", with the tree that its origin is in'
        raise _not_admitted(host, reason, advice=f"on {host.name}, if its peer may have that: {wider}")
    return (("origin", max(found, key=lambda name: _shared(name, target))),)


def _shared(name: str, other: str) -> int:
    """How many of the components that two names begin with are the same."""
    pairs = zip(name.partition("@")[0].split("/"), other.split("/"), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _source(through: str) -> int:
    """Where the stream is read from: stdin, through what it passes if that is anything."""
    if not through:
        return 0
    child = start(("sh", "-c", through), stdin=0, stdout=subprocess.PIPE)
    assert child.stdout is not None
    return os.dup(child.stdout.fileno())


def gate_of(words: list[str]) -> Gate | None:
    """What the words after ``zrep gate`` say, where they are plain; None: the parser of the command line is to say what
    is wrong with them."""
    trees: list[str] = []
    flags: set[str] = set()
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name == "--tree" and (tree := value if equals else next(rest, "")):
            trees.append(check_dataset(tree))
        elif word in ("--send", "--receive", "--keep"):
            flags.add(word)
        else:
            return None
    if not trees or not flags & {"--send", "--receive"}:
        return None
    return Gate(tuple(trees), "--send" in flags, "--receive" in flags, "--keep" in flags)


def run(gate: Gate, settings: Settings, *, last: bool = False) -> int:
    """One session of the peer; the exit status. Whatever is wrong is one line, and no more. last: no other session is
    let in until one has ended, which is told once and not for each that is turned away."""
    if last:
        log(_client(os.environ), "all that would be one session more")
    try:
        return serve(gate, settings, os.environ)
    except ZrepError as error:
        print(f"zrep: {error.line()}", file=sys.stderr)
        return error.exit_code
