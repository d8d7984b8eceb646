"""zrep gate behind a real sshd: each operation passes through the gate meant for it, and an attacker through none."""

from __future__ import annotations

from tests.lab.hosts import Host, Lab
from tests.lab.zrep_on import PICTURE, REFUSED, TRACES, alone, in_step, made, silent, snapshots, unchanged

A, B = "tank/a", "tank/data/a"


def gate(host: Host, words: str) -> None:
    """Everybody's key for root on a host is worth this much from now on."""
    limit = f'restrict,command="zrep gate {words}" '
    host.run(f"sed 's|^|{limit}|' /lab/authorized_keys > /root/.ssh/authorized_keys")


def linked(lab: Lab, words: str = "--tree tank/data --receive") -> tuple[Host, Host]:
    """A pair that was made through a gate of beta, with something to send."""
    lab.reset()
    alpha, beta = lab.alpha, lab.beta
    beta.run("zfs create tank/data; zfs create tank/other; zfs snapshot tank/other@1; zfs create tank/data2")
    gate(beta, words)
    made(alpha, A, compression="lz4")
    silent(alpha, f"ZREP_SAVE_COUNT=2 zrep init {A} beta {B}")
    alpha.run(f"echo more > /{A}/file")
    return alpha, beta


class TestOperations:
    def test_a_peer_that_may_only_receive(self, lab: Lab) -> None:
        alpha, beta = linked(lab)
        for number in range(4):
            alpha.run(f"echo {number} > /{A}/file")
            silent(alpha, "zrep sync all")
        assert in_step(alpha, A, beta, B)
        assert len(snapshots(beta, B)) == 2
        assert alpha.run("zrep status -H -o state").out == "ok\n"
        silent(alpha, f"zrep expire {A}")
        alpha.run("dd if=/dev/urandom of=/tank/a/big bs=1M count=8")
        silent(alpha, "zrep sync all")
        refused = {
            f"zrep failover {A}": "--send",
            f"zrep clear {A}": "to end what is in zrep:",
        }
        for command, why in refused.items():
            with unchanged(lab):
                done = alpha.run(command, check=False)
            assert (done.rc, "the gate of beta does not admit" in done.err, why in done.err) == (REFUSED, True, True)
        gate(beta, "--tree tank/data --send")
        alpha.run(f"echo new > /{A}/file; zrep sync all", check=False)  # which takes a snapshot for later
        with unchanged(lab, PICTURE):
            done = alpha.run(f"zrep sync {A}", check=False)
        assert (done.rc, "without --receive" in done.err) == (REFUSED, True), done
        gate(beta, "--tree tank/data2 --receive --send")
        with unchanged(lab, TRACES):
            done = alpha.run(f"zrep sync {A}", check=False)
        assert (done.rc, f"anything of '{B}'" in done.err) == (REFUSED, True), done
        log = beta.run("journalctl -t zrep-gate -o cat 2> /dev/null || grep -h zrep-gate /var/log/*", check=False).out
        assert not log or "refused 10.79.0.1" in log

    def test_one_whose_streams_are_kept(self, lab: Lab) -> None:
        alpha, beta = linked(lab, "--tree tank/data --receive --keep")
        done = [alpha.run(f"echo {number} > /{A}/file; zrep sync all") for number in range(4)]
        assert all("this side keeps it" in each.err or not each.err for each in done)
        assert in_step(alpha, A, beta, B)
        assert len(snapshots(beta, B)) == 5
        assert len(snapshots(alpha, A)) == 2
        silent(beta, f"zrep expire -L {B}")
        assert len(snapshots(beta, B)) == 2

    def test_a_peer_that_takes_streams(self, lab: Lab) -> None:
        """beta pulls through a gate of alpha, which has no key to beta."""
        lab.reset()
        alpha, beta = lab.alpha, lab.beta
        made(alpha, A)
        alpha.run("zfs create tank/other; zfs snapshot tank/other@1")
        gate(alpha, f"--tree {A} --send")
        beta.run("rm /root/.ssh/authorized_keys")
        silent(beta, "zfs create tank/data")
        silent(beta, f"ZREP_SAVE_COUNT=2 zrep init --pull alpha {A} {B}")
        for number in range(4):
            alpha.run(f"echo {number} > /{A}/file")
            silent(beta, "zrep sync all")
        assert in_step(alpha, A, beta, B)
        assert (len(snapshots(alpha, A)), len(snapshots(beta, B))) == (2, 2)
        with unchanged(lab, PICTURE):
            done = beta.run(f"zrep takeover {B}", check=False)
        assert (done.rc, "the gate of alpha does not admit" in done.err) == (REFUSED, True), done

    def test_a_pair_whose_role_moves(self, lab: Lab) -> None:
        alpha, beta = linked(lab, "--tree tank/data --send --receive")
        gate(alpha, "--tree tank/a --send --receive")
        silent(alpha, f"zrep failover {A}")
        beta.run(f"echo there > /{B}/file")
        silent(beta, "zrep sync all")
        silent(alpha, f"zrep takeover {A}")
        lab.cut(beta)
        alone(beta, B)
        lab.heal()
        assert alpha.run(f"zrep sync {A}", check=False).rc == REFUSED
        assert alpha.run(f"zrep rejoin {A}", timeout=120).rc == 0
        silent(beta, "zrep sync all")
        assert in_step(beta, B, alpha, A)

    def test_an_encrypted_one_comes_raw(self, lab: Lab) -> None:
        lab.reset()
        alpha, beta = lab.alpha, lab.beta
        beta.run("zfs create tank/data")
        gate(beta, "--tree tank/data --receive")
        alpha.run(f"echo 12345678 | zfs create -o encryption=on -o keyformat=passphrase {A}; echo x > /{A}/file")
        silent(alpha, f"zrep init {A} beta {B}")
        alpha.run(f"echo more > /{A}/file")
        silent(alpha, "zrep sync all")
        assert in_step(alpha, A, beta, B)
        beta.run(f"echo 12345678 | zfs load-key {B} && zfs mount {B}")
        assert beta.run(f"cat /{B}/file").out == "more\n"
