"""zrep where people run it: from cron, behind other shells and noisy logins, under other names and settings, twice on
one filesystem, on one host alone."""

from dataclasses import dataclass

import pytest

from tests.lab.hosts import Host, Lab
from tests.lab.zrep_on import alone, content, in_step, local, made, silent, snapshots

Hosts = tuple[Host, Host]

NOISE = r"""
echo 'Welcome to this host, {"greeting": "hello"}'
echo 'last login: yesterday' >&2
head -c 3000 /dev/urandom
printf 'no line break at the end'
"""
NOISY = f"""for file in .bashrc .profile .cshrc .config/fish/config.fish; do
    mkdir -p /root/.config/fish; cat > /root/$file <<'N'
{NOISE}
N
done"""


@dataclass(frozen=True)
class Setting:
    """How sync is called, after what was done to the hosts."""

    name: str
    command: str = "zrep sync all"
    alpha: str = ""
    beta: str = ""


CRON = "env -i PATH=/usr/bin:/bin HOME=/root SHELL=/bin/sh LOGNAME=root /usr/local/bin/zrep sync all"
SETTINGS = (
    Setting("cron", CRON),
    Setting("nothing at all in the environment", "env -i /usr/local/bin/zrep sync all"),
    Setting("a language that is not there", "LC_ALL=tr_TR.UTF-8 LANG=de_DE LANGUAGE=de zrep sync all"),
    Setting("latin-1 and no utf-8", "LC_ALL=C PYTHONCOERCECLOCALE=0 PYTHONUTF8=0 zrep sync all"),
    Setting("noise of bash", CRON, beta=NOISY),
    Setting("tcsh", CRON, beta="chsh -s /bin/tcsh root"),
    Setting("noise of tcsh", beta=f"chsh -s /bin/tcsh root; {NOISY}"),
    Setting("fish", CRON, beta="chsh -s /usr/bin/fish root"),
    Setting("noise of fish", beta=f"chsh -s /usr/bin/fish root; {NOISY}"),
    Setting("dash", beta="chsh -s /bin/sh root"),
    Setting("ZREP_PATH", "ZREP_PATH=/opt/zrep/bin/zrep /opt/zrep/bin/zrep sync all", beta="rm /usr/local/bin/zrep"),
    Setting("SSH with arguments", "SSH='ssh -F /root/.ssh/mine' zrep sync all",
            alpha="printf 'Host beta\n HostName beta6\n Port 2222\n' > /root/.ssh/mine"),
    Setting("SSH of the settings file", alpha="""printf '#!/bin/sh\nexec ssh "$@"\n' > /root/my-ssh
            chmod +x /root/my-ssh; echo 'SSH="/root/my-ssh"' > /etc/default/zrep"""),
    Setting("ZREP_RUNDIR", "ZREP_RUNDIR=/root/run zrep sync all",
            alpha="mkdir -p /run/zrep; mount -t tmpfs -o ro none /run/zrep"),
    Setting("settings that are no commands",
            alpha="echo 'ZREP_OTHER=$(touch /tmp/executed)`touch /tmp/executed`' > /etc/default/zrep"),
    Setting("-S", "zrep -S all"),
    Setting("-q", "zrep sync -q 60 tank/a"),
)  # fmt: skip


@pytest.fixture(scope="class")
def pair(lab: Lab) -> Lab:
    lab.reset()
    made(lab.alpha, "tank/a")
    lab.alpha.run("zrep init tank/a beta tank/a")
    return lab


class TestSync:
    """Each row: something is written, sync runs silently, and the replica has it."""

    @pytest.mark.parametrize("setting", [pytest.param(s, id=s.name) for s in SETTINGS])
    def test_sync(self, pair: Lab, setting: Setting) -> None:
        alpha, beta = pair
        alpha.run(f"echo {setting.name!r} > /tank/a/file")
        try:
            alpha.run(setting.alpha or "true")
            beta.run(setting.beta or "true")
            silent(alpha, setting.command)
        finally:
            for host in pair:
                host.run("umount -q /run/zrep; /lab/pristine restore $(hostname)", check=False)
        assert in_step(alpha, "tank/a", beta, "tank/a")
        assert content(beta, "tank/a") == setting.name
        assert alpha.run("ls /tmp/executed", check=False).rc != 0


class TestRoleChanges:
    """Streams in both directions through a login shell that talks."""

    # That of bash talks in TestSync, and in every test of the root that is not told to.
    @pytest.mark.parametrize("shell", ["/bin/tcsh", "/usr/bin/fish"])
    def test_there_and_back_from_one_host(self, hosts: Hosts, shell: str) -> None:
        alpha, beta = hosts
        made(alpha, "tank/a b")
        beta.run(f"chsh -s {shell} root; {NOISY}")
        alpha.run("zrep init 'tank/a b' beta 'tank/a b'; echo second > '/tank/a b/file'")
        silent(alpha, "zrep failover 'tank/a b'")
        beta.run("echo third > '/tank/a b/file'")
        silent(alpha, "zrep takeover 'tank/a b'")  # the stream comes from beta
        assert alpha.run("cat '/tank/a b/file'").out == "third\n"
        alpha.run("echo fourth > '/tank/a b/file'")

    def test_what_failed_is_told_through_the_noise(self, hosts: Hosts) -> None:
        alpha, beta = hosts
        made(alpha, "tank/a")
        alpha.run("zrep init tank/a beta small/a")
        beta.run(NOISY)
        alpha.run("head -c 60M /dev/urandom > /tank/a/big")
        done = alpha.run("zrep sync tank/a", check=False)
        assert done.rc == 1
        assert "out of space" in done.err
        assert len(done.err.splitlines()) == 1
        beta.run(r"printf '#!/bin/sh\nexit 1\n' > /usr/local/bin/zrep")
        done = alpha.run("zrep sync tank/a", check=False)
        assert (done.rc, len(done.err.splitlines())) == (3, 1)
        assert "not this program" in done.err


class TestNames:
    """ssh's own names for a host, and the name for the way back."""

    @pytest.mark.parametrize(
        ("host", "back"),
        [
            ("beta-alias", "alpha-alias"),
            ("root@beta-2222", "root@alpha-2222"),
            ("beta6", "alpha6"),
            ("10.79.0.2", "fd00:79::1"),
        ],
    )
    def test_there_and_back(self, hosts: Hosts, host: str, back: str) -> None:
        alpha, beta = hosts
        made(alpha, "tank/a")
        alpha.run(f"ZREP_SRC_HOST={back} zrep init tank/a {host} tank/b")
        assert local(beta, "tank/b", "zrep:src-host") == back
        alpha.run("echo second > /tank/a/file")
        silent(beta, "zrep takeover tank/b")
        beta.run("echo third > /tank/b/file")
        silent(beta, "zrep sync all")
        silent(alpha, "zrep status > /dev/null")
        assert content(alpha, "tank/a") == "third"
        assert (local(beta, "tank/b", "zrep:src-host"), local(alpha, "tank/a", "zrep:dest-host")) == (host, back)


class TestSettings:
    def test_what_init_settles(self, hosts: Hosts) -> None:
        alpha, beta = hosts
        made(alpha, "tank/a")
        alpha.run(
            "printf '# ours\\n\\nexport ZREP_SAVE_COUNT=2\\nZREP_SEND_FLAGS=\"-p -e\"\\nZREP_SRC_HOST=alpha6\\n'"
            " > /etc/default/zrep"
        )
        silent(alpha, "ZREP_SRC_HOST=alpha-alias zrep -i tank/a beta tank/a")
        for host in hosts:
            assert local(host, "tank/a", "zrep:savecount") == "2"
            assert local(host, "tank/a", "zrep:flags") == "-p -e"
            assert local(host, "tank/a", "zrep:src-host") == "alpha-alias"
        alpha.run("rm /etc/default/zrep")
        for number in range(4):
            alpha.run(f"echo {number} > /tank/a/file")
            silent(alpha, "zrep -S tank/a")
        assert snapshots(alpha, "tank/a") == snapshots(beta, "tank/a") == ["zrep_000004", "zrep_000005"]

    @pytest.mark.thorough
    def test_short_forms(self, hosts: Hosts) -> None:
        alpha, beta = hosts
        made(alpha, "tank/a")
        silent(alpha, "zrep -i tank/a beta tank/a")
        assert alpha.run("zrep -l -H").out.startswith("tank/a\tmaster\tbeta:tank/a\tok\t")
        assert alpha.run("zrep -s -H").out.startswith("tank/a\tmaster\tbeta:tank/a\tok\t")
        assert alpha.run("zrep -l -L -H").out == alpha.run("zrep list -L -H").out
        assert beta.run("zrep -l -L -H").out == ""
        silent(alpha, "zrep -C tank/a beta-alias tank/a --savecount 7")
        assert local(alpha, "tank/a", "zrep:dest-host") == "beta-alias"
        assert local(alpha, "tank/a", "zrep:savecount") == "7"
        silent(alpha, "zrep -e tank/a; zrep -e; zrep -S all")
        silent(alpha, "zrep clear tank/a")

    def test_words_and_settings_of_the_shell_zrep(self, hosts: Hosts) -> None:
        alpha, beta = hosts
        made(alpha, "tank/a")
        silent(alpha, "zrep init tank/a beta tank/a")
        alpha.run("echo second > /tank/a/file")
        silent(alpha, "zrep snaponly tank/a")
        assert content(beta, "tank/a") == "first"
        silent(alpha, "zrep synconly tank/a")
        assert content(beta, "tank/a") == "second"
        for word in ("lastsent", "getlastsent"):
            assert alpha.run(f"zrep {word} tank/a").out == "tank/a@zrep_000002\n"
        silent(alpha, "zrep uptodate tank/a")
        alpha.run("echo third > /tank/a/file; zpool sync")
        assert alpha.run("zrep uptodate tank/a", check=False).rc == 1
        silent(alpha, "zrep snaponly tank/a && zrep sentsync -L tank/a@zrep_000003")
        assert content(beta, "tank/a") == "third"
        silent(alpha, "zrep changeconfig -d tank/a beta-alias tank/a")
        assert local(alpha, "tank/a", "zrep:dest-host") == "beta-alias"
        for setting in ("ZREP_R=-R", "ZREP_RESUME=1", "ZREP_INC_FLAG=-i", "ZREP_INC_FLAG=-I"):
            alpha.run(f"echo {setting} > /tank/a/file")
            silent(alpha, f"{setting} zrep sync tank/a")
            assert content(beta, "tank/a") == setting
        alpha.run("echo fetched > /tank/a/file")
        silent(beta, "zrep refresh tank/a")
        assert content(beta, "tank/a") == "fetched"

    def test_two_tags_are_two_pairs(self, hosts: Hosts) -> None:
        alpha, beta = hosts
        made(alpha, "tank/a")
        silent(alpha, "zrep init tank/a beta tank/one")
        silent(alpha, "ZREPTAG=second zrep init tank/a beta small/two")
        alpha.run("echo both > /tank/a/file")
        silent(alpha, "zrep sync all && zrep -t second -S all")
        assert content(beta, "tank/one") == content(beta, "small/two") == "both"
        listed = sorted(line.split("\t")[2] for line in alpha.run("zrep list -H").lines)
        assert listed == ["beta:small/two", "beta:tank/one"]
        assert sorted(line.split("\t")[2] for line in alpha.run("zrep status -H").lines) == listed
        assert alpha.run("zrep -t second list -H").out.split("\t")[2] == "beta:small/two"
        silent(alpha, "zrep -t second clear tank/a")
        assert "second:" not in alpha.run("zfs get -H all tank/a; zfs list -H -t all").out
        assert "second" not in beta.run("zfs get -H -s local,received all small/two; zfs list -H -t all").out
        alpha.run("echo one > /tank/a/file")
        silent(alpha, "zrep sync all")
        assert content(beta, "tank/one") == "one"


@pytest.mark.thorough
class TestOpposite:
    """Two filesystems between two hosts, one in each direction."""

    def test_each_goes_its_own_way(self, hosts: Hosts) -> None:
        alpha, beta = hosts
        made(alpha, "tank/a")
        made(beta, "tank/b")
        silent(alpha, "zrep init tank/a beta tank/a")
        silent(beta, "zrep init tank/b alpha tank/b")
        pairs_of_b = "zfs get -Hp -o property,value,source all tank/b | grep -e zrep: -e readonly"

        def replicates(text: str, master: Host, replica: Host) -> None:
            """Cron of both hosts brings what was written to tank/a on its master, and to tank/b on beta."""
            master.run(f"echo {text} > /tank/a/file")
            beta.run(f"echo {text} > /tank/b/file")
            for host in hosts:
                silent(host, "zrep sync all")
            assert [content(replica, "tank/a"), content(alpha, "tank/b")] == [text, text]
            assert [in_step(alpha, name, beta, name) for name in ("tank/a", "tank/b")] == [True, True]

        replicates("before", alpha, beta)
        before = [host.run(pairs_of_b).out for host in hosts]
        silent(alpha, "zrep failover tank/a")
        assert [host.run(pairs_of_b).out for host in hosts] == before
        replicates("after", beta, alpha)
        silent(beta, "zrep failover tank/a")
        replicates("again", alpha, beta)


@pytest.mark.thorough
class TestOneHost:
    """Both halves on one host, without ssh."""

    def test_the_whole_life(self, hosts: Hosts) -> None:
        alpha, _ = hosts
        alpha.run("rm -r /root/.ssh")
        made(alpha, "tank/a")
        silent(alpha, "zrep init tank/a localhost small/b")
        alpha.run("echo second > /tank/a/file")
        silent(alpha, "zrep sync all")
        assert content(alpha, "small/b") == "second"
        silent(alpha, "zrep failover tank/a")
        alpha.run("echo third > /small/b/file && ! touch /tank/a/file")
        silent(alpha, "zrep sync all")
        assert content(alpha, "tank/a") == "third"
        silent(alpha, "zrep takeover tank/a")
        alpha.run("echo fourth > /tank/a/file")
        silent(alpha, "zrep sync tank/a && zrep expire all && zrep status > /dev/null")
        alpha.run("echo lost > /tank/a/file")
        alone(alpha, "small/b")
        alpha.run("grep fourth /small/b/file")
        done = alpha.run("zrep sync tank/a", check=False)
        assert done.rc == 3
        assert "zrep rejoin tank/a" in done.err
        silent(alpha, "zrep rejoin tank/a")
        silent(alpha, "zrep sync all")
        assert in_step(alpha, "tank/a", alpha, "small/b")
        alpha.run("zfs list -H -o name -r tank | grep _split_ | xargs zfs destroy -r")
        silent(alpha, "zrep clear small/b")
        assert "zrep" not in alpha.run("zfs get -H -o name,property all; zfs list -H -t snapshot -o name").out
