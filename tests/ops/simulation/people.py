"""Applications and administrators at work: what happens to the hosts that is not zrep's doing."""

from __future__ import annotations

import copy
from contextlib import suppress

from tests.model.errors import RefusalError
from tests.model.state import Dataset
from tests.ops.judge import OTHERS, find
from tests.ops.simulation.around import OTHER
from tests.ops.simulation.events import COMMANDS
from tests.ops.simulation.layouts import SPARE
from tests.ops.simulation.pair import JudgedPair
from tests.ops.simulation.runs import Runs, counted

WRITES = ("write", "fsync", "buffered", "store")


class People(Runs):
    def act(self, pair: JudgedPair, host: str, what: str, pick: int = 0) -> None:
        """One thing, by a word of events.ACTIONS and more."""
        self.history.append(f"{host}: ({what}{f' {pair.names[host]}' if len(self.pairs) > 1 else ''})")
        if what in ("cut", "heal"):
            self.cut = what == "cut"
            self.hosts.wire.cut = self.cut or bool(self.down)  # whoever lost power does not answer
            self.may_be_reached(len(self.names), self.names)
        dataset = pair.dataset(host)
        if host in self.down or dataset is None or dataset.inconsistent:
            return
        if what in WRITES:
            self._write(pair, host, what)
        elif what == "snapshot":
            self.number += 1
            self.hosts[host].sh(f"zfs snapshot {dataset.name}@by-hand-{self.number}")
            pair.watch.foreign.add((host, dataset.name, dataset.snapshots[-1].guid))
        elif what == "destroy":
            self._destroy(pair, host, dataset, pick)
        elif what == "rename" and dataset.snapshots:
            snapshot = dataset.snapshots[pick % len(dataset.snapshots)]
            self.number += 1
            self.hosts[host].sh(f"zfs rename {dataset.name}@{snapshot.name} {dataset.name}@renamed-{self.number}")
            pair.watch.foreign.add((host, dataset.name, snapshot.guid))
        elif what in ("hold", "release") and dataset.snapshots:
            snapshot = dataset.snapshots[pick % len(dataset.snapshots)]
            self.hosts[host].run(["zfs", what, OTHERS, f"{dataset.name}@{snapshot.name}"])
            if what == "hold":
                pair.watch.held_by_others.add((host, dataset.name, snapshot.guid))
            else:
                self.forget_taken_away(pair, host)
        elif what == "note":
            self._note(host, dataset.name, pick)
        elif what in ("mount", "unmount"):
            self.hosts[host].run(["zfs", what, dataset.name])
        self.around.note()

    def _note(self, host: str, name: str, pick: int) -> None:
        """A user property, with what zrep's own are called like, or what a line of zfs get looks like."""
        self.number += 1
        key = ("org.example:note", "org.example:master", "backup:sent")[pick % 3]
        value = (f"{self.number}", f"a\tb {self.number}", f"{self.number}\n{name}\tzrep:master\tyes\tlocal")[
            pick % 7 % 3
        ]
        self.hosts[host].run(["zfs", "set", f"{key}={value}", name])
        self.around.properties[host, name, key] = value

    def _write(self, pair: JudgedPair, host: str, how: str) -> None:
        """By the path, unless a file is open already: what is mounted over it takes the write, and nobody counts it."""
        self.number += 1
        key, name = f"w{self.number}", pair.names[host]
        dataset = pair.dataset(host)
        assert dataset is not None
        if dataset.mounted_at and how != "store" and self.hosts[host].leads(dataset.mounted_at) != name:
            return
        # A takeover -L of a volume that was cut left it writable: this is by hand, sync -f's to drop.
        given_up = any(one.is_replica(host) for one in self.sharing(host, name))
        try:
            if how == "store":
                self.hosts[host].store_mapped(name, key, b"mapped")
            else:
                self.hosts[host].write(name, key, b"written", flushed=how == "write", fsync=how == "fsync")
        except OSError:
            return
        if given_up:
            return
        for one in self.sharing(host, name):
            one.ledger.acknowledge(host, key)

    def _destroy(self, pair: JudgedPair, host: str, dataset: Dataset, pick: int) -> None:
        """Any snapshot that nothing holds: ZFS refuses the others."""
        free = [s for s in dataset.snapshots if not s.holds]
        if free:
            self.destroy_named(pair, host, dataset, free[pick % len(free)].name)

    def destroy_named(self, pair: JudgedPair, host: str, dataset: Dataset, name: str) -> None:
        snapshot = dataset.snapshot(name)
        if snapshot and pair.moving(host):
            pair.abandoned.add(snapshot.guid)
        done = self.hosts[host].run(["zfs", "destroy", f"{dataset.name}@{name}"])
        if snapshot and done.rc == 0:
            self.forget_taken_away(pair, host)

    def forget_taken_away(self, pair: JudgedPair, host: str) -> None:
        """A person has taken away what is in a half, in a split copy of it, or holds a snapshot there."""
        for one in self.of(pair.root):
            for each in self.sharing(host, one.names[host]):
                each.forget_taken_away(host)

    def map_or_unmap(self, pair: JudgedPair, host: str, change: int) -> None:
        dataset = pair.dataset(host)
        if host not in self.down and dataset is not None and dataset.kind != "volume":
            with suppress(OSError):
                self.hosts[host].map_file(dataset.name, change)

    def contain(self, pair: JudgedPair, host: str) -> None:
        """A container begins that has a half of a pair mounted, and maps a file of it."""
        dataset = pair.dataset(host)
        if host not in self.down and dataset is not None and dataset.mounted_at is not None:
            self.history.append(f"{host}: (a container has {dataset.name})")
            self.hosts[host].mount_elsewhere(dataset.name)
            self.map_or_unmap(pair, host, 1)

    def write_elsewhere(self, host: str, fsync: bool) -> None:
        """In a filesystem that is in no pair."""
        paired = {name for pair in self.pairs for where, name in pair.sides if where == host}
        self.number += 1
        for name in self.hosts[host].names():
            if "/" in name and name not in paired and "_split" not in name:
                with suppress(OSError):
                    self.hosts[host].write(name, f"o{self.number}", b"other", flushed=not fsync, fsync=fsync)
                    self.around.written.setdefault((host, name), set()).add(f"o{self.number}")

    # --- images ---

    def import_image(self, host: str, answers: bool) -> None:
        """An image of a host's pools is imported on the spare one. answers: to the name of that host, too."""
        known = self.hosts.world.state.hosts
        if SPARE not in known or any(SPARE in pair.names for pair in self.pairs):
            return
        self.history.append(f"{SPARE}: (imports an image of {host}{', and answers to its name' if answers else ''})")
        known[SPARE] = copy.deepcopy(known[host])
        known[SPARE].name, self.imaged = SPARE, host
        self.hosts.answering = {host: SPARE} if answers else {}
        self.around.note()

    def run_on_image(self, pair: JudgedPair, command: str) -> None:
        """Whoever works there reads and writes a copy, and changes nothing elsewhere."""
        if not self.imaged:
            self.import_image(next(iter(pair.names)), answers=False)
        if not self.imaged or self.imaged not in pair.names or SPARE in self.down:
            return
        name, hosts = pair.names[self.imaged], self.hosts
        self.number += 1
        with suppress(OSError, KeyError):
            hosts[SPARE].write(name, f"copy{self.number}", b"copy")
        for host, state in hosts.world.state.hosts.items():
            for pool in state.pools:
                hosts[host].sh(f"zpool sync {pool}")  # which zrep does too, to tell the truth of what was written
        before = {host: seen for host, seen in hosts.world.view().items() if host != SPARE}
        wire = hosts.line
        wire.reset()
        wire.cut = self.cut or bool(self.down)
        self.around.begin([(SPARE, name)])  # a lease that has run out makes a copy read-only, and may
        ended = hosts.run(SPARE, COMMANDS[command](name), force=command.endswith(" -f"), tag=pair.tag)
        self.history.append(f"{SPARE}: {command} {name}: {ended.code} {ended.text[:200]}")
        counted[f"on an image, {command}: {ended.code}"] += 1
        wire.reset()
        self.around.note()
        now = {host: seen for host, seen in hosts.world.view().items() if host != SPARE}
        assert before == now, f"an image was taken for the original\n{self.story(12)}"

    # --- mounts ---

    def mount_something(self, pair: JudgedPair, host: str, where: str, of_zfs: bool) -> None:
        """On the mountpoint of a half of a pair, below it, or on a directory that leads to it."""
        point = f"/{pair.names[host]}"
        path = {"on": point, "below": f"{point}/cache", "above": point.rpartition("/")[0]}[where]
        if host in self.down or not path or path in self.hosts.world.state.hosts[host].others:
            return
        self.history.append(f"{host}: (mounts {OTHER if of_zfs else 'a tmpfs'} on {path})")
        if of_zfs:
            with suppress(RefusalError):
                self.hosts[host].run(["zfs", "set", f"mountpoint={path}", OTHER])
        else:
            self.hosts[host].mount_other(path)
        self.around.note()

    def unmount_all_others(self, host: str) -> None:
        self.history.append(f"{host}: (unmounts what is in the way)")
        for path in [*self.hosts.world.state.hosts[host].others]:
            self.hosts[host].unmount_other(path)
        self.hosts[host].run(["zfs", "unmount", OTHER])
        self.hosts[host].run(["zfs", "inherit", "mountpoint", OTHER])
        self.around.note()

    # --- power ---

    def switch_on(self, host: str, how: str = "whole") -> None:
        """how: whole; unmounted: nobody mounts anything; without keys: what is encrypted stays closed."""
        self.history.append(f"{host}: (boot{'' if how == 'whole' else ', ' + how})")
        self.down.discard(host)
        if how != "without keys":
            self.load_keys(host)
        if how != "unmounted":
            self.hosts[host].mount_all()
        self.around.note()

    def reboot(self, host: str) -> None:
        """Shut down in order, put what is in the way back to its own place, and boot: all is mounted from the top."""
        for pool in self.hosts.world.state.hosts[host].pools:
            self.hosts[host].sh(f"zpool sync {pool}")
        self.crash(host)
        self.hosts[host].run(["zfs", "inherit", "mountpoint", OTHER])
        self.hosts[host].run(["zfs", "unmount", OTHER])
        self.switch_on(host)

    def load_keys(self, host: str) -> None:
        for dataset in list(self.hosts.world.state.hosts[host].datasets.values()):
            if dataset.encryption_root == dataset.name:
                self.hosts[host].load_key(dataset.name)

    def destroy_split_copy(self, pair: JudgedPair, host: str, pick: int) -> None:
        """One that rejoin has finished with."""
        copies = [
            name
            for name in self.hosts[host].names()
            if name.startswith(pair.names[host] + "_split") and self._finished(pair, host, name)
        ]
        if not copies or host in self.down:
            return
        doomed = copies[pick % len(copies)]
        for name, dataset in self.hosts.world.state.hosts[host].datasets.items():
            for snapshot in dataset.snapshots if name == doomed or name.startswith(f"{doomed}/") else ():
                for tag in list(snapshot.holds):
                    self.hosts[host].sh(f"zfs release {tag} {name}@{snapshot.name}")
        self.hosts[host].sh(f"zfs destroy -r {doomed}")
        self.forget_taken_away(pair, host)
        self.around.note()

    def _finished(self, pair: JudgedPair, host: str, name: str) -> bool:
        copy = find(self.hosts, host, name)
        return copy is not None and bool(pair.local(copy, "split")) and not pair.local(copy, "inprogress")
