from __future__ import annotations

import pytest

from zrep.core import names
from zrep.core.errors import UsageError


@pytest.mark.parametrize(
    ("clone", "dataset", "is_one"),
    [
        (names.rejoin_dataset("tank/a", 3, "0123456789abcdef"), "tank/a", True),
        (names.rejoin_dataset("tank/a", 3, "0123456789abcdef") + "_1f", "tank/a", True),
        (names.rejoin_dataset("tank", 3, "0123456789abcdef"), "tank", True),
        (names.rejoin_dataset("tank/" + "a" * 250, 3, "0123456789abcdef", 9), "tank/" + "a" * 250, True),
        ("tank/clone", "tank/a", False),
        ("tank/b_rejoin_3_01234567", "tank/a", False),
        ("tank/a/b_rejoin_3_01234567", "tank/a", False),
        ("rpool/a_rejoin_3_01234567", "tank/a", False),
        # Beside an encryption root in the tree, or carried along with what that lies in.
        ("tank/a/x/a_rejoin_3_01234567_2", "tank/a", True),
        ("tank/a_split_3_01234567/x/a_rejoin_3_01234567_2", "tank/a", True),
        ("tank/x/rejoin_3_01234567_2", "tank", True),
        ("tank/a/x/x_rejoin_3_01234567_2", "tank/a", False),
        ("tank/b/x/a_rejoin_3_01234567_2", "tank/a", False),
        ("tank/b_split_3_01234567/x/a_rejoin_3_01234567_2", "tank/a", False),
        ("tank/a_rejoin_3_01234567/x", "tank/a", False),
        ("tank/a_rejoin_x_01234567", "tank/a", False),
        ("tank", "tank", False),
    ],
)
def test_what_a_rejoin_calls_its_clones(clone: str, dataset: str, is_one: bool) -> None:
    assert names.is_rejoin(clone, dataset) is is_one


@pytest.mark.parametrize(
    "name",
    [
        "tank",
        "tank/a",
        "Tank/A b/c-d_e.f:g",
        "tank/0",
        "tank/a" + "/b" * 90,
        "tank/.system",
        "tank/_data",
        "tank/-a",
        "tank/...",
        "tank/" + "a" * 250,
    ],
)
def test_a_dataset(name: str) -> None:
    assert names.check_dataset(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "/tank",
        "tank/",
        "tank//a",
        "0tank",
        "tank/a@b",
        "tank/a#b",
        "-a",
        "tank/a\n",
        "tank/a'b",
        "tank/a;b",
        "tank/../b",
        "tank/.",
        "tank/a/..",
        "tank/a%b",
        "tank/ä",
        "tank/" + "a" * 251,
        "tank/$(x)",
        "tank/a\tb",
    ],
)
def test_what_cannot_be_a_dataset(name: str) -> None:
    with pytest.raises(UsageError):
        names.check_dataset(name)


@pytest.mark.parametrize("name", ["beta", "root@beta", "beta.example.org", "192.0.2.1", "::1", "[::1]", "fe80::1%eth0"])
def test_a_host(name: str) -> None:
    assert names.check_host(name) == name


@pytest.mark.parametrize("name", ["", "-oProxyCommand=x", "a b", "a;b", "root@-x", "@beta", "a@b@c", "beta\n", "a'b"])
def test_what_cannot_be_a_host(name: str) -> None:
    with pytest.raises(UsageError):
        names.check_host(name)


@pytest.mark.parametrize("tag", ["zrep", "zrep-offsite", "a.b_c", "0"])
def test_a_tag(tag: str) -> None:
    assert names.check_tag(tag) == tag


@pytest.mark.parametrize("tag", ["", "Zrep", "-a", ".a", "a:b", "a b", "a/b", "a" * 65, "a\n"])
def test_what_cannot_be_a_tag(tag: str) -> None:
    with pytest.raises(UsageError):
        names.check_tag(tag)


@pytest.mark.parametrize("number", [0, 1, 31, 0xFFFFFF, 0x1000000])
def test_a_number_and_its_name(number: int) -> None:
    assert names.sequence_of("zrep", names.snapshot_name("zrep", number)) == number


@pytest.mark.parametrize(
    "name",
    [
        "zrep_00001",
        "zrep_00001G",
        "zrep_00001F",
        "zrep_000001_unsent",
        "other_000001",
        "xzrep_000001",
        "zrep_000001 ",
        "zrep_split_2",
        "zrepx000001",
    ],
)
def test_what_is_no_snapshot_of_ours(name: str) -> None:
    assert names.sequence_of("zrep", name) is None


def test_a_tag_is_not_a_pattern() -> None:
    assert names.sequence_of("a.b", "axb_000001") is None
    assert names.sequence_of("a.b", "a.b_000001") == 1


@pytest.mark.parametrize(
    ("taken", "number"),
    [([], 1), (["zrep_000001"], 2), (["zrep_00000a", "zrep_000002", "daily"], 11), (["zrep_000009_unsent"], 1)],
)
def test_the_next_number(taken: list[str], number: int) -> None:
    assert names.next_sequence("zrep", taken) == number


def test_parts_of_names() -> None:
    assert names.pool_of("tank/a@b") == "tank"
    assert names.pool_of("tank@b") == "tank"
    assert names.ancestors("tank/a/b") == ("tank", "tank/a")
    assert names.ancestors("tank") == ()
    assert names.lock_file("tank/a b") == "tank%a b.lock"
    assert names.file_name("zrep tank/a") == "zrep tank%a"
    assert names.split_snapshot("zrep", 3) == "zrep_split_3"
    assert names.split_dataset("tank/a", 3, "0123456789abcdef") == "tank/a_split_3_01234567"


def test_file_names_of_the_longest_datasets_fit_and_differ() -> None:
    longest = "tank/" + "a" * 250
    tag = "t" * 64
    one, other = (names.file_name(names.memory_key(tag, f"{longest[:-1]}{last}")) for last in "ab")
    assert one != other
    assert max(len(f"{one}.receive"), len(names.lock_file(longest))) <= 255


def test_property_names_are_short() -> None:
    assert all(len(name) <= 10 for name in names.ROLE_PROPERTIES)
    assert len(set(names.ROLE_PROPERTIES)) == len(names.ROLE_PROPERTIES)


def test_a_name_beside_a_long_one_is_cut_so_that_its_snapshots_have_room() -> None:
    room = len("@zrep_split_3")
    copy = names.split_dataset("tank/" + "a" * 230, 3, "0123456789abcdef", room)
    assert (len(copy) + room, copy.endswith("aa_split_3_01234567")) == (255, True)
    assert names.fits("tank/" + "a" * 250)
    assert not names.fits("tank/" + "a" * 251)


def test_where_nothing_is_left_of_it_there_is_no_name() -> None:
    assert not names.split_dataset("tank/" + "a" * 230 + "/b", 3, "0123456789abcdef", len("@zrep_split_3"))
