"""What stands on the hosts at the beginning."""

from __future__ import annotations

from dataclasses import dataclass

from tests.ops import pairs
from tests.ops.hosts import Hosts
from tests.ops.judge import SIDES, Sides
from tests.ops.pairs import A, B, good
from tests.ops.simulation.around import OTHER
from zrep.ops.changeconfig import Config
from zrep.ops.init_way import Request

SPARE = "gamma"
ENCRYPTED = "-o encryption=on -o keyformat=raw -o keylocation=file:///key"


@dataclass(frozen=True, slots=True)
class Linking:
    """One pair: its halves, the master's first, its tag, and the words that its master is made with; snapshot: whether
    an administrator has one on the replica too; pull: the replica's host alone dials; members: of a tree, what follows
    the name of its root."""

    sides: Sides = SIDES
    create: str = ""
    tag: str = "zrep"
    snapshot: bool = True
    members: tuple[str, ...] = ()
    pull: bool = False

    @property
    def below(self) -> tuple[Sides, ...]:
        """The halves of each member below the root."""
        (here, name), (there, target) = self.sides
        return tuple(((here, name + member), (there, target + member)) for member in self.members)

    def make(self, hosts: Hosts, lease: int) -> None:
        (here, name), (there, target) = self.sides
        if name not in hosts.world.state.hosts[here].datasets:  # it may be in another pair too
            self._create(hosts)
        request = Request(name, here if self.pull else there, target, recursive=bool(self.members), pull=self.pull)
        good(hosts.run(there if self.pull else here, pairs.initialising(request), tag=self.tag))
        for _, (_, each) in (self.sides, *self.below):
            hosts[there].load_key(each)
        if self.snapshot:
            hosts[there].sh(f"zfs snapshot {target}@weekly")
        for host, half in self.sides:
            good(hosts.run(host, pairs.changing(half, Config(savecount=2, lease=lease)), tag=self.tag))

    def _create(self, hosts: Hosts) -> None:
        (here, name), _ = self.sides
        hosts[here].sh(f"zfs create {self.create} {name}")
        for (_, member), _ in self.below:
            hosts[here].sh(f"zfs create {member}")
        for (_, each), _ in (self.sides, *self.below):
            hosts[here].write(each, "one", b"1" * 50)
            hosts[here].write(each, "older", b"0" * 50)
            hosts[here].sh(f"zfs snapshot {each}@daily")


@dataclass(frozen=True, slots=True)
class Layout:
    """links: the pairs; pool: one that alpha has beside tank; children: filesystems of no pair below a half; spare: a
    host on which somebody may import the image of another one's pools."""

    links: tuple[Linking, ...]
    pool: str = ""
    children: tuple[tuple[str, str], ...] = ()
    spare: tuple[str, ...] = ()

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(
            dict.fromkeys(("alpha", "beta", *(host for link in self.links for host, _ in link.sides), *self.spare))
        )

    def make(self, hosts: Hosts, lease: int) -> None:
        if self.pool:
            hosts["alpha"].add_pool(self.pool)
        for name in self.hosts:
            hosts[name].sh(f"zfs create {OTHER}")
        for link in self.links:
            link.make(hosts, lease)
        for host, child in self.children:
            hosts[host].sh(f"zfs create {child}")


# Those that are drawn from: `simulate --layout` leaves one.
drawn: list[str] = []

LAYOUTS = {
    "filesystem": Layout((Linking(),)),
    "volume": Layout((Linking(create="-V 1G"),)),
    "encrypted": Layout((Linking(create=ENCRYPTED, snapshot=False),)),
    "encrypted volume": Layout((Linking(create=f"-V 1G {ENCRYPTED}", snapshot=False),)),
    "parent and child": Layout((Linking(), Linking((("alpha", f"{A}/c"), ("beta", f"{B}/c"))))),
    "child of nobody": Layout((Linking(),), children=(("alpha", f"{A}/own"), ("beta", f"{B}/own"))),
    "image": Layout((Linking(),), spare=(SPARE,)),
    "three tags": Layout(
        (
            Linking(),
            Linking((("alpha", A), ("gamma", "tank/g")), tag="offsite"),
            Linking((("beta", B), ("gamma", "tank/r")), tag="relay"),
        )
    ),
    "relay": Layout((Linking(), Linking((("beta", B), ("gamma", "tank/r")), tag="onward"))),
    "pulled": Layout((Linking(pull=True),)),
    "tree": Layout((Linking(members=("/x", "/x/deep")),)),
    "encrypted tree": Layout((Linking(create=ENCRYPTED, snapshot=False, members=("/x",)),)),
    "pool root": Layout((Linking((("alpha", "small"), ("beta", "tank/s"))),), pool="small"),
}
# Of these the end that is judged is another one: they are run by name.
BY_NAME = ("relay", "pulled")
drawn += [name for name in LAYOUTS if name not in BY_NAME]
