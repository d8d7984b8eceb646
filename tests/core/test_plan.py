"""Golden plans: what is there → the commands, each with the side it runs on."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from tests.core.make import GEN, MASTER, NEW, OLD, REPLICA, TAG, expiring, intent, lane, member, pair
from zrep.core import plan_data as plan
from zrep.core import plan_record, role
from zrep.core import plan_role as rolechange
from zrep.core.dataset import NO_TOKEN, TokenContents
from zrep.core.errors import RefusedError
from zrep.core.pair import End, Pair, Tree
from zrep.core.plan_expire import expire_end
from zrep.core.role import ANCESTORS_KEPT, LEGACY, Intent, Role
from zrep.core.steps import Step
from zrep.zfs import commands

SHELL = {"gen": "", "epoch": None}


def lines(steps: Iterable[Step]) -> list[str]:
    return [f"{step.end.value}: {' '.join(commands.command(step))}" for step in steps]


# --- what sync has to move ---


@pytest.mark.parametrize(
    ("here", "there", "written", "base", "pending"),
    [
        ("1hs", "1hs", 0, "1", None),
        ("1hs", "1hs", 9, "1", None),
        ("1hs 2", "1hs", 0, "1", "2"),
        ("1hs 2 3h", "1hs", 0, "1", "3"),  # several unsent: the newest takes the others' content along
        ("1s 2hs", "1hs 2", 0, "2", None),  # an acknowledgement that was lost
        ("1hs daily", "1hs", 0, "1", None),  # a foreign one is not sent for its own sake
        ("1hs", "1hs daily", 0, "1", None),
        ("1 2hs", "2hs", 0, "2", None),
        ("2hs", "1 2hs", 0, "2", None),
    ],
)
def test_advance(here: str, there: str, written: int, base: str, pending: str | None) -> None:
    found = plan.plan_advance(lane(here, there, written=written))
    assert found.base is not None
    assert (found.base.guid, found.pending.guid if found.pending else None) == (base, pending)
    assert found.idle is (pending is None and not written)


def test_foreign_snapshots_on_the_replica_are_named() -> None:
    assert plan.plan_advance(lane("1hs daily", "1hs weekly")).foreign == ("weekly",)


@pytest.mark.parametrize(
    ("here", "there", "written_there", "words"),
    [
        ("1", "2", 0, "no common snapshot"),
        ("1", "", 0, "no common snapshot"),
        ("", "", 0, "no common snapshot"),
        ("1hs", "1hs", 512, "changed by hand"),
        ("1hs", "1hs dailyw", 0, "changed by hand"),
    ],
)
def test_what_sync_refuses(here: str, there: str, written_there: int, words: str) -> None:
    with pytest.raises(RefusedError, match=words) as refused:
        plan.plan_advance(lane(here, there, written_there=written_there))
    assert refused.value.filesystem == "tank/a"
    assert refused.value.advice


def test_written_counts_since_what_will_be_sent() -> None:
    assert plan.plan_advance(lane("1hs 2w", "1hs", written=7)).written == 7
    assert plan.plan_advance(lane("1hs dailyw", "1hs", written=7)).written == 7 + 4096


def test_the_next_snapshot_is_above_both_sides() -> None:
    assert lane("1 2", "1 0f").next_snapshot == "tank/a@zrep_000010"


# --- the stream ---

SEND = "source: zfs send -vP -L -e -c -i tank/a@zrep_000001 tank/a@zrep_000002"


@pytest.mark.parametrize(
    ("token", "resume", "expected"),
    [
        (NO_TOKEN, "", [SEND]),
        (TokenContents(True, "1", "2"), "1-x", ["source: zfs send -vP -t 1-x"]),
        (TokenContents(True, "1", "3"), "1-x", ["target: zfs receive -A tank/b", SEND]),
        (TokenContents(True, "0", "2"), "1-x", ["target: zfs receive -A tank/b", SEND]),
        (TokenContents(True, "", "2"), "1-x", ["target: zfs receive -A tank/b", SEND]),
        (TokenContents(False, "1", "2"), "1-x", ["target: zfs receive -A tank/b", SEND]),
    ],
    ids=["none", "ours", "of another snapshot", "of another base", "of a full stream", "unreadable"],
)
def test_a_resume_token_is_used_only_for_exactly_this_stream(
    token: TokenContents, resume: str, expected: list[str]
) -> None:
    one = lane("1hs 2", "1hs", there_properties={"receive_resume_token": resume or "-"})
    base, snapshot = one.source.snapshots
    assert lines(plan.plan_stream(one, base, snapshot, token)) == expected


@pytest.mark.parametrize(
    ("flags", "encryption", "expected"),
    [
        ("-p -L -e -c", "off -", ("-L", "-e", "-c")),
        ("-p -w", "aes-256-gcm -", ("-w",)),
        ("--props", "off -", ()),
        ("", "off -", ()),
        (None, "off -", ()),  # a pair of the shell zrep
        (None, "aes-256-gcm -", ("-w",)),
    ],
)
def test_an_increment_carries_no_properties(flags: str | None, encryption: str, expected: tuple[str, ...]) -> None:
    assert plan.stream_options(member("tank/a", replace(MASTER, flags=flags), encryption=encryption)) == expected


# --- after the stream ---


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        ("1hs", "1hs", []),
        (
            "1hs 2h",
            "1hs 2",
            [
                "target: zfs hold zrep tank/b@zrep_000002",
                "target: zfs set zrep:sent=77 tank/b@zrep_000002",
                "source: zfs set zrep:sent=77 tank/a@zrep_000002",
                "target: zfs release zrep tank/b@zrep_000001",
                "source: zfs release zrep tank/a@zrep_000001",
            ],
        ),
        # Cut after any of those: the rest.
        (
            "1hs 2h",
            "1hs 2hs",
            [
                "source: zfs set zrep:sent=77 tank/a@zrep_000002",
                "target: zfs release zrep tank/b@zrep_000001",
                "source: zfs release zrep tank/a@zrep_000001",
            ],
        ),
        ("1hs 2hs", "1s 2hs", ["source: zfs release zrep tank/a@zrep_000001"]),
        ("1s", "1s", ["source: zfs hold zrep tank/a@zrep_000001", "target: zfs hold zrep tank/b@zrep_000001"]),
        # A newer one that is held is a stream that has still to arrive; somebody else's hold is not ours to release.
        ("1hs 2h", "1hs", []),
        ("1Hs 2hs", "1s 2hs", []),
        ("1hs", "", []),
    ],
)
def test_converge(here: str, there: str, expected: list[str]) -> None:
    assert lines(plan.plan_converge(lane(here, there), 77)) == expected


# --- the bookmark of the base ---


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        ("1hs", "1hs", ["source: zfs bookmark tank/a@zrep_000001 tank/a#zrep:zrep_000001"]),
        (
            "#1 2hs",
            "1 2hs",
            [
                "source: zfs bookmark tank/a@zrep_000002 tank/a#zrep:zrep_000002",
                "source: zfs destroy tank/a#zrep:zrep_000001",
            ],
        ),
        ("dailyhs", "dailyhs", ["source: zfs bookmark tank/a@daily tank/a#zrep:daily"]),
        # What is left on a side that was the source before.
        (
            "1hs",
            "#0 1hs",
            [
                "source: zfs bookmark tank/a@zrep_000001 tank/a#zrep:zrep_000001",
                "target: zfs destroy tank/b#zrep:zrep_000000",
            ],
        ),
        # Only a bookmark is left of the base: nothing can be held, and the next snapshot will be.
        ("#1", "1hs", []),
    ],
)
def test_the_bookmark_of_the_base(here: str, there: str, expected: list[str]) -> None:
    one = lane(here, there)
    kept = tuple(mark for mark in one.source.bookmarks if one.source.by_guid(mark.guid) is None)
    one = replace(one, source=replace(one.source, bookmarks=kept))
    assert lines(step for step in plan.plan_converge(one, 77) if "sent=" not in str(step)) == expected


@pytest.mark.parametrize(
    ("here", "there", "written", "base", "pending"),
    [
        ("#1 2h", "1hs", 0, "1", "2"),
        ("#1", "1hs", 9, "1", None),
        # Of an older one both have the snapshot: the bookmark is what is sent from.
        ("0s #1 2", "0s 1hs", 0, "1", "2"),
        # Nothing was written: a snapshot is sent all the same, so that one is held again.
        ("#1", "1hs", 0, "1", None),
        ("0s #1", "0s 1hs", 0, "1", None),
    ],
)
def test_a_base_of_which_only_the_bookmark_is_left(
    here: str, there: str, written: int, base: str, pending: str | None
) -> None:
    found = plan.plan_advance(lane(here, there, written=written))
    assert found.base is not None
    assert found.base.bookmark
    assert (found.base.guid, found.pending.guid if found.pending else None) == (base, pending)
    assert not found.idle
    assert found.foreign == ()


def test_the_stream_begins_at_the_bookmark() -> None:
    one = lane("#1 2h", "1hs")
    assert one.base is not None
    assert one.pending is not None
    assert lines(plan.plan_stream(one, one.base, one.pending, NO_TOKEN)) == [
        "source: zfs send -vP -L -e -c -i tank/a#zrep:zrep_000001 tank/a@zrep_000002"
    ]


def test_without_snapshot_and_bookmark_it_says_that_both_are_gone() -> None:
    with pytest.raises(RefusedError) as refused:
        plan.plan_advance(lane("2h", "1hs"))
    assert "no bookmark of the master is of one of the replica" in refused.value.line()


def test_converge_expires_by_each_sides_own_count() -> None:
    both = pair(
        "1h 2 3 daily 4hs",
        "1h 2 3H 4hs",
        master=replace(MASTER, savecount=2),
        replica=replace(REPLICA, savecount=1),
    )
    assert lines(plan.plan_converge(both.lanes[0], 77)) == [
        "target: zfs release zrep tank/b@zrep_000001",
        "source: zfs release zrep tank/a@zrep_000001",
        "source: zfs destroy tank/a@zrep_000001,zrep_000002",
        "target: zfs destroy tank/b@zrep_000001,zrep_000002",
    ]


def test_several_converge_in_the_steps_of_one() -> None:
    """What is done to snapshots is one step for all of them; what is done to a filesystem stays its own, in order."""
    stopped = replace(REPLICA, intent=Intent("cancelled", NEW))
    plans = [
        plan.plan_converge(lane("1hs 2h", "1hs 2"), 77),
        plan.plan_converge(lane("1hs", "1hs", replica=stopped), 77),
        plan.plan_converge(lane("1hs 3h", "1h 3h"), 77),
    ]
    steps = plan.merged(plans)
    assert lines(steps) == [
        "target: zfs hold zrep tank/b@zrep_000002",
        "target: zfs set zrep:sent=77 tank/b@zrep_000002 tank/b@zrep_000003",
        "source: zfs set zrep:sent=77 tank/a@zrep_000002 tank/a@zrep_000003",
        "target: zfs release zrep tank/b@zrep_000001 tank/b@zrep_000001",
        "source: zfs release zrep tank/a@zrep_000001 tank/a@zrep_000001",
        "target: zfs set zrep:inprogress= tank/b",
    ]
    assert plan.merged([]) == ()


@pytest.mark.parametrize(
    ("here", "there", "counts", "expected"),
    [
        ("1hs", "1hs", (5, 5), []),
        # An expiry waits only for the release of what it takes.
        (
            "1 2h 3hs",
            "1h 2 3s",
            (1, 2),
            [
                [["target: zfs hold zrep tank/b@zrep_000003"]],
                [["target: zfs release zrep tank/b@zrep_000001"], ["source: zfs release zrep tank/a@zrep_000002"]],
                [["source: zfs destroy tank/a@zrep_000001,zrep_000002"], ["target: zfs destroy tank/b@zrep_000001"]],
            ],
        ),
        (
            "1hs 2h",
            "1s 2h",
            (5, 1),
            [
                [
                    ["source: zfs set zrep:sent=77 tank/a@zrep_000002"],
                    ["target: zfs set zrep:sent=77 tank/b@zrep_000002"],
                    ["source: zfs release zrep tank/a@zrep_000001"],
                    ["target: zfs destroy tank/b@zrep_000001"],
                ],
            ],
        ),
    ],
)
def test_the_stages_of_converging(
    here: str, there: str, counts: tuple[int, int], expected: list[list[list[str]]]
) -> None:
    mine, theirs = (replace(role, savecount=count) for role, count in zip((MASTER, REPLICA), counts, strict=True))
    steps = plan.plan_converge(lane(here, there, master=mine, replica=theirs), 77)
    assert [[lines(part) for part in stage] for stage in plan.stages(steps)] == expected


def test_nothing_is_expired_without_a_base() -> None:
    one = replace(MASTER, savecount=1)
    assert expiring(lane("1 2 3", "7 8 9", master=one, replica=one)) == ()
    side = member("tank/a", one, "1 2 3")
    assert expire_end(End.SOURCE, side, TAG, side.ours(TAG), None, 77).steps() == ()


def test_converge_ends_a_cancel_mark() -> None:
    both = pair(replica=replace(REPLICA, intent=Intent("cancelled", NEW)))
    assert lines(plan.plan_converge(both.lanes[0], 77)) == ["target: zfs set zrep:inprogress= tank/b"]


# --- a pair of the shell zrep ---

LINKS = "zrep:src-host=alpha zrep:src-fs=tank/a zrep:dest-host=beta zrep:dest-fs=tank/b"


def test_adopt() -> None:
    shell = pair(master=replace(MASTER, gen="", epoch=None), replica=replace(REPLICA, gen="", epoch=None))
    rest = f"{LINKS} zrep:epoch=0 zrep:gen={NEW} zrep:parent={LEGACY}"
    assert lines(plan.plan_adopt(shell, NEW)) == [
        f"source: zfs set {rest} zrep:master=yes tank/a",
        f"target: zfs set zrep:master=no {rest} tank/b",
    ]


def test_adopt_goes_on_with_what_the_master_has() -> None:
    half = pair(
        master=replace(MASTER, gen=OLD, epoch=0, parents=(LEGACY,)), replica=replace(REPLICA, gen="", epoch=None)
    )
    assert lines(plan.plan_adopt(half, NEW)) == [
        f"target: zfs set zrep:master=no {LINKS} zrep:epoch=0 zrep:gen={OLD} zrep:parent={LEGACY} tank/b"
    ]


# --- role changes ---


def record(phase: str) -> str:
    detail = '{"tank/a":"off default"}'
    return f'zrep:inprogress={{"detail":{detail},"epoch":2,"id":"{NEW}","op":"failover","phase":"{phase}"}}'


def test_quiesce() -> None:
    assert lines(rolechange.plan_quiesce(pair(), NEW)) == [
        f"source: zfs set {record('prepare')} tank/a",
        "source: mount -o remount,ro /tank/a",
        "source: zfs set readonly=on tank/a",
        "source: zpool sync tank",
    ]


def test_quiesce_of_what_is_not_mounted_or_a_volume() -> None:
    unmounted = lines(rolechange.plan_quiesce(pair(mounted="no -"), NEW))
    assert [line for line in unmounted if "remount" in line] == []
    volume = lines(rolechange.plan_quiesce(pair(type="volume", mounted="- -", mountpoint="- -", canmount="- -"), NEW))
    assert volume[1:] == [
        "source: zfs set readonly=on tank/a",
        "source: zpool sync tank",
    ]


def test_the_final_snapshot_is_always_taken() -> None:
    assert lines(rolechange.plan_final_snapshot(pair())) == [
        "source: zfs snapshot -o zrep:made=yes tank/a@zrep_000002",
    ]


TURNED = f"zrep:src-host=beta zrep:src-fs=tank/b zrep:dest-host=alpha zrep:dest-fs=tank/a zrep:epoch=2 zrep:gen={NEW}"


def role_record(operation: str, master: str, parent: str) -> str:
    role = (
        f'{{"dest-fs":"tank/a","dest-host":"alpha","epoch":"2","gen":"{NEW}","master":"{master}",'
        f'"parent":"{parent}","src-fs":"tank/b","src-host":"beta"}}'
    )
    return f'zrep:inprogress={{"id":"{NEW}","op":"{operation}","role":{role}}}'


def test_commit() -> None:
    mark, take = lines(rolechange.plan_commit(pair(), intent()))
    assert mark == f"source: zfs set {record('commit')} tank/a"
    # The record of the whole role goes first: of a set that lands in part, it decides.
    assert take == (
        f"target: zfs set {role_record('promote', 'yes', GEN)} {TURNED} zrep:parent={GEN} zrep:master=yes tank/b"
    )


def test_the_role_is_taken_only_from_the_generation_that_was_seen() -> None:
    step = rolechange.take_role(pair(replica=replace(REPLICA, parents=(OLD,))).target, TAG, NEW, 2)
    assert (step.expected, step.identity) == (GEN, NEW)
    assert dict(step.properties)["zrep:parent"] == f"{GEN},{OLD}"


def test_demote_follows_what_the_new_master_has() -> None:
    promoted = Role(gen=NEW, epoch=2, parents=(GEN, OLD))
    assert lines(rolechange.plan_demote(pair(replica=promoted))) == [
        "source: zfs set zrep:canmount=on tank/a",
        "source: zfs set canmount=noauto tank/a",
        f"source: zfs set {role_record('follow', 'no', f'{GEN},{OLD}')} zrep:master=no {TURNED}"
        f" zrep:parent={GEN},{OLD} tank/a",
        "source: zfs set zrep:inprogress= tank/a",
    ]


def test_a_role_of_which_a_part_landed_is_made_whole_from_its_record() -> None:
    values = role.role_values(REPLICA, master=True, swap=True, epoch=2, gen=NEW, parents=(GEN,))
    partial = replace(REPLICA, intent=Intent("promote", NEW, role=values), partially_applied=True)
    unit = pair(replica=partial).target
    assert lines(rolechange.plan_writable(End.TARGET, unit, TAG))[0] == (
        f"target: zfs set {TURNED} zrep:parent={GEN} zrep:master=yes tank/b"
    )
    assert (
        plan_record.plan_complete_role(End.TARGET, pair(replica=replace(partial, partially_applied=False)).target, TAG)
        == ()
    )


RESTORED = "source: zfs set zrep:inprogress= tank/a"


@pytest.mark.parametrize(
    ("was", "expected"),
    [
        ("off default", ["source: zfs inherit readonly tank/a", "source: mount -o remount,rw /tank/a"]),
        ("off local", ["source: zfs set readonly=off tank/a", "source: mount -o remount,rw /tank/a"]),
        ("on local", ["source: zfs set readonly=on tank/a"]),
        ("off received", ["source: zfs inherit -S readonly tank/a", "source: mount -o remount,rw /tank/a"]),
        ("on inherited from tank", ["source: zfs inherit readonly tank/a"]),
    ],
)
def test_abort_restores_readonly_by_value_and_source(was: str, expected: list[str]) -> None:
    undone = Intent("failover", NEW, "prepare", 2, {"tank/a": was})
    mark = f'target: zfs set zrep:inprogress={{"id":"{NEW}","op":"cancelled"}} tank/b'
    assert lines(rolechange.plan_abort(pair(), undone)) == [mark, *expected, RESTORED]


def test_writable_and_mounted() -> None:
    properties = {"readonly": "on", "mounted": "no -", "canmount": "noauto", "zrep:canmount": "on"}
    new = Tree((member("tank/b", REPLICA, "", 0, **properties),))
    # Writes may resume with the mount; what only tidies up comes after it.
    assert lines(rolechange.plan_open(End.TARGET, new, TAG)) == [
        "target: zfs set readonly=off canmount=on tank/b",
        "target: zfs mount tank/b",
        "target: zfs inherit zrep:canmount tank/b",
        "target: zfs set zrep:inprogress= tank/b",
    ]
    ended = "target: zfs set zrep:inprogress= tank/b"
    role = replace(REPLICA, canmount="")
    for properties, expected in [
        ({"mounted": "no -"}, ["target: zfs mount tank/b"]),
        ({}, ["target: mount -o remount,rw /tank/b"]),
        ({"mounted": "no -", "canmount": "off"}, []),
        ({"mounted": "no -", "mountpoint": "none"}, []),
        ({"mounted": "no -", "mountpoint": "legacy"}, []),
        ({"mounted": "no -", "sharenfs": "on"}, ["target: zfs mount tank/b", "target: zfs share tank/b"]),
        ({"type": "volume", "mounted": "- -", "mountpoint": "- -"}, []),
    ]:
        unit = Tree((member("tank/b", role, "", 0, **properties),))
        assert lines(rolechange.plan_mounted(End.TARGET, unit, TAG)) == [*expected, ended]


def _tree(role: Role, **properties: str) -> Tree:
    """A root, two below it and one below these."""
    names = ("tank/b/x", "tank/b/y", "tank/b/y/z")
    inside = replace(role, within=True)
    below = {**properties, "readonly": f"{properties['readonly']} inherited from tank/b"}
    return Tree((member("tank/b", role, "", 0, **properties), *(member(n, inside, "", 0, **below) for n in names)))


def test_what_is_not_mounted_has_its_log_replayed_while_the_rest_takes_writes_still() -> None:
    """A process for each: 150 of them took 40 seconds in which nothing could be written to the root."""
    members = [
        member("tank/a", MASTER),
        *(member(f"tank/a/{n}", MASTER, mounted="no -", mountpoint="none") for n in "xy"),
    ]
    tree = replace(pair().source, members=tuple(members))
    found = lines(rolechange.plan_quiesce(pair().with_tree(End.SOURCE, tree), NEW))
    commands = [line.split()[1] for line in found]
    assert commands == ["zfs", "unshare", "unshare", "mount", "zfs", "zpool"]


def test_canmount_of_a_tree_takes_a_command_for_each_value_and_comes_after_the_mounts() -> None:
    new = _tree(REPLICA, readonly="on", mounted="no -", canmount="noauto")
    assert lines(rolechange.plan_open(End.TARGET, new, TAG)) == [
        "target: zfs set readonly=off canmount=on tank/b",
        *(f"target: zfs mount {name}" for name in ("tank/b", "tank/b/x", "tank/b/y", "tank/b/y/z")),
        "target: zfs set canmount=on tank/b/x tank/b/y tank/b/y/z",
        "target: zfs inherit zrep:canmount tank/b tank/b/x tank/b/y tank/b/y/z",
        "target: zfs set zrep:inprogress= tank/b",
    ]


def test_members_that_are_read_only_by_themselves_take_one_command_too() -> None:
    """As all are that init has received: a process for each of them, while nothing could be written."""
    names = ("tank/b", "tank/b/x", "tank/b/y")
    inside = replace(REPLICA, within=True)
    new = Tree(tuple(member(n, inside if n != names[0] else REPLICA, mounted="no -", canmount="noauto") for n in names))
    assert lines(rolechange.plan_writable(End.TARGET, new, TAG)) == [
        f"target: zfs set readonly=off canmount=on {' '.join(names)}"
    ]


@pytest.mark.parametrize(
    ("canmount", "remembered", "mounted", "expected"),
    [
        ("off", "on", "no", ["set readonly=off", "set canmount=on", "mount"]),
        ("noauto", "off", "yes", ["set readonly=off", "set canmount=off"]),
        ("noauto", "noauto", "no", ["set readonly=off"]),
    ],
    ids=["off by hand", "mounted by hand", "noauto on the master too"],
)
def test_off_is_set_before_what_is_mounted(canmount: str, remembered: str, mounted: str, expected: list[str]) -> None:
    root = member("tank/b", replace(REPLICA, canmount=""), readonly="on", mountpoint="none", canmount="on")
    role = replace(REPLICA, canmount=remembered, within=True)
    below = member("tank/b/x", role, readonly="on inherited from tank/b", mounted=f"{mounted} -", canmount=canmount)
    found = lines(rolechange.plan_open(End.TARGET, Tree((root, below)), TAG))
    words = [line.removeprefix("target: zfs ") for line in found if "zrep:" not in line]
    assert [re.sub(r" canmount=on tank/b$| tank/b.*", "", word) for word in words] == expected


def test_the_inner_ones_of_a_tree_stop_mounting_by_themselves_first_in_a_command_for_each_level() -> None:
    """zfs set takes datasets in the order of their names."""
    assert lines(rolechange.plan_closed(End.SOURCE, _tree(MASTER, readonly="off"), TAG)) == [
        "source: zfs set zrep:canmount=on tank/b tank/b/x tank/b/y tank/b/y/z",
        "source: zfs set canmount=noauto tank/b/y/z",
        "source: zfs set canmount=noauto tank/b/x tank/b/y",
        "source: zfs set canmount=noauto tank/b",
    ]


def test_a_volume_has_no_canmount() -> None:
    volume = Tree((member("tank/b", replace(REPLICA, canmount=""), type="volume", readonly="on", canmount="- -"),))
    assert lines(rolechange.plan_writable(End.TARGET, volume, TAG)) == ["target: zfs set readonly=off tank/b"]
    assert rolechange.plan_closed(End.TARGET, volume, TAG) == ()


@pytest.mark.parametrize(
    ("canmount", "remembered", "expected"),
    [("noauto", "on", "on"), ("noauto", "off", "off"), ("noauto", "", "on"), ("on", "", "on"), ("off", "", "off")],
)
def test_canmount_of_a_new_master(canmount: str, remembered: str, expected: str) -> None:
    unit = Tree((member("tank/b", replace(REPLICA, canmount=remembered), canmount=canmount),))
    assert f"canmount={expected} " in lines(rolechange.plan_writable(End.TARGET, unit, TAG))[0]


def test_closing_twice_remembers_the_first() -> None:
    open_one = Tree((member("tank/a", MASTER),))
    assert len(rolechange.plan_closed(End.SOURCE, open_one, TAG)) == 2
    closed = Tree((member("tank/a", replace(MASTER, canmount="on"), canmount="noauto"),))
    assert rolechange.plan_closed(End.SOURCE, closed, TAG) == ()


@pytest.mark.parametrize(("epochs", "expected"), [((1, 1), 2), ((1, 7), 8), ((None, None), 1), ((0, None), 1)])
def test_the_next_epoch(epochs: tuple[int | None, int | None], expected: int) -> None:
    assert role.next_epoch(*(Role(epoch=epoch) for epoch in epochs)) == expected


def test_a_role_set_holds_only_short_user_properties() -> None:
    """So that it is one transaction; the longest is the record of the role, with its lineage."""
    lineage = tuple(f"{number:016x}" for number in range(ANCESTORS_KEPT))
    both: Pair = pair(replica=replace(REPLICA, parents=lineage))
    take = rolechange.take_role(both.target, TAG, NEW, 2)
    assert all(name.startswith("zrep:") and len(value) < 2048 for name, value in take.properties)


@pytest.mark.parametrize(
    ("there", "goes", "foreign"), [("1hs 2hw", ("zrep_000002",), ()), ("1hs 2Hw", (), ("zrep_000002",))]
)
def test_a_roll_back_leaves_what_another_tag_holds_to_a_person(
    there: str, goes: tuple[str, ...], foreign: tuple[str, ...]
) -> None:
    found = plan.plan_roll_back(lane("1hs", there))
    assert found is not None
    assert (found.own, found.foreign) == (goes, foreign)
