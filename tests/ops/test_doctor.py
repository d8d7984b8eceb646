"""doctor: each thing that will hurt later is found, with what mends it, and nothing else is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.model.machine import Machine
from tests.ops import pairs
from tests.ops.hosts import Ended, Hosts, ModelHost, Wire, Work
from tests.ops.pairs import A, B, good
from tests.ops.picture import look
from zrep.core.busy import BUSY_IS_NEWS
from zrep.core.requests import Lock, Unlock
from zrep.host import schedule, sshd
from zrep.ops.doctor import doctor
from zrep.zfs.commands import Completed

LINE = "* * * * * root /usr/local/bin/zrep sync all\n"


@pytest.fixture
def cron(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Both hosts of the model have the files of one."""
    file = tmp_path / "cron"
    file.write_text(LINE)
    monkeypatch.setattr(schedule, "CRON", (str(file),))
    monkeypatch.setattr(schedule, "TIMERS", ())
    monkeypatch.setattr(sshd, "CONFIG", str(tmp_path / "sshd_config"))
    return file


@pytest.fixture
def linked(hosts: Hosts, cron: Path) -> Hosts:
    pairs.linked(hosts)
    return hosts


def found(hosts: Hosts, here: str = "alpha") -> Ended:
    before = {name: look(hosts.local(name), hosts[name]) for name in ("alpha", "beta")}
    ended = hosts.run(here, lambda session: doctor(session, []))
    assert {name: look(hosts.local(name), hosts[name]) for name in ("alpha", "beta")} == before
    return ended


@pytest.mark.parametrize(("here", "name"), [("alpha", A), ("beta", B)])
def test_nothing_is_found_where_all_is_well(linked: Hosts, here: str, name: str) -> None:
    ended = found(linked, here)
    assert (ended.code, [x.message for x in ended.outcomes]) == (0, ["nothing found"]), ended.text


@pytest.mark.parametrize(
    "works",
    [[pairs.SYNC_ALL], [pairs.failing_over(A)], [pairs.SYNC_ALL, pairs.failing_over(A)]],
    ids=["sync", "failover", "both in turn"],
)
def test_what_changes_between_its_looks_at_the_two_halves_is_looked_at_anew(
    linked: Hosts, monkeypatch: pytest.MonkeyPatch, works: list[Work]
) -> None:
    pairs.written(linked)
    pairs.in_between(linked, monkeypatch, "alpha", *works)
    ended = linked.run("alpha", lambda session: doctor(session, []))
    assert (ended.code, [x.message for x in ended.outcomes]) == (0, ["nothing found"]), ended.text


@pytest.mark.parametrize("here", ["alpha", "beta"])
def test_what_will_hurt_is_found_from_either_host(linked: Hosts, here: str) -> None:
    linked["beta"].sh(f"zfs set quota=1M {B}")
    linked["alpha"].write(A, "big", b"x" * 2_000_000)
    linked["alpha"].sh(f"zfs create {A}/x")
    ended = found(linked, here)
    assert ended.code == 1
    assert "a role change would be refused" in ended.text
    assert "the replica's quota on beta is less than what the master uses" in ended.text
    assert f"next: on beta: zfs set quota=none {B}" in ended.text


@pytest.mark.parametrize("here", ["alpha", "beta"])
@pytest.mark.parametrize(
    ("host", "mends"),
    [
        ("alpha", "make room on alpha, or set a floor: zrep changeconfig --minfree 2% {}"),
        ("beta", f"on beta: zfs list -o space -r {B}"),
    ],
)
def test_a_pool_that_is_nearly_full(linked: Hosts, here: str, host: str, mends: str) -> None:
    """What is to be typed names the filesystem, as it is called where it is typed."""
    linked.world.state.hosts[host].pools["tank"].full = True
    ended = found(linked, here)
    assert (ended.code, f"the pool tank on {host} is nearly full" in ended.text) == (1, True), ended.text
    assert f"next: {mends.format(A if here == 'alpha' else B)}" in ended.text


@pytest.mark.parametrize("here", ["alpha", "beta"])
def test_a_pool_whose_room_is_reserved(linked: Hosts, monkeypatch: pytest.MonkeyPatch, here: str) -> None:
    """What zpool calls free is not: what is reserved, and what ZFS keeps for itself, takes no write."""
    monkeypatch.setattr(Machine, "available", lambda self, dataset: 4096 if self.host.name == "beta" else 1 << 50)
    ended = found(linked, here)
    assert (ended.code, "the pool tank on beta is nearly full (4.0K of " in ended.text) == (1, True), ended.text
    assert "tank on alpha" not in ended.text


@pytest.mark.parametrize("here", ["alpha", "beta"])
def test_flags_whose_streams_the_other_pool_cannot_receive(linked: Hosts, here: str) -> None:
    linked.world.state.hosts["beta"].pools["tank"].lacks = ("large_blocks",)
    ended = found(linked, here)
    assert (ended.code, f"what zfs send -L sends cannot be received in {B} on beta" in ended.text) == (1, True), (
        ended.text
    )
    assert "next: on beta: zpool set feature@large_blocks=enabled tank" in ended.text


def test_a_state_that_is_not_well_is_the_finding(hosts: Hosts, cron: Path) -> None:
    pairs.forced(hosts)
    ended = found(hosts)
    assert (ended.code, "next: zrep rejoin tank/a" in ended.text) == (3, True), ended.text


def test_nobody_runs_it(linked: Hosts, cron: Path) -> None:
    for text in ("", "# * * * * * root zrep sync all\n", "* * * * * root zrep status\n"):
        cron.write_text(text)
        ended = found(linked)
        assert ended.code == 1
        assert ended.text.count("runs zrep sync by itself") == 2
    cron.write_text("PATH=/usr/bin\n*/5 * * * * root /usr/local/bin/zrep -t zrep -S all\n")
    assert found(linked).code == 0


@pytest.mark.parametrize("tag", ["zrep", "onward"])
def test_what_a_user_is_told_to_type_fits_his_own_crontab(hosts: Hosts, cron: Path, tag: str) -> None:
    """Its lines name no user, and he writes neither a file of cron's nor a unit of systemd."""
    pairs.source(hosts)
    good(hosts.run("alpha", pairs.INIT, tag=tag))
    cron.write_text("")
    pairs.run_as_operator(hosts, "beta")
    ended = hosts.run("alpha", lambda session: doctor(session, []), tag=tag)
    words = "" if tag == "zrep" else "-t onward "
    line = f'(crontab -l; echo "* * * * * $(command -v zrep) {words}sync all") | crontab -'
    assert f"next: on beta, as operator: {line}\n" in f"{ended.text}\n"
    assert "echo" not in ended.text.replace(line, "").partition("nothing on beta")[2], ended.text
    assert (
        f"next: on alpha: {'' if words else 'systemctl enable --now zrep-sync.timer, or a line of cron: '}echo"
        in ended.text
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "nothing on beta runs zrep sync by itself"),
        ("* * * * * /usr/local/bin/zrep sync all\n", ""),
        ("PATH=/none\n* * * * * zrep sync all\n", "next: on beta: in the crontab of operator, before that line: PATH="),
    ],
)
def test_the_crontab_of_a_user_is_read_as_he_himself_may(
    linked: Hosts, cron: Path, monkeypatch: pytest.MonkeyPatch, text: str, says: str
) -> None:
    """cron lets nobody but root look into its directory."""
    ran = Wire.run

    def run(self: Wire, host: str, argv: Sequence[str]) -> Completed:
        if tuple(argv) != ("crontab", "-l"):
            return ran(self, host, argv)
        assert host == "beta"  # that of root is a file like others
        return Completed(tuple(argv), 0 if text else 1, text, "" if text else "no crontab for operator\n")

    monkeypatch.setattr(Wire, "run", run)
    cron.write_text("")
    pairs.run_as_operator(linked, "beta")
    told = [line for line in found(linked).text.splitlines() if "on beta" in line and " cron" in line]
    assert len(told) == bool(says), told
    assert says in "".join(told)


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        (LINE, False),
        ("* * * * * root /usr/local/bin/zrep -t other sync all\n", False),
        ("* * * * * root /usr/local/bin/zrep -t onward sync all\n", True),
        (f"{LINE}* * * * * root /usr/local/bin/zrep --tag=onward -S all\n", True),
        ("* * * * * root ZREPTAG=onward /usr/local/bin/zrep sync all\n", True),
        (f"ZREPTAG=onward\n{LINE}", True),
        ("* * * * * root for t in one onward; do /usr/local/bin/zrep -t $t sync all; done\n", True),
    ],
)
def test_nobody_runs_it_for_the_pairs_of_the_tag(hosts: Hosts, cron: Path, text: str, runs: bool) -> None:
    """What is to be typed leaves the line of another tag where it is."""
    pairs.source(hosts)
    good(hosts.run("alpha", pairs.INIT, tag="onward"))
    cron.write_text(text)
    ended = hosts.run("alpha", lambda session: doctor(session, []), tag="onward")
    assert (ended.code, ended.text.count("nothing on beta runs zrep -t onward sync by itself")) == (
        (0, 0) if runs else (1, 1)
    ), ended.text
    line = 'next: on beta: echo "* * * * * root $(command -v zrep) -t onward sync all" > /etc/cron.d/zrep-onward'
    assert (line in ended.text) is not runs


def test_a_setting_of_the_host_names_the_tag_of_its_lines(
    linked: Hosts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "default").write_text("ZREPTAG=onward\n")
    monkeypatch.setattr(schedule, "DEFAULTS", str(tmp_path / "default"))
    assert found(linked).text.count("runs zrep sync by itself") == 2


@pytest.mark.parametrize(
    ("before", "line", "searched"),
    [
        ("", "* * * * * root zrep sync all", "/usr/bin:/bin"),
        ("PATH=/none", "* * * * * root zrep sync all", "/none"),
        ("PATH=/none:$PATH", "* * * * * root zrep sync all", "/none:$PATH"),
        ("", "@hourly cd / && zrep -t zrep sync all\nPATH={there}", "/usr/bin:/bin"),
        ("PATH={there}", "* * * * * root zrep sync all", ""),
        ('PATH = "/none:{there}"', "* * * * * root true || zrep sync all", ""),
        ("", "* * * * * root PATH=/usr/local/bin zrep sync all", ""),
        ("", "* * * * * root /usr/local/bin/zrep sync all", ""),
        ("", "* * * * * root zrep-wrapper sync all", ""),
    ],
)
def test_cron_does_not_find_zrep(linked: Hosts, cron: Path, before: str, line: str, searched: str) -> None:
    there = cron.parent / "bin"
    there.mkdir()
    (there / "zrep").touch(0o755)
    cron.write_text(f"{before}\n{line}\n".replace("{there}", str(there)))
    ended = found(linked)
    assert ended.text.count("does not find zrep") == (2 if searched else 0), ended.text
    assert ended.code == (1 if searched else 0)
    assert not searched or f"in the PATH {searched}); next: on beta: in {cron}, before that line: PATH=/" in ended.text


@pytest.mark.parametrize(("where", "name"), [("alpha", A), ("beta", B)])
@pytest.mark.parametrize("long", [True, False])
def test_a_lock_that_somebody_has_for_long(linked: Hosts, where: str, name: str, long: bool) -> None:
    if long:
        linked.world.pass_time(BUSY_IS_NEWS + 60)
    holder = linked.local(where)
    assert holder.ask(Lock((name,), 0.0, "zrep")) == []
    try:
        ended = found(linked)
        assert (f"{name} on {where} is busy, and not synced for more than 10m" in ended.text) is long, ended.text
        assert (f"next: on {where}: nothing, if a long stream" in ended.text) is long
    finally:
        holder.ask(Unlock((name,)))
    assert linked.run("alpha", lambda session: doctor(session, [])).code == 0


def test_a_peer_that_cannot_be_asked_is_the_finding(linked: Hosts) -> None:
    linked.wire.cut = True
    assert linked.run("alpha", lambda session: doctor(session, [])).code == 5


# On which host, what is done there, what doctor says of it, the command that mends it, and whether --fix takes that.
FOUND = [
    ("beta", f"zfs set canmount=on {B}", "mounts by itself at the next boot", f"canmount=noauto {B}", True),
    (
        "beta",
        f"zfs set zrep:lock-pid=4711 {B}",
        "a shell zrep has left its lock",
        f"zfs inherit zrep:lock-pid {B}",
        True,
    ),
    ("alpha", f"zfs set zrep:lock-pid=4711 {A}", f"its lock on {A}", f"zfs inherit zrep:lock-pid {A}", True),
    ("alpha", f"zfs hold zrep {A}@zrep_000001", "1 snapshots of tank/a on alpha are held", "zfs release zrep", True),
    ("beta", f"zfs hold zrep {B}@zrep_000001", "1 snapshots of tank/b on beta are held", "zfs release zrep", True),
]


@pytest.mark.parametrize(("host", "command", "says", "mends", "safe"), FOUND, ids=[each[1] for each in FOUND])
@pytest.mark.parametrize("here", ["alpha", "beta"])
def test_what_is_safe_is_mended_where_that_is_wanted(
    linked: Hosts, here: str, host: str, command: str, says: str, mends: str, safe: bool
) -> None:
    linked["alpha"].write(A, "more", b"x")
    pairs.good(linked.run("alpha", pairs.SYNC_ALL))
    linked[host].sh(command)
    ended = found(linked, here)
    name = A if here == "alpha" else B
    assert ended.code == 1, ended.text
    assert says in ended.text
    assert mends in ended.text
    assert f"; or: zrep doctor --fix {name}" in ended.text
    mended = linked.run(here, lambda session: doctor(session, [], fix=True))
    assert (mended.code, mended.text.count("mended: ")) == (0, 1), mended.text
    assert found(linked, here).code == 0
    pairs.good(linked.run("alpha", pairs.SYNC_ALL))


@pytest.mark.parametrize(
    ("name", "tool"), [("zfs-auto-snap_hourly-2026", "zfs-auto-snapshot"), ("autosnap_2026-01-01_daily", "sanoid")]
)
def test_a_program_that_makes_snapshots_of_the_replica(linked: Hosts, name: str, tool: str) -> None:
    linked["beta"].sh(f"zfs snapshot {B}@{name}")
    ended = found(linked)
    assert f"{tool} makes snapshots of the replica {B} on beta (@{name}, which the master does not have)" in ended.text
    mended = linked.run("alpha", lambda session: doctor(session, [], fix=True))
    assert ("mended" in mended.text) == (tool == "zfs-auto-snapshot")
    assert (found(linked).code == 0) == (tool == "zfs-auto-snapshot")


def test_what_sshd_and_login_files_do(linked: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sshd_config").write_text("# MaxSessions 20\nInclude none/*\nmaxsessions 2\nMaxSessions 10\n")
    monkeypatch.setattr("tests.ops.hosts.Peer.noise", "Welcome to beta")
    ended = found(linked)
    assert "sshd on beta lets a connection have 2 sessions, and a run has up to 5" in ended.text
    assert "login files on beta print something where nobody logs in to read it (Welcome to beta)" in ended.text


def test_what_a_user_lacks(linked: Hosts) -> None:
    linked.wire.users["beta"] = "operator"
    linked["beta"].sh(f"zfs allow -u operator canmount,create,hold,mount,readonly,receive,release,rename {B}")
    ended = found(linked)
    assert "operator lacks permissions on tank/b on beta (destroy, promote, userprop)" in ended.text
    assert "next: as root on beta: zrep allow operator tank/b --receive --apply" in ended.text
    linked["beta"].sh("zfs allow -u operator destroy,promote,userprop tank")
    assert "lacks permissions" not in found(linked).text


def mount_in(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Something that is no dataset is mounted in what is mounted on tank/a's path."""
    own = ModelHost.mountinfo

    def mountinfo(self: ModelHost) -> str:
        table = own(self)
        master = next((line.split()[0] for line in table.splitlines() if " /tank/a " in line), "")
        return table + (f"99 {master} 0:44 / {where} rw - tmpfs none rw\n" if master else "")

    monkeypatch.setattr(ModelHost, "mountinfo", mountinfo)


def test_what_is_mounted_in_the_master_and_is_no_dataset(linked: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    mount_in(monkeypatch, "/tank/a/cache")
    assert "what is written to /tank/a/cache on alpha is not replicated, though it is in tank/a" in found(linked).text


def test_init_warns_of_what_is_around(hosts: Hosts, cron: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts["alpha"].sh(f"zfs create {A}")
    mount_in(monkeypatch, "/tank/a/cache")
    (cron.parent / "sshd_config").write_text("MaxSessions 1\n")
    pairs.good(hosts.run("alpha", pairs.INIT))
    said = "\n".join(hosts.said)
    for what in ("/tank/a/cache on alpha is not replicated", "have 1 sessions"):
        assert said.count(what) == 1, said
