"""What zrep did not make, whatever it is called: never destroyed, never counted, never sent for its own sake."""

from __future__ import annotations

import pytest

from tests.ops import pairs
from tests.ops.hosts import Hosts, Mode
from tests.ops.pairs import INIT, SYNC_ALL, A, B, clearing, good, hit, linked, shell_pair, written
from zrep.ops.changeconfig import Config
from zrep.ops.init_way import Request
from zrep.ops.status import status
from zrep.zfs.commands import READABLE_SCRIPT

# By name they could be zrep's; so could the second under the tag "daily".
ALIKE = "zrep_20261101"
DAILY = "daily_20261127"


def snapshots(hosts: Hosts, host: str, name: str) -> list[str]:
    listed = hosts[host].sh(f"zfs list -H -o name -s createtxg -t snapshot {name}").decode().split()
    return [full.partition("@")[2] for full in listed]


def rounds(hosts: Hosts, count: int, tag: str = "zrep") -> None:
    for number in range(count):
        written(hosts, key=f"round{number}")
        good(hosts.run("alpha", SYNC_ALL, tag=tag))


# --- snapshots with a name of zrep's ---


@pytest.mark.parametrize(("tag", "name"), [("zrep", ALIKE), ("zrep", "zrep_000003"), ("daily", DAILY)])
@pytest.mark.parametrize(("host", "dataset"), [("alpha", A), ("beta", B)])
def test_a_snapshot_called_like_one_of_zreps_is_neither_destroyed_nor_counted(
    hosts: Hosts, host: str, dataset: str, tag: str, name: str
) -> None:
    pairs.source(hosts)
    good(hosts.run("alpha", pairs.initialising(Request(A, "beta", B, savecount=2)), tag=tag))
    hosts[host].sh(f"zfs snapshot {dataset}@{name}")
    rounds(hosts, 4, tag)
    assert name in snapshots(hosts, host, dataset)
    for side, own in (("alpha", A), ("beta", B)):
        assert len([each for each in snapshots(hosts, side, own) if each.startswith(f"{tag}_") and each != name]) == 2
    highest = max(each for each in snapshots(hosts, "alpha", A) if each.startswith(f"{tag}_000"))
    assert int(highest.partition("_")[2], 16) < 10


def test_it_is_not_sent_for_its_own_sake_nor_waits_to_be(hosts: Hosts) -> None:
    linked(hosts)
    hosts["alpha"].sh(f"zfs snapshot {A}@{ALIKE}")
    good(hosts.run("alpha", SYNC_ALL))
    assert ALIKE not in snapshots(hosts, "beta", B)
    ended = good(hosts.run("alpha", lambda session: status(session, [])))
    assert [row.unsent for row in ended.rows] == [0]


def test_on_the_replica_it_is_told_of(hosts: Hosts) -> None:
    linked(hosts)
    hosts["beta"].sh(f"zfs snapshot {B}@{ALIKE}")
    [outcome] = good(hosts.run("alpha", SYNC_ALL)).outcomes
    assert f"{A}: foreign snapshot on the replica: {ALIKE}" in outcome.notes


def test_a_role_change_back_and_forth_leaves_it(hosts: Hosts) -> None:
    linked(hosts)
    for host, dataset in (("alpha", A), ("beta", B)):
        hosts[host].sh(f"zfs snapshot {dataset}@zrep_0000{len(host)}f")
    good(hosts.run("alpha", pairs.failing_over(A)))
    good(hosts.run("alpha", pairs.taking_over(A)))
    good(hosts.run("alpha", clearing(A)))
    assert "zrep_00005f" in snapshots(hosts, "alpha", A)
    assert "zrep_00004f" in snapshots(hosts, "beta", B)


def test_a_mark_that_is_only_inherited_says_nothing(hosts: Hosts) -> None:
    linked(hosts)
    for host, dataset in (("alpha", A), ("beta", B)):
        hosts[host].sh(f"zfs snapshot {dataset}@{ALIKE}")
        hosts[host].sh("zfs set zrep:made=yes zrep:sent=1700000000 tank")
    good(hosts.run("alpha", pairs.changing(A, Config(savecount=1))))
    rounds(hosts, 3)
    assert ALIKE in snapshots(hosts, "alpha", A)
    assert ALIKE in snapshots(hosts, "beta", B)


def test_what_arrived_unacknowledged_is_known_once_both_sides_are_seen(hosts: Hosts) -> None:
    linked(hosts)
    written(hosts)
    hit(hosts, "alpha", SYNC_ALL, Mode.POWER_HERE, "zfs", "send")
    hosts.wire.heal()
    written(hosts, key="three")
    rounds(hosts, 8)
    for host, dataset in (("alpha", A), ("beta", B)):
        assert len([name for name in snapshots(hosts, host, dataset) if name.startswith("zrep_")]) == 5


# --- those of the shell zrep ---


def test_those_of_the_shell_zrep_are_its_own_from_the_first_sync_on(hosts: Hosts) -> None:
    """It marks what it has sent on the master alone."""
    linked(hosts)
    rounds(hosts, 3)
    pairs.by_the_shell(hosts)
    hosts["beta"].sh(f"zfs snapshot {B}@zrep_261101")
    rounds(hosts, 8)
    assert [name for name in snapshots(hosts, "beta", B) if name.startswith("zrep_")] == [
        "zrep_261101",
        *(f"zrep_{number:06x}" for number in range(8, 13)),
    ]


# --- clear ---


def test_clear_leaves_and_names_what_only_looks_like_zreps(hosts: Hosts) -> None:
    linked(hosts)
    hosts["alpha"].sh(f"zfs snapshot {A}@{ALIKE}")
    good(hosts.run("alpha", clearing(A)))
    assert f"{A}: @{ALIKE} stays: nothing shows that zrep made it" in hosts.said
    assert snapshots(hosts, "alpha", A) == ["daily", ALIKE]


def test_clear_of_a_shell_pair_takes_what_the_replica_has_of_it(hosts: Hosts) -> None:
    shell_pair(hosts)
    good(hosts.run("alpha", clearing(A)))
    assert snapshots(hosts, "beta", B) == ["weekly"]


@pytest.mark.parametrize("name", ["zrep_000001", ALIKE])
def test_clear_leaves_a_dataset_of_the_peer_that_is_in_no_pair(hosts: Hosts, name: str) -> None:
    """Somebody has put another one in the replica's place."""
    linked(hosts)
    hosts["beta"].sh(f"zfs rename {B} tank/old")
    hosts["beta"].sh(f"zfs create {B}")
    hosts["beta"].sh(f"zfs snapshot -o zrep:made=yes {B}@{name}")
    good(hosts.run("alpha", clearing(A)))
    assert f"{A}: {B} on beta is in no pair; left alone" in hosts.said
    assert snapshots(hosts, "beta", B) == [name]


def test_clear_of_an_init_that_was_cut_takes_its_half(hosts: Hosts) -> None:
    pairs.source(hosts)
    hit(hosts, "alpha", INIT, Mode.TORN, "zfs", "send")
    good(hosts.run("alpha", clearing(A)))
    assert hosts["beta"].run(["zfs", "list", B]).rc == 1


# --- a stream of somebody else ---


def half_received(hosts: Hosts) -> None:
    hosts["alpha"].sh("zfs create tank/c")
    hosts["alpha"].write("tank/c", "theirs", b"t" * 50)
    hosts["alpha"].sh("zfs snapshot tank/c@theirs")
    sent = hosts["alpha"].run(["zfs", "send", "tank/c@theirs"]).out
    start = sent.find(b"\n") + 1
    hosts["beta"].run(["zfs", "receive", "-s", "-u", B], sent[: start + (len(sent) - start) // 2])


def token(hosts: Hosts) -> str:
    return hosts["beta"].sh(f"zfs get -Hp -o value receive_resume_token {B}").decode().strip()


@pytest.mark.parametrize("begun", [False, True], ids=["the first time", "repeated"])
def test_an_init_leaves_what_somebody_else_is_receiving(hosts: Hosts, begun: bool) -> None:
    pairs.source(hosts)
    if begun:
        hit(hosts, "alpha", INIT, Mode.CUT, "zfs", "send")
        hosts.wire.heal()
    half_received(hosts)
    before = token(hosts)
    assert before != "-"
    ended = hosts.run("alpha", INIT)
    assert ended.code == 3
    assert f"something else is half received into {B} on beta" in ended.text
    assert f"on beta: zfs receive -A {B}" in ended.text
    assert token(hosts) == before
    hosts["beta"].sh(f"zfs receive -A {B}")
    good(hosts.run("alpha", INIT))


def test_what_another_program_has_begun_to_send_of_the_same_is_ended_by_the_commands_that_are_named(
    hosts: Hosts,
) -> None:
    """What has arrived is not sent again."""
    pairs.source(hosts)
    hosts["alpha"].sh(f"zfs snapshot {A}@zrep_000000")
    sent = hosts["alpha"].run(["zfs", "send", f"{A}@zrep_000000"]).out
    start = sent.find(b"\n") + 1
    hosts["beta"].run(["zfs", "receive", "-s", "-u", B], sent[: start + (len(sent) - start) // 2])
    told = hosts.run("alpha", INIT)
    named = (
        f"to send the rest of it: zfs send -t {token(hosts)} | "
        f"ssh beta zfs receive -s -u {B}, then zrep init --adopt {A} beta {B}; or "
    )
    assert (told.code, "of @zrep_000000, which zrep did not make" in told.text, named in told.text) == (3, True, True)
    rest = hosts["alpha"].run(["zfs", "send", "-t", token(hosts)]).out
    assert len(rest) < len(sent)
    hosts["beta"].run(["zfs", "receive", "-s", "-u", B], rest)
    hosts.wire.reset()
    good(hosts.run("alpha", pairs.initialising(Request(A, "beta", B, adopt=True))))
    assert [command for command in hosts.wire.log if command.stream] == []


def test_clear_leaves_it_too(hosts: Hosts) -> None:
    pairs.source(hosts)
    hit(hosts, "alpha", INIT, Mode.CUT, "zfs", "send")
    hosts.wire.heal()
    half_received(hosts)
    before = token(hosts)
    good(hosts.run("alpha", clearing(A)))
    assert f"{A}: {B} on beta is in no pair; left alone" in hosts.said
    assert token(hosts) == before


# --- on an encrypted replica ---

ENCRYPTED = "-o encryption=on -o keyformat=raw -o keylocation=file:///key"


@pytest.fixture
def encrypted(hosts: Hosts) -> Hosts:
    hosts["alpha"].sh(f"zfs create {ENCRYPTED} {A}")
    hosts["alpha"].write(A, "one", b"1")
    good(hosts.run("alpha", INIT))
    return hosts


FOREIGN = f"the encrypted replica {B} has snapshots newer than the base that are not on the master"


@pytest.mark.parametrize(
    ("made", "removes"),
    [
        (("auto-1",), f"zfs destroy {B}@auto-1"),
        (("auto-1", "auto-2"), f"zfs destroy {B}@auto-1,auto-2"),
        ((ALIKE,), f"zfs destroy {B}@{ALIKE}"),
        (("auto-1 held",), f"zfs release backup {B}@auto-1; zfs destroy {B}@auto-1"),
    ],
)
def test_a_foreign_snapshot_on_an_encrypted_replica_is_named_by_all_alike(
    encrypted: Hosts, made: tuple[str, ...], removes: str
) -> None:
    for name in made:
        encrypted["beta"].sh(f"zfs snapshot {B}@{name.split()[0]}")
        if "held" in name:
            encrypted["beta"].sh(f"zfs hold backup {B}@{name.split()[0]}")
    written(encrypted)
    for host, advice in (("alpha", f"on beta: {removes}"), ("beta", removes)):
        [row] = encrypted.run(host, lambda session: status(session, [])).rows
        assert (row.state, row.code, row.advice) == ("foreign snapshot", 3, advice)
    for work, options in (
        (SYNC_ALL, {}),
        (pairs.syncing(A), {"force": True}),
        (pairs.failing_over(A), {}),
        (pairs.failing_over(A), {"dry_run": True}),
    ):
        ended = encrypted.run("alpha", work, **options)
        said = ended.text + "".join(error.line() for outcome in ended.outcomes for error in outcome.blockers)
        assert ended.code == 3
        assert FOREIGN in said
        assert f"next: on beta: {removes}" in said
    for command in removes.split("; "):
        encrypted["beta"].sh(command)
    good(encrypted.run("alpha", SYNC_ALL))
    [row] = good(encrypted.run("alpha", lambda session: status(session, []))).rows
    assert row.state == "ok"


def test_one_that_is_made_meanwhile_is_named_too(encrypted: Hosts) -> None:
    written(encrypted)

    def meanwhile() -> None:
        if any(command.argv[:2] == ("zfs", "snapshot") for command in encrypted.wire.log):
            encrypted.wire.before = lambda: None
            encrypted["beta"].sh(f"zfs snapshot {B}@auto-1")

    encrypted.wire.before = meanwhile
    assert FOREIGN in encrypted.run("alpha", SYNC_ALL).text


# --- what is written, and what only looks so ---


def test_quotas_on_a_replica_are_told_from_a_write(hosts: Hosts) -> None:
    linked(hosts)
    hosts["beta"].sh(f"zfs set userquota@1000=1000000 {B}")
    ended = hosts.run("alpha", SYNC_ALL)
    assert ended.code == 3
    assert f"user, group or project quotas were set or cleared on the replica {B}" in ended.text
    assert f"set them there; then, to drop the replica's: zrep sync -f {A}" in ended.text
    [row] = hosts.run("beta", lambda session: status(session, [])).rows
    assert row.advice.endswith(f"on alpha: zrep sync -f {A}")
    good(hosts.run("alpha", pairs.syncing(A), force=True))
    good(hosts.run("alpha", SYNC_ALL))


def test_a_write_beside_them_is_one(hosts: Hosts) -> None:
    linked(hosts)
    hosts["beta"].sh(f"zfs set userquota@1000=1000000 {B}")
    hosts["beta"].sh(f"zfs set readonly=off {B}")
    hosts["beta"].sh(f"zfs mount {B}")
    hosts["beta"].write(B, "stray", b"x")
    hosts["beta"].sh(f"zfs unmount {B}")
    assert f"the replica {B} was changed by hand" in hosts.run("alpha", SYNC_ALL).text


# --- encrypted where it arrives ---


@pytest.fixture
def vault(hosts: Hosts) -> Hosts:
    """An encrypted dataset on beta, to be the parent of a replica."""
    pairs.source(hosts)
    hosts["beta"].sh(f"zfs create {ENCRYPTED} -o canmount=off tank/vault")
    return hosts


INSIDE = pairs.initialising(Request(A, "beta", "tank/vault/a"))


def test_a_plain_source_below_an_encrypted_parent_is_encrypted_there(vault: Hosts) -> None:
    good(vault.run("alpha", INSIDE))
    assert pairs.value(vault, "beta", "tank/vault/a", "encryptionroot") == "tank/vault"
    assert pairs.value(vault, "alpha", A, "zrep:flags") == "-p -L -c"
    written(vault)
    good(vault.run("alpha", SYNC_ALL))
    good(vault.run("alpha", pairs.failing_over(A)))
    good(vault.run("alpha", pairs.taking_over(A)))


def test_a_plain_source_whose_first_stream_was_torn_is_encrypted_there(vault: Hosts) -> None:
    hit(vault, "alpha", INSIDE, Mode.TORN, "zfs", "send")
    good(vault.run("alpha", INSIDE))
    assert pairs.value(vault, "beta", "tank/vault/a", "encryptionroot") == "tank/vault"


def test_who_asks_for_a_raw_stream_gets_it_plain(vault: Hosts) -> None:
    good(vault.run("alpha", pairs.initialising(Request(A, "beta", "tank/vault/a", flags="-p -w"))))
    assert pairs.value(vault, "beta", "tank/vault/a", "encryption") == "off"


def test_embedded_data_that_was_asked_for_is_refused(vault: Hosts) -> None:
    ended = vault.run("alpha", pairs.initialising(Request(A, "beta", "tank/vault/a", flags="-p -e")))
    assert ended.code == 3
    assert "embedded data (-e) cannot be received below tank/vault on beta" in ended.text


@pytest.mark.parametrize("target", ["tank/vault/a", "tank/vault/deeper/a"])
def test_a_parent_without_its_key_is_named_with_its_host(vault: Hosts, target: str) -> None:
    vault["beta"].sh("zfs unload-key tank/vault")
    ended = vault.run("alpha", pairs.initialising(Request(A, "beta", target)))
    assert ended.code == 3
    assert "the key of tank/vault on beta is not loaded" in ended.text
    assert "next: on beta: zfs load-key 'tank/vault'" in ended.text
    assert pairs.value(vault, "alpha", A, "zrep:src-fs") == "-"


def test_a_replica_whose_key_is_away_waits_for_it(vault: Hosts) -> None:
    good(vault.run("alpha", INSIDE))
    vault["beta"].sh("zfs unload-key tank/vault")
    written(vault)
    before = snapshots(vault, "alpha", A)
    ended = vault.run("alpha", SYNC_ALL)
    assert ended.code == 3
    assert "the key of the replica tank/vault/a on beta is not loaded" in ended.text
    assert snapshots(vault, "alpha", A) == before
    [row] = vault.run("beta", lambda session: status(session, [])).rows
    assert (row.state, row.advice) == ("key not loaded", "zfs load-key 'tank/vault'")
    vault["beta"].sh("zfs load-key tank/vault")
    good(vault.run("alpha", SYNC_ALL))


# --- a tree below an encrypted filesystem ---


@pytest.fixture
def walled(vault: Hosts) -> Hosts:
    """tank/a as a tree, with a member x and an encrypted one of its own key, replicated below tank/vault."""
    alpha = vault["alpha"]
    for create in (f"{A}/x", f"{ENCRYPTED} {A}/secret", f"{A}/secret/deep"):
        alpha.sh(f"zfs create {create}")
    good(vault.run("alpha", pairs.initialising(Request(A, "beta", "tank/vault/a", recursive=True))))
    return vault


def roots(hosts: Hosts, host: str, tree: str) -> dict[str, str]:
    """The encryption root of every member, by its name in the tree."""
    rows = hosts[host].sh(f"zfs get -H -r -o name,value -t filesystem encryptionroot {tree}").decode().splitlines()
    return {name.removeprefix(tree): value for name, value in (row.split("\t") for row in rows)}


OWN = {"/secret": "tank/vault/a/secret", "/secret/deep": "tank/vault/a/secret"}


def test_members_are_encrypted_as_their_tree_and_those_of_an_own_key_stay_so(walled: Hosts) -> None:
    assert roots(walled, "beta", "tank/vault/a") == {"": "tank/vault", "/x": "tank/vault"} | OWN
    walled["alpha"].sh(f"zfs create {A}/x/new")
    good(walled.run("alpha", SYNC_ALL))
    assert roots(walled, "beta", "tank/vault/a")["/x/new"] == "tank/vault"


def test_a_member_whose_first_stream_was_torn_is_encrypted_as_its_tree(walled: Hosts) -> None:
    walled["alpha"].sh(f"zfs create {A}/new")
    walled["alpha"].write(f"{A}/new", "file", b"1")
    hit(walled, "alpha", SYNC_ALL, Mode.TORN, "zfs", "send")
    good(walled.run("alpha", SYNC_ALL))
    assert roots(walled, "beta", "tank/vault/a")["/new"] == "tank/vault"


def test_the_role_of_such_a_tree_moves_there_and_back_with_what_is_new(walled: Hosts) -> None:
    inside = "tank/vault/a"
    walled["beta"].sh(f"zfs load-key -L file:///key {inside}/secret")
    good(walled.run("alpha", pairs.failing_over(A)))
    beta = walled["beta"]
    for name in ("x", "secret"):
        beta.write(f"{inside}/{name}", "on beta", b"1")
    beta.sh(f"zfs create {inside}/x/later")
    beta.write(f"{inside}/x/later", "file", b"2")
    good(walled.run("beta", SYNC_ALL))
    good(walled.run("beta", pairs.failing_over(inside)))
    alpha = walled["alpha"]
    assert alpha.read(f"{A}/x")["on beta"] == alpha.read(f"{A}/secret")["on beta"] == b"1"
    assert alpha.read(f"{A}/x/later")["file"] == b"2"
    assert roots(walled, "alpha", A)["/x/later"] == "-"


# --- a key that was changed ---

OUTDATED = f"the key of {B} that is loaded on beta does not open it"
RELOAD = f"on beta: zfs unload-key '{B}'; zfs load-key '{B}', with the new key"


@pytest.fixture
def rekeyed(encrypted: Hosts) -> Hosts:
    encrypted["beta"].sh(f"zfs load-key -L file:///key {B}")
    encrypted.wire.outdated_keys.add(B)
    return encrypted


@pytest.mark.parametrize("options", [{}, {"dry_run": True}], ids=["", "-n"])
def test_a_replica_that_the_loaded_key_does_not_open_is_not_promoted(rekeyed: Hosts, options: dict[str, bool]) -> None:
    rekeyed.wire.reset()
    ended = rekeyed.run("alpha", pairs.failing_over(A), **options)
    said = ended.text + "".join(error.line() for outcome in ended.outcomes for error in outcome.blockers)
    assert ended.code == 3
    assert OUTDATED in said
    assert RELOAD in said
    assert not any(command.argv[1] in ("set", "snapshot") for command in rekeyed.wire.log)


@pytest.mark.parametrize("count", [1, 6])
def test_the_keys_of_a_tree_are_tried_by_one_command_each_time(hosts: Hosts, count: int) -> None:
    alpha = hosts["alpha"]
    alpha.sh(f"zfs create {ENCRYPTED} {A}")
    names = [A, *(f"{A}/{number}" for number in range(count))]
    for name in names[1:]:
        alpha.sh(f"zfs create {name}")
    good(hosts.run("alpha", pairs.initialising(Request(A, "beta", B, recursive=True))))
    hosts["beta"].sh(f"zfs load-key -L file:///key {B}")
    hosts.wire.reset()
    good(hosts.run("alpha", pairs.failing_over(A)))
    tried = [command.argv[4:] for command in hosts.wire.log if READABLE_SCRIPT in command.argv]
    # At first, once the tree is up to date, and after the final streams, which may have brought other keys.
    expected = [B + name.removeprefix(A) for name in names]
    assert [[snapshot.partition("@")[0] for snapshot in each] for each in tried] == [expected] * 3


def test_a_forced_takeover_does_not_promote_what_the_loaded_key_does_not_open(rekeyed: Hosts) -> None:
    ended = rekeyed.run("beta", pairs.forcing(B))
    assert (ended.code, OUTDATED in ended.text) == (3, True)


def test_a_change_that_comes_with_the_final_stream_undoes_the_role_change(encrypted: Hosts) -> None:
    encrypted["beta"].sh(f"zfs load-key -L file:///key {B}")

    def meanwhile() -> None:
        if any(command.stream for command in encrypted.wire.log):
            encrypted.wire.outdated_keys.add(B)

    encrypted.wire.reset()
    encrypted.wire.before = meanwhile
    ended = encrypted.run("alpha", pairs.failing_over(A))
    assert (ended.code, OUTDATED in ended.text) == (3, True)
    assert pairs.value(encrypted, "alpha", A, "readonly") == "off"
    assert pairs.value(encrypted, "alpha", A, "zrep:master") == "yes"
    encrypted.wire.before = lambda: None
    encrypted.wire.outdated_keys.clear()
    good(encrypted.run("alpha", pairs.failing_over(A)))
