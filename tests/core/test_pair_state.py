from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.core.make import GEN, MASTER, OLD, REPLICA, TAG, member, pair
from zrep.core.dataset import Value
from zrep.core.pair import End, Pair, Tree, newest_common
from zrep.core.role import ANCESTORS_KEPT, LEGACY, UNKNOWN, Intent, Role

WORDS = st.text(max_size=30)


@settings(max_examples=60, deadline=None)
@given(WORDS, WORDS, WORDS, st.integers(0, 10**6), st.dictionaries(WORDS, WORDS, max_size=4))
def test_an_intent_comes_back_as_it_was(
    operation: str, identity: str, phase: str, epoch: int, detail: dict[str, str]
) -> None:
    intent = Intent(operation, identity, phase, epoch, detail)
    text = intent.text()
    assert Intent.parse(text) == intent
    assert "\n" not in text
    assert "\t" not in text


@pytest.mark.parametrize("text", ["", "-"])
def test_no_intent(text: str) -> None:
    assert Intent.parse(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "{",
        "[]",
        "1",
        "null",
        '"a"',
        "{}",
        '{"op":"failover"}',
        '{"id":"1"}',
        '{"op":"a","id":"b","epoch":"x"}',
        '{"op":"a","id":"b","detail":[]}',
        '{"op":"a","id":"b","detail":1}',
        "yes",
        '{"op":"a","id":"b","epoch":null}',
        '{"op":"a","id":"\\ud800\udcd8"}',
    ],
)
def test_garbage_is_never_taken_for_no_intent(text: str) -> None:
    parsed = Intent.parse(text)
    assert parsed is not None
    assert (parsed.operation, parsed.identity) == (UNKNOWN, text)


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1))
def test_any_text_is_an_intent(text: str) -> None:
    assert Intent.parse(text) is not None or text == "-"


def test_lineage_is_newest_first_and_bounded() -> None:
    role = Role(gen="g0", parents=tuple(f"p{number}" for number in range(ANCESTORS_KEPT)))
    assert role.lineage[:2] == ("g0", "p0")
    assert len(role.lineage) == ANCESTORS_KEPT
    assert Role().lineage == (LEGACY,)


def test_a_role_needs_all_four_names() -> None:
    assert MASTER.paired
    for missing in range(4):
        names = [name if index != missing else "" for index, name in enumerate(MASTER.links)]
        assert not Role(names[0], names[1], names[2], names[3]).paired


def test_a_members_properties() -> None:
    one = member("tank/a", MASTER, written=5, quota="none", receive_resume_token="1-a-b")
    assert (one.volume, one.readonly, one.mounted, one.token) == (False, False, True, "1-a-b")
    assert (one.number("written"), one.number("nosuch"), one.get("nosuch", "x")) == (5, 0, "x")
    assert one.number("quota") == 0
    assert member("tank/a", MASTER, type="volume").volume
    assert member("tank/a", MASTER).token == ""
    assert Value("on", "local").local
    assert not Value("on", "received").local
    assert not Value("on", "inherited from tank").local


@pytest.mark.parametrize(
    ("encryption", "status", "missing"),
    [("off", "-", False), ("-", "-", False), ("aes-256-gcm", "available", False), ("aes-256-gcm", "unavailable", True)],
)
def test_a_missing_key(encryption: str, status: str, missing: bool) -> None:
    assert member("tank/a", MASTER, encryption=encryption, keystatus=status).key_missing is missing


def test_canmount_while_master() -> None:
    assert member("tank/a", REPLICA, canmount="noauto").master_canmount == "on"
    assert member("tank/a", MASTER, canmount="noauto").master_canmount == "noauto"


def test_written_since_counts_later_snapshots() -> None:
    one = member("tank/a", MASTER, "1 2w 3w", written=100)
    assert one.written_since(one.snapshots[0]) == 100 + 2 * 4096
    assert one.written_since(one.snapshots[2]) == 100


@pytest.mark.parametrize(
    ("here", "there", "base"),
    [
        ("1 2 3", "1 2 3", "3"),
        ("1 2 3", "1 2", "2"),
        ("1 2", "1 2 3", "2"),
        ("2 3", "1 2", "2"),
        ("1 daily 2", "1 daily", "daily"),
        ("1", "2", None),
        ("", "1", None),
        ("1", "", None),
    ],
)
def test_the_base_is_the_newest_common_guid(here: str, there: str, base: str | None) -> None:
    found = newest_common(member("a", MASTER, here), member("b", REPLICA, there))
    assert (found.guid if found else None) == base


def test_a_name_without_its_guid_is_no_base() -> None:
    here, there = member("a", MASTER, "1"), member("b", REPLICA, "7")

    impostor = replace(there, snapshots=(replace(there.snapshots[0], name="zrep_000001"),))
    assert newest_common(here, impostor) is None


def test_a_pair_and_its_lane() -> None:
    both = pair("1 2", "1 9 daily")
    assert both.at(End.SOURCE) is both.source
    assert both.at(End.TARGET) is both.target
    assert both.source.role.generation == GEN
    assert (both.source.name, OLD) == ("tank/a", "a" * 16)
    [lane] = both.lanes
    assert (lane.at(End.SOURCE), lane.at(End.TARGET)) == (both.source.members[0], both.target.members[0])
    assert lane.base == both.source.members[0].snapshots[0]
    assert lane.next_snapshot == "tank/a@zrep_00000a"
    assert (both.turned.source, both.turned.target) == (both.target, both.source)


@pytest.mark.parametrize(
    ("source", "target", "lanes"),
    [
        (["tank/a"], ["tank/b"], ["tank/a tank/b"]),
        (["tank/a", "tank/a/x"], ["tank/b", "tank/b/x"], ["tank/a tank/b", "tank/a/x tank/b/x"]),
        (["tank/a", "tank/a/x"], ["tank/b"], ["tank/a tank/b", "tank/a/x tank/b/x"]),
        (["tank/a"], ["tank/b", "tank/b/old"], ["tank/a tank/b"]),
    ],
    ids=["plain", "tree", "new member", "member that is gone"],
)
def test_lanes_join_members_in_the_same_place(source: list[str], target: list[str], lanes: list[str]) -> None:
    here, there = (
        Tree(tuple(member(name, role) for name in names)) for names, role in ((source, MASTER), (target, REPLICA))
    )
    assert [f"{lane.source.name} {lane.target.name}" for lane in Pair(TAG, here, there).lanes] == lanes


FIELDS = ["op", "id", "epoch", "detail", "role", "phase"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["op", "id", "epoch", "detail", "role"]), inner)
    ),
)


@settings(max_examples=100, deadline=None)
@given(JSON.map(lambda record: json.dumps(record)) | st.text(max_size=60))
def test_no_text_of_an_intent_is_more_than_unknown(text: str) -> None:
    assert isinstance(Intent.parse(text), Intent | None)


@pytest.mark.parametrize(
    "text", ["[" * 100000, '{"op": "x", "id": "y", "epoch": 1e999}', '{"op":"x","id":"y","epoch":NaN}']
)
def test_an_intent_that_parses_oddly_is_unknown(text: str) -> None:
    found = Intent.parse(text)
    assert found is not None
    assert found.operation == UNKNOWN
