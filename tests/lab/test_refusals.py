"""Wrong input and hostile surroundings: one line, the right exit code, and nothing changed on either host.

Rows share one pair of hosts: that they change nothing is what each of them shows.
"""

import time
from collections.abc import Iterator

import pytest

from tests.lab.hosts import Lab
from tests.lab.zrep_on import (
    BUSY,
    FAILED,
    PICTURE,
    REFUSED,
    UNREACHABLE,
    USAGE,
    Case,
    Obstacle,
    check,
    made,
    on_all,
    one_line,
    put,
    rows,
    silent,
    unchanged,
    unreachable,
)

ZREP = "/usr/local/bin/zrep"
VERSION = "/opt/zrep/lib/python3*/site-packages/zrep/__init__.py"


def moved(host: str, path: str) -> Obstacle:
    return Obstacle(host, f"mv {path} {path}.away", f"mv {path}.away {path}")


def read_only(host: str) -> Obstacle:
    return Obstacle(host, "mkdir -p /run/zrep && mount -t tmpfs -o ro none /run/zrep", "umount /run/zrep")


def says(value: str, host: str, undo: str) -> Obstacle:
    """A property of tank/a that zrep never wrote so."""
    return Obstacle(host, f"zfs set zrep:{value} tank/a", f"zfs {undo} tank/a")


OTHER_ZREP = Obstacle(
    "beta",
    rf"""mv {ZREP} {ZREP}.away; chmod +x $(printf '#!/bin/sh\necho "Usage: zrep [-options]"; echo "zrep (sync|init)" >&2
exit 1\n' | tee {ZREP} > /dev/null; echo {ZREP})""",
    f"mv {ZREP}.away {ZREP}",
)
OTHER_VERSION = Obstacle(
    "beta",
    f"""sed -i.away 's/^__version__.*/__version__ = "3.9.9"/' {VERSION}""",
    f"for file in {VERSION}; do mv $file.away $file; done",
)
BAD_SETTINGS = Obstacle("beta", "echo 'if true; then' > /etc/default/zrep", "rm /etc/default/zrep")
RENAMED = Obstacle("beta", "zfs rename tank/a tank/moved", "zfs rename tank/moved tank/a")
BY_HAND = Obstacle(
    "beta",
    "zfs set readonly=off tank/a && zfs mount tank/a && echo by hand > /tank/a/file && zpool sync",
    "zfs unmount tank/a && zfs rollback tank/a@zrep_000001 && zfs set readonly=on tank/a",
)
VOLUME = Obstacle("beta", "zfs create -s -V 8M tank/vol", "zfs destroy tank/vol")


@pytest.fixture(scope="class")
def pair(lab: Lab) -> Iterator[Lab]:
    """tank/a on alpha, replicated to beta, and what is in no pair: tank/plain with a child, tank/locked without its
    key, tank/other on beta. All as it was when the class ends."""
    lab.reset()
    alpha, beta = lab
    made(alpha, "tank/a")
    alpha.run("zrep init tank/a beta tank/a")
    made(alpha, "tank/plain/kid")
    alpha.run("echo 12345678 > /root/key && head -c 20M /dev/urandom > /tank/plain/data")
    made(alpha, "tank/locked", encryption="on", keyformat="passphrase", keylocation="file:///root/key")
    alpha.run("zfs unmount tank/locked && zfs unload-key tank/locked; zpool sync")
    made(beta, "tank/other")
    beta.run("head -c 45M /dev/urandom > /small/filler; zpool sync")
    with unchanged(lab, PICTURE):
        yield lab


@pytest.fixture(scope="class")
def quiet(pair: Lab) -> Iterator[Lab]:
    """The same for a class none of whose rows leaves a trace: looked for when it ends."""
    with unchanged(pair):
        yield pair


# Every command that takes a filesystem, with a place for its name.
COMMANDS = (
    "sync {}",
    "sync -f {}",
    "failover {}",
    "takeover {}",
    "takeover -L --yes {}",
    "rejoin {}",
    "rejoin -f {}",
    "expire {}",
    "expire -L {}",
    "list {}",
    "list --snapshots {}",
    "list -v {}",
    "status {}",
    "pause {}",
    "unpause {}",
    "changeconfig {} beta",
    "clear {}",
    "clear -L {}",
    "init {} beta tank/new",
)
NEED_A_PAIR = tuple(command for command in COMMANDS if not command.startswith(("init", "clear")))
MOST = ("sync all", "failover tank/a")
TAKEOVERS = ("takeover tank/a", "takeover -L -f --yes tank/a")


def of(commands: tuple[str, ...], name: str, code: int, says: str) -> list[Case]:
    return [Case(f"zrep {command}", f"zrep {command.format(name)}", code, says) for command in commands]


class TestNames:
    """Names that are none, names of nothing, names of what is in no pair."""

    @rows(of(COMMANDS, "tank/none", REFUSED, "tank/none: no such filesystem"))
    def test_no_such_filesystem(self, quiet: Lab, case: Case) -> None:
        one_line(quiet.alpha.run(case.command, check=False), case)

    @rows(
        of(("sync {}", "list {}", "init {} beta tank/new"), "nopool/x", FAILED, "pool nopool on alpha is not imported")
    )
    def test_a_pool_that_is_not_there_may_be_elsewhere(self, quiet: Lab, case: Case) -> None:
        one_line(quiet.alpha.run(case.command, check=False), case)

    @rows(of(NEED_A_PAIR, "tank/plain", REFUSED, "tank/plain: .*not replicated"))
    def test_in_no_pair(self, quiet: Lab, case: Case) -> None:
        one_line(quiet.alpha.run(case.command, check=False), case)

    @rows(
        of(
            tuple(command for command in COMMANDS if not command.startswith("sync ")),
            "tank/a@zrep_000001",
            USAGE,
            "tank/a@zrep_000001 is a snapshot",
        )
        + of(("sync {}", "sync -f {}"), "tank/a@zrep_000001", USAGE, "tank/a: .*never rolled back to an older snapshot")
    )
    def test_a_snapshot_is_no_filesystem(self, quiet: Lab, case: Case) -> None:
        one_line(quiet.alpha.run(case.command, check=False), case)

    @pytest.mark.parametrize(
        ("name", "says"),
        [
            ("''", "cannot be a ZFS filesystem"),
            ("-x", "-x"),
            ("-- -x", "'-x' cannot be"),
            ("../x", "'../x' cannot be"),
            ("/tank/a", "/tank/a is a path"),
            ("a//b", "'a//b' cannot be"),
            ("tank/..", "cannot be"),
            ("tank/./a", "cannot be"),
            ("1tank", "cannot be"),
            ("\"tank/'a'\"", "cannot be"),
            ("'tank/\"a\"'", "cannot be"),
            ("'tank/a;touch /tmp/zrep-x'", "cannot be"),
            ("'tank/$(touch /tmp/zrep-x)'", "cannot be"),
            ("'tank/*'", "cannot be"),
            ("$'tank/a\\nb'", "cannot be"),
            ("$'tank/a\\033[2J'", r"'tank/a\\x1b\[2J' cannot be"),
            ("$'tank/\\377'", "cannot be"),
            ("tank/ä", "cannot be"),
            ("tank/$(printf %300s | tr ' ' x)", "cannot be"),
            ("all tank/a", "'all' stands alone"),
            ("-f all", "-f wants its filesystems named"),
        ],
    )
    def test_no_name_at_all(self, quiet: Lab, name: str, says: str) -> None:
        case = Case(name, f"zrep sync {name}", USAGE, says)
        one_line(quiet.alpha.run(case.command, check=False), case)


class TestUsage:
    """Command lines that make no sense."""

    @pytest.mark.parametrize(
        ("command", "says"),
        [
            ("zrep fly tank/a", "fly"),
            ("zrep sync", "(?i)missing argument"),
            ("zrep sync --fast tank/a", "--fast"),
            ("zrep init tank/plain beta", "(?i)missing argument"),
            ("zrep failover tank/a tank/plain", "unexpected"),
            ("zrep -t", "-t|--tag"),
            ("zrep -t UPPER list", "'UPPER' cannot be a tag"),
            ("zrep -t 'a b' list", "'a b' cannot be a tag"),
            ("zrep -t 'a:b' list", "'a:b' cannot be a tag"),
            ("zrep -t '' list", "cannot be a tag"),
            ("ZREPTAG='$(id)' zrep list", "cannot be a tag"),
            ("zrep sync -q abc tank/a", "abc"),
            ("zrep sync -q -1 tank/a", "-1"),
            ("zrep sync -q tank/a", "tank/a"),
            ("zrep init --savecount 0 tank/plain beta tank/p", "0"),
            ("zrep init --savecount many tank/plain beta tank/p", "many"),
            ("ZREP_SAVE_COUNT=many zrep init tank/plain beta tank/p", "ZREP_SAVE_COUNT.*many"),
            ("ZREP_SAVE_COUNT=0 zrep init tank/plain beta tank/p", "ZREP_SAVE_COUNT"),
            ("ZREP_SEND_FLAGS='-p -R' zrep init tank/plain beta tank/p", "'-R'"),
            ("zrep init --send-flags '-p; id' tank/plain beta tank/p", "'-p;'"),
            ("zrep init tank/plain -oProxyCommand=id tank/p", "DEST_FS"),
            ("zrep init -- tank/plain -oProxyCommand=id tank/p", "cannot be a host"),
            ("zrep init tank/plain 'beta;id' tank/p", "cannot be a host"),
            ("zrep init tank/plain '' tank/p", "cannot be a host"),
            ("zrep init tank/plain 'a b' tank/p", "cannot be a host"),
            ("zrep init --src-host=-x tank/plain beta tank/p", "'-x' cannot be a host"),
            ("ZREP_SRC_HOST='a b' zrep init tank/plain beta tank/p", "cannot be a host"),
            ("zrep init tank/plain beta 'tank/p@x'", "tank/p@x is a snapshot"),
            ("zrep init tank/plain beta ../p", "'../p' cannot be"),
            ("zrep changeconfig tank/a", "nothing to change"),
            ("zrep changeconfig tank/a 'be ta'", "cannot be a host"),
            ("zrep changeconfig tank/a beta 'x@y'", "is a snapshot"),
            ("zrep changeconfig tank/a --savecount x", "x"),
            ("ZREP_STALL=soon zrep sync tank/a", "ZREP_STALL.*soon"),
        ],
    )
    def test_refused(self, quiet: Lab, command: str, says: str) -> None:
        one_line(quiet.alpha.run(command, check=False), Case(command, command, USAGE, says))

    def test_no_arguments_at_all_are_answered_with_help(self, quiet: Lab) -> None:
        done = quiet.alpha.run("zrep", check=False)
        assert done.rc == USAGE
        assert "Usage: zrep" in done.out

    def test_settings_that_are_none(self, quiet: Lab) -> None:
        with put(quiet, Obstacle("alpha", BAD_SETTINGS.put, BAD_SETTINGS.remove)):
            case = Case("", "zrep list", USAGE, "/etc/default/zrep line 1 is not NAME=value.*if true")
            one_line(quiet.alpha.run(case.command, check=False), case)


class TestRoles:
    """The right filesystem on the wrong side, and properties with what zrep never writes."""

    @rows(
        [
            Case("sync", "zrep sync tank/a", REFUSED, "tank/a: .*replica.*alpha", on="beta"),
            Case("failover", "zrep failover tank/a", REFUSED, "tank/a: .*replica.*zrep takeover", on="beta"),
            Case("init, a master", "zrep init tank/a beta tank/b", REFUSED, "tank/a: .*already master.*beta:tank/a"),
            Case("init, a replica", "zrep init tank/a alpha tank/b", REFUSED, "tank/a: .*already replica", on="beta"),
            Case("another tag", "zrep -t other sync tank/a", REFUSED, "tank/a: .*not replicated.*other"),
            Case("a tag of no pair", "zrep -t offsiet sync all", REFUSED, "under the tag offsiet .tags with .*zrep"),
        ]
    )
    def test_wrong_side(self, pair: Lab, case: Case) -> None:
        check(pair, case)

    @pytest.mark.parametrize(
        ("host", "command"),
        [
            ("alpha", "zrep sync tank/a"),
            ("alpha", "zrep takeover tank/a && zrep takeover -L --yes tank/a"),
            ("alpha", "zrep rejoin tank/a"),
            (
                "alpha",
                "zrep unpause tank/a && zrep clear tank/plain && zrep -t other sync --may-be-empty all && "
                "zrep -t other list -H",
            ),
            ("beta", "zrep rejoin tank/a && zrep rejoin -f tank/a"),
            ("beta", "zrep sync all && zrep expire all && zrep -e tank/a"),
        ],
    )
    def test_the_goal_holds_already(self, pair: Lab, host: str, command: str) -> None:
        with unchanged(pair):
            silent(pair[host], command)

    @rows(
        Case(f"{o.put} on {o.host}: {command}", command, REFUSED, f"tank/a: .*{text.replace('=', '.*')}", on, o)
        for text, put_on, undo, on, commands in (
            ("inprogress=garbage", "alpha", "set zrep:inprogress=", "alpha", ("sync tank/a", *MOST, "expire tank/a")),
            ("inprogress=garbage", "beta", "inherit zrep:inprogress", "alpha", MOST),
            ("inprogress=garbage", "beta", "inherit zrep:inprogress", "beta", TAKEOVERS),
            ("epoch=abc", "alpha", "set zrep:epoch=1", "alpha", ("sync tank/a", "failover tank/a")),
            ("epoch=abc", "beta", "set zrep:epoch=1", "beta", TAKEOVERS),
            ("master=maybe", "alpha", "set zrep:master=yes", "alpha", ("sync tank/a", *MOST, "takeover tank/a")),
            ("savecount=lots", "alpha", "set zrep:savecount=5", "alpha", ("sync tank/a", "expire -L tank/a")),
        )
        for o in (says(text, put_on, undo),)
        for command in (f"zrep {words}" for words in commands)
    )
    def test_garbage_in_a_property(self, pair: Lab, case: Case) -> None:
        check(pair, case)

    def test_list_and_status_show_garbage_and_go_on(self, pair: Lab) -> None:
        with put(pair, says("inprogress=garbage", "alpha", "set zrep:inprogress=")):
            assert pair.alpha.run("zrep list -H").out.startswith("tank/a\t")
            done = pair.alpha.run("zrep status", check=False)
            assert (done.rc, done.err) == (REFUSED, "")
            assert "garbage" in done.out


class TestInit:
    """init checks everything before it changes anything."""

    TO = "zrep init tank/plain beta"

    @rows(
        [
            Case("existing target", f"{TO} tank/other", REFUSED, "tank/plain: tank/other already exists on beta"),
            Case("target is a replica", f"{TO} tank/a", REFUSED, "tank/plain: tank/a already exists on beta"),
            Case("no such pool", f"{TO} nopool/x", REFUSED, "tank/plain: there is no pool nopool on beta"),
            Case("no such pool, whole", f"{TO} nopool", REFUSED, "tank/plain: there is no pool nopool on beta"),
            Case("a whole pool", f"{TO} tank", REFUSED, "tank/plain: tank already exists on beta"),
            Case("full pool", f"{TO} small/p", FAILED, "tank/plain: not enough room on beta .*small"),
            Case("full pool, no parent", f"{TO} small/p/q", FAILED, "not enough room on beta .*small"),
            Case("below a volume", f"{TO} tank/vol/p", REFUSED, "tank/plain: .*tank/vol.*volume", obstacle=VOLUME),
            Case(
                "without the key",
                "zrep init --send-flags -p tank/locked beta tank/p",
                REFUSED,
                "tank/locked: its key is not loaded.*zfs load-key",
            ),
        ]
    )
    def test_what_zfs_has_here_and_there(self, pair: Lab, case: Case) -> None:
        check(pair, case)

    @rows(
        [
            Case("itself", "zrep init tank/plain localhost tank/plain", USAGE, "tank/plain: .*same filesystem"),
            Case("in it", "zrep init tank/plain localhost tank/plain/copy", USAGE, "tank/plain: .*within"),
            Case("around it", "zrep init tank/plain/kid localhost tank/plain", USAGE, "tank/plain/kid: .*within"),
            Case("by its own name", "zrep init tank/plain alpha tank/plain/x", USAGE, "alpha is this host"),
            Case("by ssh", "zrep init tank/plain alpha-2222 tank/plain", USAGE, "alpha-2222 is this host"),
        ]
    )
    def test_a_target_within_the_source(self, pair: Lab, case: Case) -> None:
        check(pair, case)

    @rows(
        [
            Case("unknown host", "zrep init tank/plain nowhere tank/p", UNREACHABLE, "cannot reach nowhere.*resolve"),
            Case(
                "named back wrongly",
                "zrep init --src-host nowhere tank/plain beta tank/p",
                REFUSED,
                "tank/plain: beta cannot dial back .*nowhere.*--src-host",
            ),
            Case(
                "named back as another", "zrep init --src-host beta tank/plain beta tank/p", REFUSED, "another machine"
            ),
            Case(
                "host key",
                f"{TO} tank/p",
                REFUSED,
                "beta cannot dial back.*alpha.*verification",
                obstacle=moved("beta", "/root/.ssh/known_hosts"),
            ),
            Case(
                "not let in",
                f"{TO} tank/p",
                REFUSED,
                "beta cannot dial back.*denied",
                obstacle=moved("alpha", "/root/.ssh/authorized_keys"),
            ),
            Case(
                "no zrep here",
                f"ZREP_PATH={ZREP} /opt/zrep/bin/{TO} tank/p",
                REFUSED,
                "beta cannot dial back.*not found",
                obstacle=moved("alpha", ZREP),
            ),
            Case("another version", f"{TO} tank/p", REFUSED, "beta.*another version.*3.9.9", obstacle=OTHER_VERSION),
            Case(
                "no ZFS there", f"{TO} tank/p", REFUSED, "beta.*zfs|zfs.*beta", obstacle=moved("beta", "/usr/sbin/zfs")
            ),
        ]
    )
    def test_the_way_there_and_back(self, pair: Lab, case: Case) -> None:
        check(pair, case)


class TestPeer:
    """A peer that cannot be reached, or is not what it should be."""

    ASK = ("sync tank/a", "sync all", "failover tank/a", "expire tank/a", "clear tank/a", "init tank/plain beta tank/p")

    @rows(
        Case(f"zrep {c}", f"zrep {c}", UNREACHABLE, "cannot reach beta.*refused", obstacle=unreachable("beta"))
        for c in ASK
    )
    def test_connection_refused(self, pair: Lab, case: Case) -> None:
        check(pair, case)

    @rows(
        [
            Case(
                "takeover",
                "zrep takeover tank/a",
                UNREACHABLE,
                "tank/a: cannot reach alpha.*refused.*ssh alpha true",
                on="beta",
                obstacle=unreachable("alpha"),
            ),
            Case(
                "host key not accepted",
                "zrep sync tank/a",
                UNREACHABLE,
                "tank/a: cannot reach beta.*verification",
                obstacle=moved("alpha", "/root/.ssh/known_hosts"),
            ),
            Case(
                "not let in",
                "zrep sync tank/a",
                UNREACHABLE,
                "tank/a: cannot reach beta.*denied",
                obstacle=moved("beta", "/root/.ssh/authorized_keys"),
            ),
            Case("SSH is no program", "SSH=/none/ssh zrep sync tank/a", REFUSED, "tank/a: .*/none/ssh"),
            Case(
                "no zrep there",
                "zrep sync tank/a",
                REFUSED,
                "tank/a: zrep was not found on beta.*install",
                obstacle=moved("beta", ZREP),
            ),
            Case(
                "ZREP_PATH", "ZREP_PATH=/none/zrep zrep sync tank/a", REFUSED, "zrep was not found on beta.*/none/zrep"
            ),
            Case("another zrep", "zrep sync all", REFUSED, "beta is not this program", obstacle=OTHER_ZREP),
            Case("another zrep, init", "zrep init tank/plain beta tank/p", REFUSED, "not this", obstacle=OTHER_ZREP),
            Case("echo for zrep", "ZREP_PATH=/bin/echo zrep sync tank/a", REFUSED, "beta is not this program"),
            Case("its settings", "zrep sync all", REFUSED, "beta.*/etc/default/zrep line 1", obstacle=BAD_SETTINGS),
            Case("its locks", "zrep sync tank/a", REFUSED, "/var/run/zrep/.* on beta", obstacle=read_only("beta")),
        ]
    )
    def test_the_way(self, pair: Lab, case: Case) -> None:
        check(pair, case)

    @rows(
        [
            Case(
                "gone",
                "zrep sync tank/a",
                REFUSED,
                "tank/a on beta was renamed.*changeconfig tank/a beta tank/moved",
                obstacle=RENAMED,
            ),
            Case("gone, takeover", "zrep takeover tank/a", REFUSED, "tank/a: no such", on="beta", obstacle=RENAMED),
            Case("changed, sync", "zrep sync all", REFUSED, "tank/a: .*by hand.*there.*sync -f", obstacle=BY_HAND),
            Case("changed, failover", "zrep failover tank/a", REFUSED, "tank/a: .*by hand", obstacle=BY_HAND),
        ]
    )
    def test_the_replica(self, pair: Lab, case: Case) -> None:
        check(pair, case)

    def test_a_cut_wire_costs_one_bounded_attempt(self, pair: Lab) -> None:
        pair.cut(pair.beta)
        try:
            start = time.monotonic()
            check(pair, Case("cut", "zrep sync all", UNREACHABLE, "cannot reach beta"))
            assert time.monotonic() - start < 60
        finally:
            pair.heal()

    def test_status_of_an_unreachable_peer(self, pair: Lab) -> None:
        with put(pair, unreachable("beta")), unchanged(pair):
            done = pair.alpha.run("zrep status -H", check=False)
            assert (done.rc, done.err) == (UNREACHABLE, "")
            assert "\tpeer unknown\t" in done.out
            silent(pair.alpha, "zrep list -H > /dev/null")

    def test_busy(self, pair: Lab) -> None:
        silent(pair.alpha, "zrep sync tank/a")  # or nobody would know when it was
        holder = pair.beta.popen("mkdir -p /run/zrep; exec 9>> '/run/zrep/tank%a.lock'; flock 9; echo locked; read x")
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        try:
            check(pair, Case("busy", "zrep sync tank/a", BUSY, "tank/a: busy", advises=False))
            with unchanged(pair):
                silent(pair.alpha, "zrep sync all")
        finally:
            holder.communicate("\n")


class TestRights:
    """Users and places where zrep may not write."""

    @rows(
        [
            Case("sync", "zrep sync tank/a", REFUSED, "tank/a: .*/var/run/zrep.*ZREP_RUNDIR"),
            Case("init", "zrep init tank/plain beta tank/p", REFUSED, "tank/plain: .*/var/run/zrep"),
            Case("a user", "su operator -c 'zrep sync tank/a'", REFUSED, "tank/a: .*/var/run/zrep"),
        ]
    )
    def test_no_place_for_locks(self, pair: Lab, case: Case) -> None:
        with put(pair, read_only("alpha")):
            check(pair, case)

    @rows(
        Case(c, f"su operator -c 'ZREP_RUNDIR=/tmp/operator zrep {c}'", REFUSED, "tank/a: .*ermission denied")
        for c in ("pause tank/a", "changeconfig --savecount 9 tank/a", "clear -L tank/a", "sync tank/a")
    )
    def test_no_rights(self, pair: Lab, case: Case) -> None:
        pair.alpha.run("echo new > /tank/a/file; zpool sync")
        check(pair, case)

    def test_looking_needs_no_rights(self, pair: Lab) -> None:
        with put(pair, read_only("alpha")), unchanged(pair):
            for command in ("list", "list --snapshots", "list -v", "status"):
                assert "tank/a" in pair.alpha.run(f"su operator -c 'zrep {command}'").out
        assert on_all(pair, "ls -d /tmp/zrep*") == [[], []]
