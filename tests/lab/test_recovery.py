"""Every recipe of zrep-recovery(7), read from the page and typed on two real hosts: it ends the trouble that the page
says it is for. On the model the same is tests/docs/test_recovery.py."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.docs.test_recovery import PAGE, RECIPES, sections
from tests.lab.hosts import Host, Lab
from tests.lab.zrep_on import made, rarely

pytestmark = pytest.mark.lab

Broken = Callable[[Lab], object]


def linked(lab: Lab) -> tuple[Host, Host]:
    alpha, beta = lab
    made(alpha, "tank/a")
    alpha.run("zrep init tank/a beta tank/b")
    return alpha, beta


def gone(host: Host, name: str) -> None:
    """A filesystem as on a pool that is new."""
    host.run(f"zfs list -H -o name -t snapshot {name} | xargs -n 1 zfs release zrep; zfs destroy -r {name}")


def dead(lab: Lab) -> None:
    alpha, _ = linked(lab)
    alpha.run("echo tail > /tank/a/tail; zpool sync")
    alpha.power_off()


def split_brain(lab: Lab) -> None:
    """Both were forced while they could not see each other."""
    alpha, beta = linked(lab)
    alpha.run("zrep failover tank/a")
    lab.cut(beta)
    alpha.run("zrep takeover -L --yes tank/a", timeout=120)
    lab.heal()
    beta.run("zfs set zrep:parent=$(zfs get -H -o value zrep:gen tank/b) zrep:gen=feedfeedfeedfeed tank/b")


def cut(lab: Lab) -> None:
    alpha, _ = linked(lab)
    alpha.run(
        "zrep failover tank/a > /dev/null 2>&1 & "
        "until [ $(zfs get -H -o value readonly tank/a) = on ]; do :; done; kill -9 $!; wait"
    )


def modified(lab: Lab) -> None:
    _, beta = linked(lab)
    beta.run("zfs set readonly=off tank/b; zfs mount tank/b; echo by hand > /tank/b/by-hand; zpool sync")


def without_base(lab: Lab) -> None:
    alpha, beta = linked(lab)
    beta.run("zfs release zrep tank/b@zrep_000001")
    alpha.run(
        "zfs release zrep tank/a@zrep_000001; zfs destroy tank/a@zrep_000001; zfs destroy tank/a#zrep:zrep_000001"
    )


def of_the_shell(lab: Lab) -> None:
    """As the shell zrep 2.0 leaves one: no epoch, no generation, no holds, and no mark but that of what was sent."""
    for host, name in zip(linked(lab), ("tank/a", "tank/b"), strict=True):
        for key in ("epoch", "gen", "parent", "inprogress", "flags", "canmount", "places"):
            host.run(f"zfs inherit zrep:{key} {name}")
        host.run(f"zfs release zrep {name}@zrep_000001; zfs inherit zrep:made {name}@zrep_000001")
    lab["beta"].run("zfs inherit zrep:sent tank/b@zrep_000001; zfs inherit zrep:master tank/b")


def of_another(lab: Lab) -> None:
    alpha, _ = lab
    made(alpha, "tank/a")
    alpha.run("zfs snapshot tank/a@daily; zfs send tank/a@daily | ssh beta zfs receive -u tank/b")


BROKEN: dict[str, Broken] = {
    "THE MASTER IS DEAD": dead,
    "BOTH ARE MASTERS": split_brain,
    "A ROLE CHANGE WAS CUT": cut,
    "THE REPLICA WAS CHANGED BY HAND": modified,
    "THE BASE IS GONE": without_base,
    "THE REPLICA'S DISKS WERE REPLACED": lambda lab: gone(linked(lab)[1], "tank/b"),
    "THE MASTER'S DISKS WERE REPLACED": lambda lab: gone(linked(lab)[0], "tank/a"),
    "A FILESYSTEM WAS RENAMED": lambda lab: linked(lab)[0].run("zfs rename tank/a tank/c"),
    "ONE FILE BACK FROM THE REPLICA": linked,
    "MOVING FROM THE SHELL ZREP": of_the_shell,
    "MOVING FROM SYNCOID, ZREPL OR ANOTHER": of_another,
    "BOTH HOSTS ARE TO BE UPGRADED": linked,
}
# Of these the tests of life, faults and adoption run the same commands.
SHOWN = (
    "THE MASTER IS DEAD",
    "BOTH ARE MASTERS",
    "A FILESYSTEM WAS RENAMED",
    "MOVING FROM THE SHELL ZREP",
)


def said_by_status(name: str) -> str:
    """The state that the page says status shows, "" where it names none."""
    text = PAGE.read_text().partition(f".Sh {name}\n")[2].partition("\n.Sh ")[0]
    found = re.search(r"^\.Ql zrep status\n(?:on beta )?says\n\.Ql ([a-z ]+?) [,.:]$", text, re.MULTILINE)
    return found[1] if found else ""


def typed(lab: Lab, line: str) -> int:
    name, _, command = line.partition("# ")
    if not lab[name].is_on:
        lab[name].boot()
    sure = command.replace("takeover -L", "takeover -L --yes")
    return lab[name].run(sure, check=False, timeout=180).rc


class TestRecovery:
    def test_each_recipe_is_here(self) -> None:
        assert BROKEN.keys() == RECIPES.keys()

    @pytest.mark.parametrize("name", [*(name for name in BROKEN if name not in SHOWN), *rarely(*SHOWN)])
    def test_a_recipe_ends_the_trouble(self, lab: Lab, name: str) -> None:
        lab.reset()
        recipe = RECIPES[name]
        BROKEN[name](lab)
        if shows := said_by_status(name):
            asked = next(host for host in lab if host.is_on)
            assert shows in asked.run("zrep status", check=False, timeout=120).out
        for line in sections()[name]:
            assert typed(lab, line) == recipe.refused.get(line, 0), line
        master = ""
        for host, own in zip(lab, recipe.names, strict=True):
            shown = host.run(f"zrep sync all; zrep status -H -o name,role,state {own}").out.split("\t")
            assert (shown[0], shown[2]) == (own, "ok\n"), shown
            master = f"{host.name}:/{own}" if shown[1] == "master" else master
        host_name, _, path = master.partition(":")
        assert lab[host_name].run(f"cat {path}/file").out == "first\n"
