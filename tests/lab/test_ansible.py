"""The role of contrib/ansible, run by Debian's ansible-core against two real hosts: from nothing to a working pair, and
again, which changes nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import build
from tests.lab.hosts import Host, Lab
from tests.lab.zrep_on import made

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
ROLES = ROOT / "contrib/ansible/roles"


@pytest.fixture(scope="module")
def bare(lab: Lab) -> Iterator[tuple[Host, Host]]:
    """alpha with a filesystem, beta with none; no zrep, and neither lets the other log in."""
    build.install_tools(["ansible-core"])
    lab.reset()
    alpha, beta = lab
    made(alpha, "tank/a")
    for host in (alpha, beta):
        host.run("mv /usr/local/bin/zrep /root/zrep.kept; mv /root/.ssh /root/ssh.kept; test ! -e /etc/cron.d/zrep")
    yield alpha, beta
    for host in (alpha, beta):
        host.run("mv -f /root/zrep.kept /usr/local/bin/zrep; rm -rf /root/.ssh; mv /root/ssh.kept /root/.ssh")
        host.run("rm -f /etc/cron.d/zrep /etc/default/zrep")


@pytest.fixture(scope="module")
def one_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """zrep as make zipapp makes it."""
    path = tmp_path_factory.mktemp("dist") / "zrep.pyz"
    subprocess.run([ROOT / "contrib/zipapp", sys.executable, path], check=True, capture_output=True, timeout=600)
    return path


def inventory(hosts: tuple[Host, Host], one_file: Path) -> dict[str, Any]:
    alpha, beta = hosts

    def reached(host: Host, peer: Host, **more: Any) -> dict[str, Any]:
        options = host._ssh_options()  # as the lab itself reaches it
        return {"ansible_host": host.control_ip, "ansible_user": "lab", "ansible_port": 22022,
                "ansible_ssh_common_args": " ".join(option for option in options if "User=" not in option),
                "zrep_peer": peer.name, "zrep_address": host.ip, **more}  # fmt: skip

    everywhere = {"zrep_file": str(one_file), "zrep_settings": {"ZREP_JOBS": 2}}
    pairs = [{"filesystem": "tank/a", "target": "tank/b", "options": "--savecount 7"}]
    allowed = [{"user": "operator", "filesystem": "tank/a", "direction": "send"}]
    return {"zrep": {"vars": everywhere, "hosts": {
        "alpha": reached(alpha, beta, zrep_pairs=pairs, zrep_allow=allowed),
        "beta": reached(beta, alpha, zrep_gate="--tree tank/b --receive --send"),
    }}}  # fmt: skip


def played(lab: Lab, folder: Path, hosts: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Run the role on both hosts; of each how many tasks were well, and how many have changed something."""
    (folder / "hosts.json").write_text(json.dumps(hosts))
    (folder / "site.yml").write_text("- {hosts: zrep, any_errors_fatal: true, roles: [zrep]}\n")
    argv = lab.slot.inside("ansible-playbook", "-i", f"{folder}/hosts.json", f"{folder}/site.yml")
    env = {**os.environ, "ANSIBLE_ROLES_PATH": str(ROLES), "ANSIBLE_LOCAL_TEMP": str(folder), "ANSIBLE_NOCOLOR": "1",
           "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "c"), "LC_ALL": "C.UTF-8"}  # fmt: skip
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    counted = re.findall(r"^(\w+) +: ok=(\d+) +changed=(\d+) +unreachable=0 +failed=0", done.stdout, re.MULTILINE)
    return {name: (int(well), int(changed)) for name, well, changed in counted}


class TestAnsible:
    @pytest.mark.thorough
    def test_two_bare_hosts_become_a_pair_and_a_second_run_changes_nothing(
        self, bare: tuple[Host, Host], lab: Lab, one_file: Path, tmp_path: Path
    ) -> None:
        alpha, beta = bare
        hosts = inventory(bare, one_file)
        first = played(lab, tmp_path, hosts)
        assert all(changed > 5 for _, changed in first.values()), first
        again = played(lab, tmp_path, hosts)
        assert {name: changed for name, (_, changed) in again.items()} == {"alpha": 0, "beta": 0}

        assert alpha.run("zrep status -H -o name,peer,state").out == "tank/a\tbeta:tank/b\tok\n"
        assert alpha.run("zfs get -H -o value zrep:savecount tank/a").out == "7\n"
        alpha.run("echo more > /tank/a/more; zrep sync all")
        assert beta.run("zrep list -H -o name,role,state").out == "tank/b\treplica\tok\n"
        assert "sync all" in beta.run("cat /etc/cron.d/zrep").out
        assert "operator" in alpha.run("zfs allow tank/a").out
        # beta's key of alpha is good for the gate alone.
        assert alpha.run("ssh beta true", check=False).rc != 0

        # A role that has moved is not moved back, nor a pair made again.
        beta.run("zrep takeover tank/b")
        assert {name: changed for name, (_, changed) in played(lab, tmp_path, hosts).items()} == {"alpha": 0, "beta": 0}
        assert beta.run("zrep list -H -o name,role").out == "tank/b\tmaster\n"
