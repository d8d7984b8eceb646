"""A million broken inputs each way: into the helper, out of it, as command lines for ssh, through a gate, and as
resume tokens; and what a peer behind a gate makes of a role.

    python -m tests.wire.fuzz --inputs 1000000 --seed 1

Each is valid text that was broken (mutate). What reads it may take it, or raise the one typed error; anything else ends
this with the input. Printed at the end, for each way: how many were taken, how many refused, and the peak of memory.
"""

from __future__ import annotations

import argparse
import re
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random

from msgspec import to_builtins

from tests.core.knows import NOW, Knows
from tests.wire import samples
from tests.wire.mutate import mutated
from tests.wire.test_ssh import LINES as COMMAND_LINES
from tests.zfs.tokens import packed, printed
from zrep.core.dataset import UNSET, Value, role_of
from zrep.core.errors import RefusedError
from zrep.core.gate import DIALLED, Gate
from zrep.core.gate_rules import SEND_FLAGS, refusal, refused_receive, refused_send, refused_step
from zrep.core.names import ROLE_PROPERTIES
from zrep.core.pair import End
from zrep.core.requests import CarryOut, FindUnmakable, Grant, ReadStreamSize, Recall, Remember
from zrep.core.role import Intent, Role
from zrep.core.steps import InheritProperty, SetProperties
from zrep.wire import messages, ssh
from zrep.wire.messages import Answered, Ask, Failed, MalformedError
from zrep.zfs.errors import as_error
from zrep.zfs.resume_token import read as read_token
from zrep.zfs.stream_words import Receiving, Sending

_REQUESTS = [messages.encode(Ask(7, request)).removesuffix(b"\n") for request, _ in samples.EXCHANGES]
_ONE_EACH = [
    *_REQUESTS,
    *(messages.encode(Ask(7, CarryOut((step,)))).removesuffix(b"\n") for step in samples.STEPS),
]
_ANSWERS = [messages.encode_answer(7, answer).removesuffix(b"\n") for _, answer in samples.EXCHANGES]
_FAILED = messages.encode(Failed(7, samples.FAILURE)).removesuffix(b"\n")
_TOKEN = packed(("fromguid", 5), ("bytes", 7), ("toguid", 3 << 60), ("toname", "tank/data/a@2"), ("rawok", True))
_COMMANDS = [line.encode() for line, _ in COMMAND_LINES]


def to_helper(random: Random) -> bool:
    """One input to the helper; whether it was taken for a request."""
    try:
        messages.read_for_helper(mutated(random.choice(_REQUESTS), random))
    except MalformedError:
        return False
    return True


def from_helper(random: Random) -> bool:
    """One input from the helper, to whoever waits for an answer."""
    index = random.randrange(len(_ANSWERS) + 1)
    line = _ANSWERS[index] if index < len(_ANSWERS) else _FAILED
    try:
        said = messages.read_from_helper(mutated(line, random))
        if isinstance(said, Answered):
            messages.read_answer(samples.EXCHANGES[index % len(_ANSWERS)][0], said.answer)
        elif isinstance(said, Failed):
            as_error(said.failure).line()
    except MalformedError:
        return False
    return True


def command_line(random: Random) -> bool:
    """One command line, as sshd would hand it to whoever admits only zrep's."""
    line = mutated(random.choice(_COMMANDS), random).decode(errors="surrogateescape")
    try:
        found = ssh.parse(line)
    except RefusedError:
        return False
    assert ssh.build(found) == line
    return True


# --- a gate ---

_TREE = "tank/data"
_INSIDE = (_TREE, f"{_TREE}/a", f"{_TREE}/a/b c")
_OUTSIDE = (
    "tank",
    "tank/other",
    "tank/data2",
    "tank/data/../other",
    "tank/data//x",
    "rpool/tank/data",
    "/etc",
    "-r",
    "",
)
_PARTS = ("zrep_000001", "daily", "..", "", "zrep_000001 x")
_GATES = (
    Gate((_TREE,), receive=True),
    Gate((_TREE,), send=True),
    Gate((_TREE,), send=True, receive=True),
    Gate((_TREE,), receive=True, keep=True),
)
_KNOWN = Knows({_INSIDE[1]: ("zrep",)})
_NAME = re.compile(rb"tank/(?:a|b c)(?:@[^\"]*)?(?=\"|')")
# What in a request names no dataset of the host that is asked.
_NO_NAMES = frozenset(
    {
        "properties",
        "override",
        "about",
        "mountpoint",
        "outfilter",
        "infilter",
        "identity",
        "expected",
        "tag",
        "event",
        "host",
    }
)


def _with_names(line: bytes, random: Random) -> bytes:
    """The same, about others: mostly those of the tree."""

    def other(found: re.Match[bytes]) -> bytes:
        name = random.choice(_INSIDE if random.random() < 0.9 else _OUTSIDE)
        if b"@" in found.group():
            name += f"@{random.choice(_PARTS) if random.random() < 0.2 else 'zrep_000001'}"
        return name.encode()

    return _NAME.sub(other, line)


def _names(value: object) -> Iterator[str]:
    """Every text in what was read that could name a dataset: it has a slash in it."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _names(key)
            if key not in _NO_NAMES:
                yield from _names(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _names(each)
    elif isinstance(value, str) and "/" in value:
        yield value


def through_gate(random: Random) -> bool:
    """One request to a helper behind a gate; whether it was admitted. Then nothing in it is outside the tree."""
    line = _with_names(random.choice(_ONE_EACH), random)
    if random.random() < 0.5:
        line = mutated(line, random)
    try:
        asked = messages.read_for_helper(line)
    except MalformedError:
        return False
    gate = random.choice(_GATES)
    if not isinstance(asked, Ask) or refusal(gate, asked.request, _KNOWN):
        return False
    told = to_builtins(asked.request)
    if isinstance(asked.request, ReadStreamSize):
        told = {name: told["step"][name] for name in ("snapshot", "base")}  # no other word of it is used
    elif isinstance(asked.request, FindUnmakable):
        del told["paths"]  # directories: whoever may move a role here is told which of them cannot be made
    elif isinstance(asked.request, Grant):
        told["generations"] = list(told["generations"])
    elif isinstance(asked.request, Remember):
        told = dict.fromkeys(told["records"])
    for text in _names(told):
        name = text.partition(" ")[2] if isinstance(asked.request, Remember | Recall) else text
        dataset = name.partition("@")[0].partition("#")[0]
        assert f"{dataset}/".startswith(f"{_TREE}/"), asked
        assert ".." not in name.split("/"), asked
    return True


_VALUES = (
    "", "-", "yes", "no", "on", "1", str(NOW), "*", "-p", "here", "peer", "alpha", f"{_TREE}/a", "0" * 16, "a\tb",
    "x\ny", "{}", "[", '{"op":"promote"}', "daily_*", "drop",
)  # fmt: skip
_OPERATIONS = ("init", "follow", "cancelled", "promote", "failover", "stopped", "rejoin", "")
_PAIR = {
    "src-host": "alpha", "src-fs": "tank/a", "dest-host": "beta", "dest-fs": f"{_TREE}/a", "master": "no",
    "gen": "1" * 16, "epoch": "3", "savecount": "5", "flags": "-p -w", "places": "1:2 3:4",
}  # fmt: skip


def role_behind_gate(random: Random) -> bool:
    """What a peer that brings streams sets and ends of the role of a replica, a few times; whether any was admitted. It
    stays a replica, sent and kept as it was."""
    gate = random.choice([gate for gate in _GATES if not gate.moves and gate.receive])
    before = _role(_PAIR)
    own, taken = dict(_PAIR), False
    for _ in range(random.randint(1, 5)):
        known = _knows(own)
        if random.random() < 0.2:
            name = random.choice(ROLE_PROPERTIES)
            if not refused_step(gate, InheritProperty(End.TARGET, (f"{_TREE}/a",), f"zrep:{name}"), known):
                own.pop(name, None)
                taken = True
            continue
        properties = {random.choice(ROLE_PROPERTIES): _value(random) for _ in range(random.randint(1, 3))}
        step = SetProperties(End.TARGET, (f"{_TREE}/a",), tuple((f"zrep:{key}", v) for key, v in properties.items()))
        if not refused_step(gate, step, known):
            own |= properties
            taken = True
    role = _role(own)
    kept = (
        "savecount",
        "keep",
        "foreign",
        "flags",
        "drop_unsent",
        "driver",
        "lease",
        *(("links",) if gate.keep else ()),
    )
    assert role.master is not True, own
    assert role.peer_host == "alpha", own
    assert role.intent is None or role.intent.operation in ("init", "follow", "cancelled"), own
    assert [getattr(role, name) for name in kept] == [getattr(before, name) for name in kept], own
    return taken


def _knows(own: Mapping[str, str]) -> Knows:
    record = Intent.parse(own.get("inprogress", ""))
    both = (own, record.role if record else {})
    linked = {name: {each[name] for each in both if name in each} for name in DIALLED}
    return Knows({_INSIDE[1]: ("zrep",)}, linked=linked)


def _role(own: Mapping[str, str]) -> Role:
    table = {f"zrep:{name}": Value(own[name], "local") if name in own else UNSET for name in ROLE_PROPERTIES}
    return role_of("zrep", f"{_TREE}/a", table)


def _value(random: Random) -> str:
    if random.random() < 0.5:
        return random.choice(_VALUES)
    role = {random.choice(ROLE_PROPERTIES): random.choice(_VALUES) for _ in range(random.randint(0, 3))}
    text = Intent(random.choice(_OPERATIONS), "1" * 16, role=role).text()
    return text if random.random() < 0.7 else mutated(text.encode(), random).decode(errors="replace")


def line_through_gate(random: Random) -> bool:
    """The same of a command line: what is admitted is about the tree, and asks for nothing but what zrep does."""
    line = _with_names(random.choice(_COMMANDS), random)
    if random.random() < 0.5:
        line = mutated(line, random)
    try:
        found = ssh.parse(line.decode(errors="surrogateescape"))
    except RefusedError:
        return False
    gate = random.choice(_GATES)
    match found:
        case ssh.Receiver(streams=streams):
            return all(_received(gate, admitted.receiving) for admitted in streams)
        case ssh.Sender(streams=sendings):
            return all(_sent(gate, sending) for sending in sendings)
    return True


def _received(gate: Gate, receiving: Receiving) -> bool:
    if refused_receive(gate, receiving.target, receiving.override):
        return False
    assert gate.receive
    assert f"{receiving.target}/".startswith(f"{_TREE}/")
    assert {name.rpartition(":")[2] for name, _ in receiving.override} <= {"readonly", "canmount"}
    return True


def _sent(gate: Gate, sending: Sending) -> bool:
    names = [name for name in (sending.snapshot, sending.base) if name]
    if refused_send(gate, names, sending.options, encrypted=False, raw=False):
        return False
    assert gate.send
    assert all(f"{name.partition('@')[0]}/".startswith(f"{_TREE}/") for name in names)
    assert set(sending.options) <= SEND_FLAGS
    return True


def resume_token(random: Random) -> bool:
    """One token of whoever takes streams through a gate; whether it was read: then what it is of is on one line."""
    try:
        found = read_token(printed(mutated(_TOKEN, random)))
    except RefusedError:
        return False
    assert found.snapshot.isprintable()
    assert found.guid.isdecimal()
    return True


Way = Callable[[Random], bool]
WAYS: Sequence[Way] = (
    to_helper,
    from_helper,
    command_line,
    through_gate,
    line_through_gate,
    role_behind_gate,
    resume_token,
)


def fuzz(way: Callable[[Random], bool], inputs: int, seed: int) -> tuple[int, int]:
    """So many inputs; how many were taken, and by how many bytes the peak of this process's memory grew meanwhile."""
    random = Random(seed)
    for _ in range(1000):
        way(random)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    taken = 0
    for number in range(inputs):
        try:
            taken += way(random)
        except BaseException:
            print(f"{way.__name__}: input {number} of seed {seed}")
            raise
    return taken, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--way", default="", help="only this one")
    options = parser.parse_args()
    for way in [way for way in WAYS if options.way in ("", way.__name__)]:
        started = time.monotonic()
        taken, grown = fuzz(way, options.inputs, options.seed)
        seconds = time.monotonic() - started
        print(
            f"{way.__name__}: {options.inputs} inputs, {taken} taken, {options.inputs - taken} refused, "
            f"{seconds:.0f} s, peak of memory {grown / 2**20:.1f} MiB higher",
            flush=True,
        )


if __name__ == "__main__":
    main()
