"""Trees on real OpenZFS: everything below a filesystem as one pair."""

from __future__ import annotations

import re

import pytest

from tests.bench import others
from tests.lab.hosts import Host, Lab
from tests.lab.test_neighbours import DEVICE
from tests.lab.zrep_on import FAILED, REFUSED, UNREACHABLE, Case, alone, check, content, made, silent
from tests.waiting import wait_for
from zrep.core.names import FOLLOWED

Hosts = tuple[Host, Host]

MEMBERS = ("tank/t", "tank/t/x", "tank/t/x/deep")
CRON = "zrep sync all"
KEY = "-o encryption=on -o keyformat=passphrase -o keylocation=file:///root/key"


# Another value than the one by default, of all that follows.
SET = {
    "aclinherit": "passthrough",
    "aclmode": "passthrough",
    "acltype": "posix",
    "atime": "off",
    "checksum": "sha256",
    "compression": "gzip-3",
    "copies": "2",
    "dedup": "on",
    "devices": "off",
    "dnodesize": "auto",
    "exec": "off",
    "logbias": "throughput",
    "nbmand": "on",
    "overlay": "off",
    "primarycache": "metadata",
    "quota": "200M",
    "recordsize": "16K",
    "redundant_metadata": "most",
    "refquota": "150M",
    "refreservation": "2M",
    "relatime": "off",
    "reservation": "3M",
    "secondarycache": "none",
    "setuid": "off",
    "snapdev": "visible",
    "snapdir": "visible",
    "special_small_blocks": "0",
    "sync": "disabled",
    "volmode": "none",
    "vscan": "on",
    "xattr": "sa",
}
LIMITS = {"quota", "refquota", "reservation", "refreservation"}


def own(host: Host, name: str) -> dict[str, str]:
    """What is set there itself, of what follows."""
    out = host.run(f"zfs get -Hp -s local,received -o property,value {','.join(FOLLOWED)} {name}").out
    return dict(line.split("\t") for line in out.splitlines())


# The checksums of the files of a filesystem, without those of others mounted in it.
FILES = "find . -xdev -type f | sort | xargs -r sha256sum"


def names(host: Host, root: str = "tank/t") -> list[str]:
    return host.run(f"zfs list -H -r -t filesystem,volume -o name {root}").out.split()


def sums(host: Host, members: str = "$(zfs list -H -r -t filesystem -o name tank/t)") -> str:
    """The checksums of all files, read through the newest snapshot of each member."""
    script = (
        f"for fs in {members}; do "
        'snap=$(zfs list -H -o name -t snapshot -d 1 -s createtxg "$fs" | tail -n 1); mkdir -p /mnt/look; '
        f'mount -t zfs "$snap" /mnt/look && (cd /mnt/look && echo "$fs" && {FILES}); umount /mnt/look; done'
    )
    return host.run(script, timeout=120).out


class TestTree:
    """The life of one tree, each test going on where the one before has ended."""

    def test_its_life(self, hosts: Hosts) -> None:
        alpha, beta = hosts
        for name in MEMBERS:
            alpha.run(f"zfs create {name} && head -c 300000 /dev/urandom > /{name}/file")
        alpha.run("zfs create -V 16M tank/t/vol")
        for host in hosts:
            host.run("echo 12345678 > /root/key; sync")
        alpha.run(f"zfs create {KEY} tank/t/secret && echo secret > /tank/t/secret/file")
        alpha.run("zpool sync")
        silent(alpha, "zrep init -r tank/t beta tank/t")
        assert names(beta) == names(alpha)
        assert beta.run("zfs get -H -r -o value readonly -t filesystem,volume tank/t").out.split() == ["on"] * 5
        assert beta.run("zfs get -H -r -o value mounted -t filesystem tank/t").out.split() == ["no"] * 4

        # A rename, a swap, one that is new, one that is gone.
        alpha.run("zfs rename tank/t/x tank/t/y; zfs create tank/t/x; echo new > /tank/t/x/file")
        alpha.run("zfs release zrep $(zfs list -H -o name -t snapshot -d 1 tank/t/vol) && zfs destroy -r tank/t/vol")
        alpha.run("echo more > /tank/t/y/deep/more; zpool sync")
        silent(alpha, CRON)
        assert [name for name in names(beta) if name != "tank/t/vol"] == names(alpha)
        assert beta.run("zfs get -H -o value zrep:gone tank/t/vol").out.strip().isdigit()
        beta.run("zfs load-key -L file:///root/key tank/t/secret")
        assert sums(beta) == sums(alpha)
        silent(alpha, CRON)
        [row] = alpha.run("zrep status -H").out.splitlines()
        assert row.split("\t")[3] == "ok"

        # What is set on the master follows, quotas of users and groups with their stream; the replica keeps its own.
        alpha.run(f"zfs set {' '.join(f'{name}={value}' for name, value in SET.items())} tank/t/y")
        alpha.run("zfs set userquota@1234=5M groupquota@77=7M tank/t/y; echo more > /tank/t/y/quotas; zpool sync")
        beta.run("zfs set compression=zstd tank/t/y/deep")
        silent(alpha, CRON)
        assert own(beta, "tank/t/y") == own(alpha, "tank/t/y")
        assert own(alpha, "tank/t/y").keys() >= SET.keys()
        assert beta.run("zfs get -H -o value userquota@1234,groupquota@77 tank/t/y").out.split() == ["5M", "7M"]
        assert own(beta, "tank/t/y/deep")["compression"] == "zstd"
        assert "tank/t/y/deep: set on beta" in alpha.run("zrep status").out
        alpha.run("".join(f"zfs inherit {name} tank/t/y; " for name in SET if name not in LIMITS))
        alpha.run("zfs set quota=none refquota=none reservation=none refreservation=none tank/t/y")
        alpha.run("echo even more > /tank/t/y/quotas; zpool sync")
        silent(alpha, CRON)
        assert own(beta, "tank/t/y").keys() - LIMITS == own(alpha, "tank/t/y").keys() - LIMITS
        assert beta.run(f"zfs get -H -o value {','.join(LIMITS)} tank/t/y").out.split() == ["none"] * 4
        beta.run("zfs inherit compression tank/t/y/deep")

        # The role moves for all of them, and back.
        silent(alpha, "zrep failover tank/t")
        assert beta.run("cat /tank/t/y/deep/more /tank/t/x/file").out == "more\nnew\n"
        beta.run("echo beta > /tank/t/y/on-beta; zpool sync")
        silent(beta, CRON)
        silent(alpha, "zrep takeover tank/t")
        assert alpha.run("cat /tank/t/y/on-beta").out == "beta\n"

    def test_what_is_written_to_two_members_is_of_one_moment(self, hosts: Hosts) -> None:
        alpha, beta = hosts
        for name in MEMBERS:
            alpha.run(f"zfs create {name}")
        silent(alpha, "zrep init -r tank/t beta tank/t")
        for name in MEMBERS[1:]:
            alpha.run(f"echo 1 > /{name}/file")
        alpha.run("zpool sync")
        silent(alpha, CRON)
        newest = [
            beta.run(f"zfs list -H -o name -t snapshot -d 1 -s createtxg {name} | tail -n 1").out.strip()
            for name in MEMBERS
        ]
        stems = [name.partition("@")[2] for name in newest]
        assert stems[1] == stems[2] == beta.run("zfs get -H -o value zrep:set tank/t").out.strip()
        assert stems[0] != stems[1]

        # The master is lost; the old one comes back, unwritten.
        alpha.power_off()
        alone(beta, "tank/t", "--yes")
        assert beta.run("cat /tank/t/x/file").out == "1\n"
        beta.run("echo alone > /tank/t/x/alone; zpool sync")
        alpha.boot()
        silent(alpha, "zrep rejoin tank/t")
        silent(beta, CRON)
        assert sums(beta) == sums(alpha)

    def test_what_members_wrote_alone_is_in_one_copy_and_nothing_is_sent_again(self, hosts: Hosts) -> None:
        alpha, beta = hosts
        for host in hosts:
            host.run("echo 12345678 > /root/key; sync")
        filesystems = (*MEMBERS, "tank/t/x/mid", "tank/t/x/mid/low")
        for name in filesystems:
            alpha.run(f"zfs create {name} && head -c 300000 /dev/urandom > /{name}/file")
        alpha.run(
            "zfs create -V 16M tank/t/vol; zfs set quota=500M org:note=mine tank/t/x; zfs allow -u daemon hold tank/t/x"
        )
        alpha.run(f"zfs create {KEY} tank/t/secret && zfs create tank/t/secret/in && echo 1 > /tank/t/secret/in/file")
        alpha.run("zfs create -o zrep:exclude=on -o readonly=off -o mountpoint=/srv/tmp tank/t/x/tmp; zpool sync")
        silent(alpha, "zrep init -r tank/t beta tank/t")

        # alpha goes on alone in some, one of them new, while beta is promoted.
        for name in ("tank/t/x", "tank/t/x/mid/low", "tank/t/secret/in"):
            alpha.run(f"echo {name} > /{name}/alone")
        alpha.run(f"{DEVICE}; echo alone | dd of=$(ls /dev/zd* | head -n 1) conv=fsync 2> /dev/null")
        alpha.run("zfs create tank/t/x/new; echo new > /tank/t/x/new/alone; zpool sync")
        beta.run("zfs load-key -L file:///root/key tank/t/secret")
        alone(beta, "tank/t")
        beta.run("echo beta > /tank/t/x/on-beta; echo beta > /tank/t/secret/in/on-beta; zpool sync")
        tail = [alpha.run(f"cd /tank/t/{name} && {FILES}").out for name in ("secret/in", "x", "x/mid/low", "x/new")]

        # What is left out of the tree would be unmounted with it: not under somebody.
        user = alpha.popen("cd /srv/tmp && echo ready && exec sleep 1000")
        assert user.stdout is not None
        assert user.stdout.readline() == "ready\n"
        refused = alpha.run("zrep rejoin tank/t", check=False, timeout=120)
        assert (refused.rc, "tank/t/x/tmp: it is in use (sleep" in refused.err) == (3, True), refused
        alpha.run("pkill -x sleep")
        user.wait(30)
        said = alpha.run("zrep rejoin -v tank/t", timeout=120).out
        assert alpha.run("grep -c ' /srv/tmp ' /proc/mounts").out == "1\n"
        copy = alpha.run("zfs get -H -r -s local -t filesystem -o name zrep:split tank").out.strip()
        left = ("secret", "secret/in", "vol", "x", "x/mid/low", "x/new")
        assert f"stay in {copy}: {', '.join(f'tank/t/{name}' for name in left)}\n" in said
        assert alpha.run("zfs list -H -o name -r tank/t").out.split() == [
            "tank/t",
            *(
                f"tank/t/{name}"
                for name in ("secret", "secret/in", "vol", "x", "x/deep", "x/mid", "x/mid/low", "x/tmp")
            ),
        ]
        assert alpha.run("zfs get -H -o value quota,org:note tank/t/x").out.split() == ["500M", "mine"]
        assert "daemon hold" in alpha.run("zfs allow tank/t/x").out
        before = alpha.run("zfs list -H -r -o name,guid tank/t").out
        silent(beta, CRON)
        assert alpha.run("zfs list -H -r -o name,guid tank/t").out == before
        beta.run("zfs load-key -a", check=False)
        alpha.run("zfs load-key -a", check=False)
        both = " ".join((*filesystems, "tank/t/secret/in"))
        assert sums(alpha, both) == sums(beta, both)
        kept = (sums(alpha, f"{copy}/{name}").partition("\n")[2] for name in ("secret/in", "x", "x/mid/low", "x/new"))
        assert list(kept) == tail
        alpha.run(f"zfs list {copy}/vol")
        [row] = [line for line in alpha.run("zrep status -H").lines if line.startswith("tank/t\t")]
        assert row.split("\t")[3] == "ok"

    def test_what_is_left_out_and_what_is_set_aside(self, hosts: Hosts) -> None:
        """And another name on the other side, and a rehearsal of the whole."""
        alpha, beta = hosts
        here, there = "tank/slow/h/data", "tank/all/h/data"
        for name in ("tank/slow", "tank/slow/h", here, f"{here}/db", f"{here}/db/log", f"{here}/cache", f"{here}/tmp"):
            alpha.run(f"zfs create {name} && head -c 100000 /dev/urandom > /{name}/file")
        alpha.run("zpool sync")
        silent(alpha, f"zrep init -r --exclude 'tm*' --strip tank/slow {here} beta tank/all")
        members = [there, f"{there}/cache", f"{there}/db", f"{there}/db/log"]
        assert names(beta, "tank/all") == ["tank/all", "tank/all/h", *members]
        parents = beta.run("zfs get -H -o value mounted,canmount,sharenfs tank/all tank/all/h").out.split()
        assert parents == ["no", "off", "off"] * 2
        alpha.run("zfs create -p tank/h/data")
        taken = alpha.run("zrep init -r --strip tank tank/h/data beta tank/all", check=False)
        assert (taken.rc, f"{there} already exists on beta" in taken.err) == (REFUSED, True), taken
        assert alpha.run("zfs list -H -r -t snapshot tank/h").out == ""

        # Out and in again: it is the same, and gets what was written meanwhile.
        before = beta.run(f"zfs list -H -r -o name,guid {there}").out
        silent(alpha, f"zrep changeconfig --exclude {here}/cache")
        alpha.run(f"echo later > /{here}/cache/later; zpool sync")
        silent(alpha, CRON)
        gone = beta.run(f"zfs get -H -r -s local -o name zrep:gone {there}")
        assert gone.lines == [f"{there}/cache"]
        silent(alpha, f"zrep changeconfig --include {here}/cache")
        silent(alpha, CRON)
        assert beta.run(f"zfs list -H -r -o name,guid {there}").out == before

        # A clone of all of it, and nothing of that is left.
        look = "find . -type f | sort | xargs sha256sum"
        rehearsed = beta.run(f"zrep rehearse {there} -- sh -c 'cd $ZREP_DIR && {look}'").out
        files = alpha.run(f"cd /{here} && {look.replace('-type f', '-type f -not -path ./tmp/file')}").lines
        assert [line for line in rehearsed.splitlines() if "  ./" in line] == files
        assert len(files) == 5
        assert names(beta, "tank/all") == ["tank/all", "tank/all/h", *members]

        # It was the master's, mounted, and its source is gone: unmounted, kept, and removed when that is asked for.
        silent(alpha, f"zrep failover {here}")
        assert alpha.run(f"zfs get -H -o value readonly,mounted {here}/tmp").out.split() == ["off", "yes"]
        silent(alpha, f"zrep takeover {here}")
        alpha.run(f"zfs list -H -o name -t snapshot -r {here}/db | xargs -n 1 zfs release zrep", check=False)
        alpha.run(f"zfs destroy -r {here}/db")
        silent(alpha, CRON)
        aside = f"{there}/db {there}/db/log"
        assert beta.run(f"zfs get -H -o value mounted,readonly {aside}").out.split() == ["no", "on"] * 2
        assert f"set aside: {there}/db (" in alpha.run("zrep status").out
        silent(alpha, f"zrep expire --gone 30d {here}")
        assert names(beta, there) == members
        silent(alpha, f"zrep expire --gone 0s {here}")
        assert names(beta, there) == members[:2]
        silent(alpha, CRON)

    @pytest.mark.thorough
    def test_clones_are_clones_and_are_promoted(self, hosts: Hosts) -> None:
        alpha, beta = hosts
        for host in hosts:
            host.run("echo 12345678 > /root/key; sync")
        alpha.run(f"zfs create tank/t && zfs create tank/t/x && zfs create {KEY} tank/t/secret")
        alpha.run("zfs create -V 16M tank/t/vol")
        for name in ("tank/t/x", "tank/t/secret"):
            alpha.run(f"head -c 2000000 /dev/urandom > /{name}/file")
        for origin, clone in (("x", "a"), ("secret", "b"), ("vol", "disk"), ("a", "a/c")):
            alpha.run(
                f"zfs snapshot tank/t/{origin}@of-{origin} && zfs clone tank/t/{origin}@of-{origin} tank/t/{clone}"
            )
        alpha.run("echo own > /tank/t/a/own; echo own > /tank/t/b/own; zpool sync")
        silent(alpha, "zrep init -r tank/t beta tank/t")
        clones = "tank/t/a tank/t/a/c tank/t/b tank/t/disk"
        origins = ["tank/t/x@of-x", "tank/t/a@of-a", "tank/t/secret@of-secret", "tank/t/vol@of-vol"]
        assert beta.run(f"zfs get -H -o value origin {clones}").lines == origins
        used = beta.run("zfs get -Hp -o value used tank/t/a tank/t/b").lines
        assert all(int(each) < 1_000_000 for each in used)

        # Promoted, which takes the key of an encryption root from it.
        alpha.run("echo later > /tank/t/x/later; zpool sync")
        silent(alpha, CRON)
        before = beta.run("zfs list -H -o guid tank/t/a tank/t/x tank/t/b").lines
        alpha.run("zfs promote tank/t/a && zfs promote tank/t/b && echo more > /tank/t/a/more; zpool sync")
        alpha.run("zfs load-key -L file:///root/key tank/t/b")
        silent(alpha, CRON)
        assert beta.run("zfs get -H -o value origin tank/t/a tank/t/b").lines == ["-", "-"]
        assert beta.run("zfs list -H -o guid tank/t/a tank/t/x tank/t/b").lines == before
        found = beta.run("zfs get -H -o value origin tank/t/secret tank/t/x").lines
        assert found == ["tank/t/b@of-secret", "tank/t/a@of-x"]
        silent(alpha, CRON)
        beta.run("zfs load-key -L file:///root/key tank/t/b")
        live = " ".join(f"tank/t/{name}" for name in ("x", "a", "a/c", "b", "secret"))
        assert sums(beta, live) == sums(alpha, live)
        silent(alpha, "zrep failover tank/t")
        assert beta.run("cat /tank/t/a/more /tank/t/x/later /tank/t/b/own").out == "more\nlater\nown\n"

    def test_one_key_opens_a_tree(self, hosts: Hosts) -> None:
        """What came later, a clone and a key that was changed included."""
        alpha, beta = hosts
        for host in hosts:
            host.run("echo 12345678 > /root/key; echo 87654321 > /root/new; sync")
        alpha.run(f"zfs create {KEY} tank/t && zfs create tank/t/x && zfs create tank/t/x/deep && zfs create tank/t/z")
        for name in (*MEMBERS, "tank/t/z"):
            alpha.run(f"echo {name} > /{name}/file")
        alpha.run("zpool sync")
        silent(alpha, "zrep init -r tank/t beta tank/t")
        alpha.run("zfs create tank/t/new && zfs snapshot tank/t/x@mine && zfs clone tank/t/x@mine tank/t/clone")
        alpha.run("echo new > /tank/t/new/file; echo own > /tank/t/clone/own; zpool sync")
        silent(alpha, CRON)
        assert set(beta.run("zfs get -H -r -t filesystem -o value encryptionroot tank/t").lines) == {"tank/t"}
        alpha.run("zfs change-key -o keylocation=file:///root/new tank/t")
        silent(alpha, CRON)
        alpha.run("zfs change-key -o keyformat=passphrase -o keylocation=file:///root/key tank/t/z")
        silent(alpha, CRON)
        assert beta.run("zfs get -H -o value encryptionroot tank/t/z").out.strip() == "tank/t/z"
        before = beta.run("zfs list -H -r -t snapshot -o guid tank/t").lines
        silent(alpha, CRON)
        assert beta.run("zfs list -H -r -t snapshot -o guid tank/t").lines == before
        beta.run("zfs load-key -L file:///root/new tank/t; zfs load-key -L file:///root/key tank/t/z")
        silent(alpha, "zrep failover tank/t")
        assert set(beta.run("zfs get -H -r -t filesystem -o value mounted tank/t").lines) == {"yes"}
        assert beta.run("cat /tank/t/x/deep/file /tank/t/new/file /tank/t/clone/own").out == "tank/t/x/deep\nnew\nown\n"
        beta.run("echo back > /tank/t/x/back; zpool sync")
        silent(beta, CRON)
        silent(alpha, "zrep takeover tank/t")
        assert alpha.run("cat /tank/t/x/back").out == "back\n"

    @pytest.mark.thorough
    def test_the_root_of_a_pool_is_a_tree(self, hosts: Hosts) -> None:
        """But for a copy beside it of what was written to the root itself, and a clone of it."""
        alpha, beta = hosts
        for name in ("small/x", "small/x/y", "small/vm"):
            alpha.run(f"zfs create {name} && echo 1 > /{name}/file")
        alpha.run("echo root > /small/file; zpool sync")
        said = alpha.run("zrep init -r small beta tank/small").err
        assert "it is the root of a pool, which cannot be renamed" in said
        silent(alpha, "zrep failover small")
        beta.run("echo beta > /tank/small/x/on-beta; zpool sync")
        silent(beta, CRON)
        silent(alpha, "zrep takeover small")
        assert alpha.run("cat /small/x/on-beta /small/file").out == "beta\nroot\n"
        assert "on beta: zrep rehearse tank/small" in alpha.run("zrep rehearse small", check=False).err
        silent(beta, "zrep rehearse tank/small")

        alpha.run("echo tail > /small/x/tail; echo tail > /small/tail; zpool sync")
        alone(beta, "tank/small")
        beta.run("echo alone > /tank/small/x/y/alone; zpool sync")
        refused = alpha.run("zrep rejoin small", check=False)
        keep, _, back = refused.err.partition("to keep all of it: ")[2].partition(", ")[0].partition("; then: ")
        assert (refused.rc, back.startswith("zfs rollback -r small@zrep_")) == (REFUSED, True), refused
        alpha.run(f"{keep}; {back}")
        alpha.run("zrep rejoin small")
        copy = alpha.run("zfs get -H -r -s local -t filesystem -o name zrep:split small").out.strip()
        assert (copy.startswith("small/split_"), names(alpha, copy)) == (True, [copy, f"{copy}/alone", f"{copy}/x"])
        silent(beta, CRON)
        left, right = (
            sums(host, f"{root} {root}/x {root}/x/y") for host, root in ((alpha, "small"), (beta, "tank/small"))
        )
        assert left == right.replace("tank/small", "small")

    @pytest.mark.thorough
    def test_a_link_cut_in_silence_in_the_middle_of_init_costs_what_had_not_arrived(
        self, lab: Lab, hosts: Hosts
    ) -> None:
        """The receive at the other end waits for the rest of its stream: the same command ends it, and goes on."""
        alpha, beta = hosts
        each = "zfs create tank/t/$n; head -c 200000 /dev/urandom > /tank/t/$n/file"
        alpha.run(f"zfs create tank/t; for n in $(seq 12); do {each}; done; zpool sync")
        lab.slow(alpha, rate="4mbit")
        beginning = alpha.popen("zrep init -r tank/t beta tank/t > /root/said 2>&1; echo $?")
        wait_for(lambda: int(beta.run("zfs list -H -r -t snapshot -o name tank | wc -l").out) >= 5)
        lab.cut(beta)
        assert beginning.communicate(timeout=120)[0].strip() == str(UNREACHABLE)
        # Nobody at the other end is told: its zrep gives up by itself, the receive does not.
        beta.run("timeout 60 sh -c 'until flock -n /var/run/zrep/tank%t.lock true; do sleep 0.2; done'", timeout=90)
        beta.run("pgrep -x zfs")
        lab.heal()
        arrived = beta.run("zfs list -H -r -t snapshot -o name,guid,createtxg tank/t").lines
        assert 5 <= len(arrived) < 13
        silent(alpha, "zrep init -r tank/t beta tank/t > /root/said")
        now = beta.run("zfs list -H -r -t snapshot -o name,guid,createtxg tank/t").lines
        assert (len(now), set(arrived) - set(now)) == (13, set())
        assert sums(beta) == sums(alpha)

    @pytest.mark.thorough
    def test_a_pair_becomes_a_tree_and_no_more(self, hosts: Hosts) -> None:
        """Without sending again what is there; and what becomes of its members meanwhile."""
        alpha, beta = hosts
        for name in ("tank/t", "tank/t/x", "tank/t/y", "tank/other"):
            alpha.run(f"zfs create {name} && head -c 300000 /dev/urandom > /{name}/file")
        alpha.run("zpool sync")
        alpha.run("zrep init -o compression=zstd -x atime tank/t beta tank/t")
        assert names(beta) == ["tank/t"]
        born = beta.run("zfs get -Hp -o value guid,creation tank/t").out
        silent(alpha, "zrep changeconfig -r tank/t")
        shown = alpha.run("zrep sync -n tank/t").out
        assert all(f"tank/t/{name}@zrep_" in shown for name in "xy")
        assert names(beta) == ["tank/t"]
        silent(alpha, CRON)
        assert names(beta) == ["tank/t", "tank/t/x", "tank/t/y"]
        assert beta.run("zfs get -Hp -o value guid,creation tank/t").out == born
        alpha.run("zfs set compression=gzip atime=off recordsize=16K tank/t")
        silent(alpha, CRON)
        assert own(beta, "tank/t").items() >= {"compression": "zstd", "recordsize": "16384"}.items()
        assert "atime" not in own(beta, "tank/t")

        # Two swap their names; one that is made again under its old name; a clone of what is not in the tree.
        before = beta.run("zfs list -H -o guid tank/t/x tank/t/y").lines
        alpha.run("zfs rename tank/t/x tank/t/z && zfs rename tank/t/y tank/t/x && zfs rename tank/t/z tank/t/y")
        silent(alpha, CRON)
        assert beta.run("zfs list -H -o guid tank/t/x tank/t/y").lines == before[::-1]
        alpha.run("zfs list -H -o name -t snapshot tank/t/y | xargs -n 1 zfs release zrep; zfs destroy -r tank/t/y")
        alpha.run("zfs create tank/t/y && echo again > /tank/t/y/file")
        alpha.run("zfs snapshot tank/other@mine && zfs clone tank/other@mine tank/t/clone; zpool sync")
        said = alpha.run("zrep sync -v tank/t").out
        assert "tank/t/clone: it is a clone of tank/other@mine, which is outside the tree, and was sent" in said
        assert beta.run("zfs get -H -o value origin tank/t/clone").out == "-\n"
        [aside] = beta.run("zfs get -H -r -s local -t filesystem -o name zrep:gone tank/t").lines
        assert (aside.startswith("tank/t/y_zrep_gone_"), beta.run(f"zfs list -H -o guid {aside}").lines) == (
            True,
            before[:1],
        )
        live = "tank/t tank/t/x tank/t/y tank/t/clone"
        assert sums(beta, live) == sums(alpha, live)

        # One that cannot be sent stops itself alone.
        beta.run("zfs set readonly=off tank/t/x && zfs mount tank/t/x && echo mine > /tank/t/x/mine; zpool sync")
        alpha.run("for n in x y; do echo later > /tank/t/$n/later; done; zpool sync")
        refused = alpha.run("zrep sync tank/t", check=False)
        says = "tank/t/x: the replica tank/t/x was changed by hand"
        assert (refused.rc, says in refused.err, refused.err.count("\n")) == (REFUSED, True, 1), refused
        shown = alpha.run("zrep status tank/t", check=False).out
        assert "replica modified" in shown
        assert "tank/t/x: " in shown
        assert sums(beta, "tank/t/y") == sums(alpha, "tank/t/y")
        silent(alpha, "zrep sync -f tank/t")
        assert sums(beta, "tank/t/x") == sums(alpha, "tank/t/x")

        # It goes alone again, and ends.
        silent(alpha, "zrep changeconfig --no-recursive tank/t")
        alpha.run("echo alone > /tank/t/x/alone; echo alone > /tank/t/alone; zpool sync")
        assert "not replicated with it: tank/t/clone, tank/t/x, tank/t/y" in alpha.run(CRON).err
        assert sums(beta, "tank/t") == sums(alpha, "tank/t")
        assert "alone" not in sums(beta, "tank/t/x") + sums(alpha, "tank/t/x")
        silent(alpha, "zrep changeconfig -r tank/t")
        silent(alpha, CRON)
        assert sums(beta, live) == sums(alpha, live)
        alpha.run("zrep clear tank/t")
        for host in hosts:
            left = host.run("zfs get -H -r -s local,received all tank/t; zfs list -H -r -t all tank/t").out
            assert not re.search("zrep:|@zrep_", left), left

    def test_a_role_change_is_refused_whole_or_made_of_all(self, hosts: Hosts) -> None:
        alpha, beta = hosts
        for host in hosts:
            host.run("echo 12345678 > /root/key; sync")
        # The one that sorts first is mounted inside of the one that sorts last.
        alpha.run("zfs create -o mountpoint=/srv/t tank/t && zfs create -u -o mountpoint=/srv/t/in/a tank/t/a")
        alpha.run("zfs create -o mountpoint=/srv/t/in tank/t/z && zfs mount tank/t/a")
        alpha.run(f"zfs create {KEY} -o readonly=on tank/t/own")
        alpha.run("zfs create -o mountpoint=none -o canmount=off tank/t/none && zfs create -o readonly=off tank/t/off")
        alpha.run("for n in in in/a off; do echo $n > /srv/t/$n/file; done; zpool sync")
        silent(alpha, "zrep init -r tank/t beta tank/t")
        beta.run("zfs set mountpoint=/srv/t tank/t; zfs set mountpoint=/srv/t/in tank/t/z")
        beta.run("zfs set mountpoint=/srv/t/in/a tank/t/a")
        beta.run("zfs load-key -L file:///root/key tank/t/own")
        look = "zfs get -H -r -t filesystem -o name,property,value readonly,mounted tank/t"
        before = alpha.run(look).out
        in_the_way = (
            ("beta", "mkdir -p /srv/t/in/a && mount -t tmpfs cover /srv/t/in/a", "umount /srv/t/in/a", "cover (tmpfs)"),
            ("beta", "zfs unload-key tank/t/own", "zfs load-key -L file:///root/key tank/t/own", "key of tank/t/own"),
        )
        for _, obstacle, away, says in in_the_way:
            beta.run(obstacle)
            refused = alpha.run("zrep failover tank/t", check=False)
            assert (refused.rc, says in refused.err, alpha.run(look).out) == (REFUSED, True, before), refused
            beta.run(away)
        writer = alpha.popen("exec 5>>/srv/t/in/a/file; echo on; exec sleep 1000")
        assert writer.stdout is not None
        assert writer.stdout.readline() == "on\n"
        refused = alpha.run("zrep failover tank/t", check=False)
        assert (refused.rc, "tank/t/a is being written on alpha" in refused.err) == (REFUSED, True), refused
        assert alpha.run(look).out == before
        alpha.run("pkill -x sleep; touch /srv/t/off/after")
        writer.wait(30)

        silent(alpha, "zrep failover tank/t")
        newest = "zfs list -H -d 1 -t snapshot -o name -s createtxg $n | tail -n 1"
        last = beta.run(f"for n in $(zfs list -H -r -o name tank/t); do {newest}; done").lines
        assert len({name.partition("@")[2] for name in last}) == 1
        assert beta.run("cat /srv/t/in/file /srv/t/in/a/file /srv/t/off/file").out == "in\nin/a\noff\n"
        assert beta.run("touch /srv/t/off/there && ! touch /srv/t/own/there 2> /dev/null && echo read-only").out
        silent(beta, CRON)
        silent(beta, "zrep failover tank/t")
        assert alpha.run(look).out == before

    def test_a_set_that_is_not_complete_is_not_promoted(self, hosts: Hosts) -> None:
        """A quota of the replica's lets one of two members in, and the master is lost."""
        alpha, beta = hosts
        for name in ("tank/t", "tank/t/db", "tank/t/log"):
            alpha.run(f"zfs create {name} && echo 1 > /{name}/file")
        silent(alpha, "zrep init -r tank/t beta tank/t")
        beta.run("zfs set quota=3M tank/t/log")
        for name in ("tank/t/db", "tank/t/log"):
            alpha.run(f"head -c 8000000 /dev/urandom > /{name}/later")
        alpha.run("zpool sync")
        failed = alpha.run("zrep sync tank/t", check=False)
        says = "tank/t/log: .*quota exceeded.*on beta: quota=3.0M on tank/t/log.*on beta: zfs set quota=SIZE tank/t/log"
        assert (failed.rc, bool(re.search(says, failed.err)), failed.err.count("\n")) == (FAILED, True, 1), failed
        alpha.power_off()
        beta.run("zfs set quota=none tank/t/log")
        goes_back = r"tank/t/db goes back to @zrep_\w+ and loses @zrep_\w+\n"
        assert re.search(goes_back, beta.run("zrep takeover -L -n tank/t", timeout=90).out)
        assert not re.search(goes_back, beta.run("zrep takeover -L -n --newest tank/t", timeout=90).out)
        done = beta.run("zrep takeover -L --yes -f tank/t", timeout=90)
        assert re.search(goes_back, done.out), done
        assert beta.run("ls /tank/t/db /tank/t/log").out.split() == ["/tank/t/db:", "file", "/tank/t/log:", "file"]
        alpha.boot()
        alpha.run("zrep rejoin tank/t")
        beta.run("echo 2 > /tank/t/db/file; zpool sync")
        silent(beta, CRON)
        both = "tank/t tank/t/db tank/t/log"
        assert sums(alpha, both) == sums(beta, both)


class TestAdopted:
    @pytest.mark.parametrize(
        ("sends", "syncoid"),
        [
            ("zfs snapshot -r tank/t@one && zfs send -R tank/t@one | ssh beta zfs receive tank/u", False),
            ("syncoid -r --no-privilege-elevation --quiet tank/t beta:tank/u", True),
        ],
        ids=["send -R", "syncoid -r"],
    )
    def test_a_tree_that_another_has_made(self, lab: Lab, sends: str, syncoid: bool) -> None:
        lab.reset()
        alpha, beta = lab.alpha, lab.beta
        if syncoid:
            others.install(lab)
        for part in ("", "/x", "/x/deep"):
            made(alpha, f"tank/t{part}")
        alpha.run("zfs create -V 8M tank/t/vol")
        alpha.run(sends, timeout=120)
        if syncoid:
            # Each receive of its mounts what is below it anew, in a directory that is made anew: that is written.
            done = alpha.run("zrep init -r --adopt tank/t beta tank/u", check=False)
            said = re.search(r"; next: if nobody needs that, on beta: (zfs rollback .*); then this again$", done.err)
            assert done.rc == REFUSED, done
            assert said, done
            beta.run(said[1])
        read_only = "with all that is below it: zrep init -r --adopt tank/t beta tank/u; or"
        check(lab, Case("its root", "zrep init --adopt tank/t beta tank/u", REFUSED, read_only))
        beta.run("echo mine > /tank/u/x/file")
        says = r"tank/u/x on beta was written to .*zfs rollback -r tank/u/x@\S+; then this again"
        check(lab, Case("written to", "zrep init -r --adopt tank/t beta tank/u", REFUSED, says))
        beta.run("zfs rollback -r $(zfs list -H -o name -t snapshot -d 1 tank/u/x | tail -n 1)")
        made(alpha, "tank/t/new")
        born = beta.run("zfs get -Hp -r -o value guid,creation -t filesystem,volume tank/u").lines
        silent(alpha, "zrep init -r --adopt tank/t beta tank/u")
        alpha.run("echo later > /tank/t/x/deep/file")
        silent(alpha, "zrep sync all")
        assert set(born) < set(beta.run("zfs get -Hp -r -o value guid,creation -t filesystem,volume tank/u").lines)
        assert [content(beta, f"tank/u/{name}") for name in ("x/deep", "new")] == ["later", "first"]
        assert set(beta.run("zfs get -H -r -o value readonly -t filesystem,volume tank/u").lines) == {"on"}
        silent(alpha, "zrep failover tank/t")
        beta.run("echo moved > /tank/u/x/deep/file; zrep sync all")
        assert content(alpha, "tank/t/x/deep") == "moved"
