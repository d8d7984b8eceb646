"""What stands around the pairs on their hosts, and is none of zrep's business: it stays as it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.model import mounting, mounts
from tests.model.machine import Machine
from tests.ops.hosts import Hosts
from tests.ops.simulation.ledger import readable

# A filesystem of somebody else on each host, in no pair.
OTHER = "tank/other"
Mount = tuple[str, str, str]  # host, what is mounted, where


@dataclass
class Around:
    """visible: mounts that their paths lead to, and whether they are read-only, before a run of zrep; written: what was
    acknowledged in filesystems that are in no pair; properties: those that an administrator has set, by host, dataset
    and name: whatever has that name has them."""

    hosts: Hosts
    visible: dict[Mount, str] = field(default_factory=dict)
    written: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    properties: dict[tuple[str, str, str], str] = field(default_factory=dict)
    concerned: set[tuple[str, str]] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)

    def begin(self, concerned: Iterable[tuple[str, str]]) -> None:
        """A run of zrep begins. concerned: the hosts and datasets it works on, with their split copies."""
        self.concerned = set(concerned)
        self.note()

    def note(self) -> None:
        """What has happened so far was not zrep's doing."""
        self.visible = self._visible()

    def power_lost(self, host: str) -> None:
        self.visible = {mount: mode for mount, mode in self.visible.items() if mount[0] != host}
        for (where, name), keys in self.written.items():
            dataset = self.hosts.world.state.hosts[where].datasets.get(name)
            if where == host and dataset is not None:
                keys -= dataset.pending.keys() - dataset.intent_log.keys() - dataset.data.keys()

    def look(self) -> None:
        now = self._visible()
        for mount, mode in self.visible.items():
            if mount not in now and not self._is_concerned(mount):
                self._say("a mount that was no business of this run is gone or hidden", mount)
            elif mode == "rw" and now.get(mount) == "ro" and not self._is_concerned(mount):
                self._say("a mount that was no business of this run is read-only", mount)
        for (host, name), keys in self.written.items():
            dataset = self.hosts.world.state.hosts[host].datasets.get(name)
            if dataset is None or keys - readable(dataset):
                self._say("acknowledged in a filesystem of no pair, and gone", (host, name))
        for (host, name, key), value in self.properties.items():
            dataset = self.hosts.world.state.hosts[host].datasets.get(name)
            setting = dataset.props.get(key) if dataset is not None else None
            if dataset is not None and (setting is None or setting.local != value):
                self._say("a property that zrep did not set is not as it was", (host, name, key))

    def _is_concerned(self, mount: Mount) -> bool:
        host, source, _ = mount
        return any(
            host == where and (source == name or source.startswith(name + "_split")) for where, name in self.concerned
        )

    def _visible(self) -> dict[Mount, str]:
        found: dict[Mount, str] = {}
        for name, host in self.hosts.world.state.hosts.items():
            machine = Machine(self.hosts.world.state, host)
            for mounted in mounts.table(host)[1:]:
                if mounts.leads(host, mounted.point).number != mounted.number:
                    continue
                if mounted.kind == "zfs":
                    mode = "ro" if mounting.readonly(machine, host.datasets[mounted.source]) else "rw"
                else:
                    mode = host.others[mounted.point]
                found[name, mounted.source, mounted.point] = mode
        return found

    def _say(self, what: str, which: tuple[str, ...]) -> None:
        if not any(line.startswith(what) for line in self.broken):
            log = self.hosts.wire.log
            self.broken.append(f"{what}: {' '.join(which)}{f' after {log[-1]}' if log else ''}")
