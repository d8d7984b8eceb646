"""What crosses the wire: all of it arrives as it was sent, and what is no message is one error."""

from __future__ import annotations

import itertools
import json
import os
import tracemalloc
import typing
from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.json import Decoder
from msgspec.structs import replace

from tests.ops.plugin import one_in
from tests.wire import fuzz, samples
from tests.wire.mutate import mutated
from zrep.core import steps
from zrep.core.dataset import NO_HOLDS, Member, Snapshot, Value
from zrep.core.errors import BusyError, FailedError, RefusedError, UsageError, ZrepError
from zrep.core.requests import (
    Carried,
    CarryOut,
    Failure,
    FindOpenVolumes,
    FindRoles,
    Found,
    Grant,
    Lock,
    ReadChildren,
    ReadDifferences,
    ReadHistory,
    ReadMembers,
    ReadOwnProperties,
    ReadPoolSpace,
    ReadSnapshots,
    Recall,
    Request,
    RunHooks,
    TakeSnapshots,
    answer_type,
)
from zrep.host import local  # noqa: F401  # registers what carries requests out
from zrep.host.machine import carry_out
from zrep.wire import messages
from zrep.wire.messages import Answered, Ask, Beat, Failed, Lines, MalformedError, UnfinishedError
from zrep.zfs.commands import NATIVE_PROPERTIES
from zrep.zfs.errors import ModifiedError, as_error, as_failure

LINES = [messages.encode(Ask(7, request)).removesuffix(b"\n") for request, _ in samples.EXCHANGES]
ANSWERS = [messages.encode_answer(7, answer).removesuffix(b"\n") for _, answer in samples.EXCHANGES]


def name(value: object) -> str:
    return type(value).__name__


@pytest.mark.parametrize(("request_", "answer"), samples.EXCHANGES, ids=name)
def test_a_request_and_its_answer_arrive_as_they_were_sent(request_: Request[Any], answer: Any) -> None:
    asked = messages.read_for_helper(messages.encode(Ask(7, request_)).removesuffix(b"\n"))
    assert asked == Ask(7, request_)
    said = messages.read_from_helper(messages.encode_answer(7, answer).removesuffix(b"\n"))
    assert isinstance(said, Answered)
    assert messages.read_answer(request_, said.answer) == answer


def test_there_is_a_sample_of_everything() -> None:
    assert {type(request) for request, _ in samples.EXCHANGES} == set(Request.__subclasses__())
    assert {type(step) for step in samples.STEPS} == set(steps.Change.__subclasses__())


@pytest.mark.parametrize("kind", Request.__subclasses__(), ids=lambda kind: kind.__name__)
def test_each_request_is_carried_out_by_a_function_that_answers_what_it_states(kind: type[Request[Any]]) -> None:
    """mypy does not see through the registration."""
    work = carry_out.dispatch(kind)
    types = typing.get_type_hints(work)
    assert types["request"] is kind
    stated = typing.get_type_hints(SimpleNamespace(__annotations__={"answer": answer_type(kind)}))
    assert types["return"] == stated["answer"]  # both without their bounds


def test_a_greeting_is_told_from_what_login_files_print() -> None:
    greeting = messages.encode(messages.GREETING)
    assert json.loads(greeting) == {"greeting": "zrep-peer", "protocol": messages.PROTOCOL}
    assert messages.read_greeting(greeting) == messages.GREETING
    # What an older zrep says, and what a shell does.
    old = messages.read_greeting(b'{"greeting": "zrep-peer", "protocol": 2}')
    assert old
    assert old.protocol == 2
    for noise in (b"", b"motd", b"{}", b'{"greeting": 1}', b'{"greeting": "zrep-peer"}', b"\xff"):
        assert messages.read_greeting(noise) is None


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"hello",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        b'{"type":"Ask"}',
        b'{"type":"Shell","number":1}',
        b'{"type":"Ask","number":1,"request":{"type":"Run","argv":["reboot"]}}',
        b'{"type":"Ask","number":0,"request":{"type":"Identify"}}',
        b'{"type":"Ask","number":"1","request":{"type":"Identify"}}',
        b'{"type":"Ask","number":1,"request":{"type":"Identify"},"also":1}',
        b'{"type":"Ask","number":1,"request":{"type":"Identify","also":1}}',
        b'{"type":"Ask","number":1,"request":{"type":"ReadChildren","dataset":7}}',
        b'{"type":"Ask","number":1,"request":{"type":"ReadChildren","dataset":"-r"}}',
        b'{"type":"Ask","number":1,"request":{"type":"ReadChildren","dataset":"tank\\n"}}',
        b'{"type":"Ask","number":1,"request":{"type":"Dial","host":"-oProxyCommand=reboot"}}',
        b'{"type":"Ask","number":1,"request":{"type":"ReadToken","token":"-F"}}',
        b'{"type":"Ask","number":1,"request":{"type":"CarryOut","steps":[{"type":"SendStream","end":"source"}]}}',
        b'{"type":"Ask","number":1,"request":{"type":"CarryOut","steps":[{"type":"Mount","end":"here","dataset":"t"}]}}',
        b'{"type":"Ask","number":1,"request":{"type":"CarryOut","steps":'
        b'[{"type":"DestroySnapshots","end":"source","dataset":"tank/a","names":["a%b"]}]}}',
        b"[" * 100_000,
        b'{"type":"Ask","number":1,"request":{"type":"Remember","records":' + b'{"a":' * 50_000,
    ],
    ids=lambda line: line[:60].decode(errors="replace"),
)
def test_what_is_no_request_is_one_error(line: bytes) -> None:
    with pytest.raises(MalformedError) as caught:
        messages.read_for_helper(line)
    assert len(caught.value.line()) < 400


def named(name: str) -> Found:
    """An answer about a dataset of that name."""
    return Found({name: replace(samples.MEMBER, name=name)})


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (ReadHistory(("tank/a",)), b'{"tank/a":[{"at":1000000000000000000,"command":"zfs set a:b=c tank/a"}]}'),
        (ReadSnapshots(("tank/a@x",)), b'{"tank/a@x":["x","1",1,1%d]}' % 10**400),
        (ReadSnapshots(("tank/a@x",)), b'{"tank/a@x":["x","1",1,1,-1]}'),
        (FindRoles("zrep"), b'{"tank/a":{"epoch":1%d}}' % 10**400),
        (FindRoles("zrep"), b'{"tank/a":{"foreign":["%b*b"]}}' % (b"*a" * 12)),
        (ReadPoolSpace("tank"), b'{"size":1%d,"free":0}' % 10**400),
        (Recall(("zrep tank/a",)), b'{"zrep tank/a":{"synced":1%d}}' % 10**400),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_no_host_says_is_no_answer(asked: Request[Any], answer: bytes) -> None:
    """No text can be made of it, or it takes for ever to be looked for in a name: each was a bug, or a run that never
    ended."""
    with pytest.raises(MalformedError):
        messages.read_answer(asked, answer)


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (ReadMembers("zrep", ("tank/other",)), Found({samples.A: samples.MEMBER})),
        (ReadMembers("zrep", ("tank/other",)), Found({"tank/other": samples.MEMBER})),
        (ReadMembers("zrep", ("tank/other",)), Found({}, {samples.A: samples.FAILURE})),
        (ReadMembers("zrep", (samples.A,), trees=(samples.A,)), named(f"{samples.A}/\x1b[2J")),
        (ReadMembers("zrep", (samples.A,), trees=(samples.A,)), named(f"{samples.A}/x@y")),
        (ReadMembers("zrep", (samples.A,), trees=(samples.A,)), named(f"{samples.A}/../other")),
        (ReadChildren(samples.A), [f"{samples.A}/../other"]),
        (ReadChildren(samples.A), ["tank/other"]),
        (ReadSnapshots(("tank/a@x",)), {"tank/a@y": samples.SNAPSHOTS[0]}),
        (Lock(("tank/a",), 0), ["tank/b"]),
        (Grant("zrep", {"tank/a": ""}, {}), {"tank/b": ("", "")}),
        (CarryOut(samples.STEPS), Carried(1)),
        (CarryOut(samples.STEPS), Carried(-1, samples.FAILURE)),
        (CarryOut(samples.STEPS), Carried(99, samples.FAILURE)),
        (Lock(("tank/a",), 0), "tank/a"),
        (Lock(("tank/a",), 0), None),
    ],
)
def test_an_answer_to_something_else_is_none(asked: Request[Any], answer: Any) -> None:
    said = messages.read_from_helper(messages.encode_answer(7, answer).removesuffix(b"\n"))
    assert isinstance(said, Answered)
    with pytest.raises(MalformedError):
        messages.read_answer(asked, said.answer)


@pytest.mark.parametrize(
    "error",
    [
        BusyError("busy", filesystem="tank/a", evidence="another zrep", advice="wait"),
        ModifiedError("zfs receive failed", evidence="has been modified"),
        UsageError("x"),
    ],
)
def test_an_error_arrives_as_what_it_was(error: ZrepError) -> None:
    arrived = as_error(as_failure(error))
    assert type(arrived) is type(error)
    assert arrived.line() == error.line()


def test_what_all_honest_pairs_with_one_peer_answer_is_not_too_long() -> None:
    """Of ten thousand filesystems with a hundred snapshots each, twice over."""
    snapshots = tuple(
        Snapshot(f"zrep_{n:06x}", str(2**64 - n), 2**22 + n, 1764500000, 9**6, 9**7, NO_HOLDS, 1764500000, made=True)
        for n in range(200)
    )
    properties = {name: Value("tank/customers/0000001", "inherited from tank/customers") for name in NATIVE_PROPERTIES}
    member = Member("tank/customers/0000001", properties, samples.ROLE, snapshots)
    line = messages.encode_answer(1, Found({member.name: member}))
    assert 10_000 * messages.weight(line) < ReadMembers.most_weight
    assert 10_000 * len(line) < messages.ANSWER_BYTES
    roles = messages.encode_answer(1, {member.name: replace(samples.ROLE, keep="24h 14d 8w 12m 5y")})
    assert 20_000 * messages.weight(roles) < FindRoles.most_weight


def many(start: str, each: str, end: str) -> bytes:
    """A text of as many things as half a mebibyte has: start, each of them with another number, end."""
    number = itertools.count()
    things = iter(lambda: each.replace("#", f"{next(number):x}"), None)
    return (start + ",".join(itertools.islice(things, (1 << 19) // (len(each) + 4))) + end).encode()


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        (FindRoles, many("{", '"#":{}', "}")),
        (ReadMembers, many('{"members":{', '"#":{"name":"#","properties":{},"role":{}}', "}}")),
        (ReadMembers, many('{"members":{"a":{"name":"a","role":{},"properties":{', '"#":["",""]', "}}}}")),
        (ReadMembers, many('{"members":{"a":{"name":"a","role":{},"properties":{},"filters":[', '"#"', "]}}}")),
        (
            ReadMembers,
            many(
                '{"members":{"a":{"name":"a","role":{},"properties":{},"snapshots":[', '["","",0,0,0,0,["#"]]', "]}}}"
            ),
        ),
        (ReadOwnProperties, many("{", '"#":{"":""}', "}")),
        (Recall, many("{", '"#":{"":{"":["","",0,0]}}', "}")),
        (FindOpenVolumes, many('{"by":{', '"#":[""]', "}}")),
        (TakeSnapshots, many('{"after":{', '"#":[""]', "}}")),
        (ReadChildren, many("[", '"#"', "]")),
    ],
)
def test_what_is_made_of_an_answer_was_weighed_before(kind: type[Request[Any]], answer: bytes) -> None:
    """A quarter of a gigabyte of empty roles were nine in memory."""
    decoder = Decoder(answer_type(kind))
    tracemalloc.start()
    try:
        made = decoder.decode(answer)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert made
    assert peak < 4 * messages.weight(answer), peak / messages.weight(answer)
    with pytest.raises(MalformedError, match="too long"):
        messages.check_weight(kind, answer * (kind.most_weight // messages.weight(answer) + 1))


def test_more_is_heard_only_in_answer_to_what_is_asked_of_all() -> None:
    assert {kind for kind in Request.__subclasses__() if kind.most_weight > 192 << 20} == {
        ReadDifferences,
        ReadHistory,
        ReadMembers,
    }


def test_an_error_of_an_unknown_kind_is_a_failure() -> None:
    assert type(as_error(Failure("SystemExit", "x"))) is FailedError
    assert type(as_error(as_failure(MalformedError("x")))) is RefusedError


def test_nothing_that_a_peer_says_commands_a_terminal() -> None:
    escape = "\x1b]0;owned\x07 \x9b2J \u202e \r x\n"
    error = as_error(Failure("FailedError", escape, escape, escape, escape))
    assert not set(error.line()) & set("\x1b\x07\x9b\u202e\r\n")
    assert not set(error.evidence) & set("\x1b\x07\x9b\u202e\r\n")


def test_what_is_no_text_is_not_sent() -> None:
    with pytest.raises(UsageError, match="cannot be said"):
        messages.encode(Ask(1, RunHooks("x", {"a": "\udc80"})))


def test_what_is_no_text_in_an_answer_keeps_nothing_else_from_being_told() -> None:
    """It may be anybody's property, of one filesystem of many."""
    told = {"tank/a": {"zrep:paused": "\udc80\n"}, "tank/b": {"zrep:master": "yes"}}
    said = messages.read_from_helper(messages.encode_answer(1, told).removesuffix(b"\n"))
    assert isinstance(said, Answered)
    found = messages.read_answer(ReadOwnProperties("zrep"), said.answer)
    assert found == {"tank/a": {"zrep:paused": "\\x80\n"}, "tank/b": {"zrep:master": "yes"}}


class TestLines:
    """A pipe, what is written into it, and what is read of it."""

    @staticmethod
    def read(*writes: bytes, bound: int = 10) -> list[bytes]:
        reader, writer = os.pipe()
        for data in writes:
            os.write(writer, data)
        os.close(writer)
        try:
            return list(Lines(reader, bound))
        finally:
            os.close(reader)

    def test_lines_come_whole(self) -> None:
        assert self.read(b"one\ntw", b"o\n\n", b"three\n") == [b"one", b"two", b"", b"three"]

    def test_a_line_may_be_as_long_as_the_bound(self) -> None:
        assert self.read(b"x" * 10 + b"\n") == [b"x" * 10]

    @pytest.mark.parametrize("data", [b"x" * 11 + b"\n", b"x" * 11, b"a\n" + b"x" * 5000])
    def test_a_line_longer_than_the_bound_is_refused(self, data: bytes) -> None:
        with pytest.raises(MalformedError, match="too long"):
            self.read(data)

    def test_a_line_without_its_end_is_none(self) -> None:
        with pytest.raises(UnfinishedError):
            self.read(b"one\ntwo")


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(LINES), st.randoms(use_true_random=False))
def test_a_broken_request_is_one_error_or_another_request(line: bytes, random: Any) -> None:
    try:
        found = messages.read_for_helper(mutated(line, random))
    except MalformedError:
        return
    assert isinstance(found, Ask | Beat)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(range(len(ANSWERS))), st.randoms(use_true_random=False))
def test_a_broken_answer_is_one_error_or_another_answer(index: int, random: Any) -> None:
    try:
        said = messages.read_from_helper(mutated(ANSWERS[index], random))
        if isinstance(said, Answered):
            messages.read_answer(samples.EXCHANGES[index][0], said.answer)
        elif isinstance(said, Failed):
            as_error(said.failure)
    except MalformedError:
        pass


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_garbage_is_one_error(data: bytes) -> None:
    for read in (messages.read_for_helper, messages.read_from_helper):
        with pytest.raises(MalformedError):
            read(data)
    assert messages.read_greeting(data) is None


@pytest.mark.thorough
@pytest.mark.parametrize("way", fuzz.WAYS, ids=lambda way: way.__name__)
def test_broken_inputs_raise_nothing_else_and_take_no_memory(
    way: Callable[[Random], bool], pytestconfig: pytest.Config
) -> None:
    """A million of each under --crash some or all, as python -m tests.wire.fuzz has them; of fewer otherwise."""
    inputs = 1_000_000 // one_in(pytestconfig, 1)
    taken, grown = fuzz.fuzz(way, inputs, 1)
    assert 0 < taken < inputs
    assert grown < 32 << 20


def test_errors_of_an_older_msgspec_are_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian 13 has 0.19, whose errors are no ValueError: a line before the greeting ended the thread that reads."""

    class Old(Exception):  # noqa: N818  # by msgspec's name of it, whatever it descends from
        pass

    class Decoder:
        def decode(self, text: bytes) -> object:
            raise Old("Input data was truncated")

    monkeypatch.setattr(messages, "MsgspecError", Old)
    monkeypatch.setattr(messages, "_decoder", lambda kind: Decoder())
    assert messages.read_greeting(b"") is None
