"""All that may happen, as rules that hypothesis draws from."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from tests.ops.hosts import Mode
from tests.ops.simulation.ending import converge
from tests.ops.simulation.events import (
    ADMINISTERED,
    AT,
    BOOT,
    COMMAND,
    DEADLY,
    FAULT,
    HOST,
    LATE,
    MEANWHILE,
    MOVE,
    OVERLAP,
    PICK,
    PLACES,
    WHICH,
    Fault,
    Meanwhile,
    Overlap,
)
from tests.ops.simulation.layouts import LAYOUTS, drawn
from tests.ops.simulation.people import People
from tests.ops.simulation.runs import counted


class Simulation(People):
    """host: of the pair that is meant, alpha the one it was made on."""

    @initialize(layout=st.deferred(lambda: st.sampled_from(drawn)), keep=HOST, lease=st.sampled_from([0, 0, 300]))
    def a_pair(self, layout: str, keep: str, lease: int = 0) -> None:
        """keep: the side that a person decides for when asked; lease: seconds, on both sides."""
        counted[f"layout: {layout}"] += 1
        self.history.append(f"(layout: {layout})")
        self.start(LAYOUTS[layout], keep, lease)

    # --- applications ---

    @rule(host=HOST, how=st.sampled_from(["write", "fsync", "buffered"]), which=WHICH)
    def write(self, host: str, how: str, which: int = 0) -> None:
        pair = self.pair(which)
        self.act(pair, pair.at(host), how)

    @rule(host=HOST, change=st.sampled_from([1, 1, -1]), which=WHICH)
    def map_file(self, host: str, change: int, which: int = 0) -> None:
        """A process maps a file writable, or no longer."""
        pair = self.pair(which)
        self.map_or_unmap(pair, pair.at(host), change)

    @rule(host=HOST, which=WHICH)
    def store(self, host: str, which: int = 0) -> None:
        pair = self.pair(which)
        self.act(pair, pair.at(host), "store")

    @rule(host=HOST, which=WHICH)
    def contain_it(self, host: str, which: int = 0) -> None:
        pair = self.pair(which)
        self.contain(pair, pair.at(host))

    @rule(host=HOST, fsync=st.booleans())
    def others_write(self, host: str, fsync: bool) -> None:
        if host not in self.down:
            self.write_elsewhere(host, fsync)

    # --- administrators ---

    @rule(host=HOST, what=st.sampled_from(ADMINISTERED), pick=PICK, which=WHICH)
    def administer(self, host: str, what: str, pick: int, which: int = 0) -> None:
        pair = self.pair(which)
        self.act(pair, pair.at(host), what, pick)

    @rule(host=HOST, pick=PICK, which=WHICH)
    def destroy_a_split_copy(self, host: str, pick: int, which: int = 0) -> None:
        pair = self.pair(which)
        self.destroy_split_copy(pair, pair.at(host), pick)

    @rule(host=HOST, where=st.sampled_from(PLACES), of_zfs=st.booleans(), which=WHICH)
    def mount_in_the_way(self, host: str, where: str, of_zfs: bool, which: int = 0) -> None:
        pair = self.pair(which)
        self.mount_something(pair, pair.at(host), where, of_zfs)

    @rule(host=HOST, answers=st.booleans())
    def import_an_image(self, host: str, answers: bool) -> None:
        self.import_image(host, answers)

    @rule(command=COMMAND, which=WHICH)
    def run_on_an_image(self, command: str, which: int = 0) -> None:
        self.run_on_image(self.pair(which), command)

    @rule(host=HOST)
    def clear_the_way(self, host: str) -> None:
        if host not in self.down:
            self.unmount_all_others(host)

    # --- zrep ---

    @rule(host=HOST, command=COMMAND, which=WHICH)
    def run(self, host: str, command: str, which: int = 0) -> None:
        self._run_if_up(host, command, which)

    @rule(host=HOST, command=COMMAND, which=WHICH)
    def run_refused_by_hooks(self, host: str, command: str, which: int = 0) -> None:
        self.hosts.refusing = True
        self._run_if_up(host, command, which)
        self.hosts.refusing = False

    @rule(host=HOST, says=st.sampled_from([0, 0, 1, 2, 9]), which=WHICH)
    def fence_and_take_over(self, host: str, says: int, which: int = 0) -> None:
        """Nothing is changed unless the fence command says that the peer is off, which it then is."""
        pair = self.pair(which)
        host = pair.at(host)
        if host in self.down:
            return
        self.fence_says = says
        for pool in self.hosts.world.state.hosts[host].pools:
            self.hosts[host].sh(f"zpool sync {pool}")  # which zrep does too, to tell the truth of what was written
        before = self.hosts.world.view()
        fenced = pair.other[host] in self.down
        ended = self.one_run(pair, host, "takeover -L --fence-cmd")
        if says != 0:
            assert ended.code == 0 or self.hosts.world.view() == before, f"changed without a fence\n{self.story(12)}"
        elif not fenced and pair.other[host] in self.down:
            counted["fenced"] += 1

    @rule(host=HOST, which=WHICH)
    def part_and_take_over(self, host: str, which: int = 0) -> None:
        """A disaster: the link is cut, this side writes, the other one is promoted alone, the link is back."""
        pair = self.pair(which)
        host = pair.at(host)
        if {host, pair.other[host]} & self.down or self.cut:
            return
        self.cut_the_link()
        self.act(pair, host, "write")
        self.one_run(pair, pair.other[host], "takeover -L")
        self.heal_the_link()

    @rule(host=HOST, which=WHICH)
    def return_while_paused(self, host: str, which: int = 0) -> None:
        """The same, and the old master was paused."""
        pair = self.pair(which)
        if pair.at(host) not in self.down:
            self.one_run(pair, pair.at(host), "pause")
            self.part_and_take_over(host, which)
            self.one_run(pair, pair.at(host), "sync all")

    @rule(host=HOST, at=LATE, which=WHICH)
    def insist_under_a_mapping(self, host: str, at: int, which: int = 0) -> None:
        """Somebody insists on a role change while a process stores through a mapped file."""
        pair = self.pair(which)
        host = pair.at(host)
        if host not in self.down:
            self.map_or_unmap(pair, host, 1)
            self.one_run(pair, host, "failover --force-unmount", meanwhile=Meanwhile(at, host, "store"))

    @rule(host=HOST, mode=st.sampled_from(DEADLY), at=AT, which=WHICH)
    def die_in_a_role_change(self, host: str, mode: Mode, at: int, which: int = 0) -> None:
        """A disaster: the master, or zrep on it, dies in the middle, and the other side is promoted alone."""
        pair = self.pair(which)
        host = pair.at(host)
        if {host, pair.other[host]} & self.down or self.cut:
            return
        self.one_run(pair, host, "failover", Fault(mode, at))
        self.cut = True
        if pair.other[host] not in self.down:
            self.one_run(pair, pair.other[host], "takeover -L")
        self.heal_the_link()

    @rule(host=HOST, command=COMMAND, fault=FAULT, which=WHICH)
    def run_with(self, host: str, command: str, fault: Fault, which: int = 0) -> None:
        self._run_if_up(host, command, which, fault=fault)

    @rule(host=HOST, command=COMMAND, meanwhile=MEANWHILE, which=WHICH)
    def run_while(self, host: str, command: str, meanwhile: Meanwhile, which: int = 0) -> None:
        self._run_if_up(host, command, which, meanwhile=meanwhile)

    @rule(overlap=OVERLAP)
    def run_both(self, overlap: Overlap) -> None:
        self.overlapping(overlap)

    @rule(overlap=OVERLAP, fault=FAULT)
    def run_both_with(self, overlap: Overlap, fault: Fault) -> None:
        """The fault falls on whichever of the two is at it: a kill ends that one, a lost link is lost for both."""
        self.overlapping(overlap, fault)

    # --- the surroundings ---

    @precondition(lambda self: not self.cut)
    @rule()
    def cut_the_link(self) -> None:
        self.history.append("(cut)")
        self.cut = True

    @precondition(lambda self: self.cut)
    @rule()
    def heal_the_link(self) -> None:
        self.history.append("(heal)")
        self.cut = False

    @rule(host=HOST)
    def lose_power(self, host: str) -> None:
        self.crash(host)

    @rule(host=HOST, how=BOOT)
    def boot(self, host: str, how: str = "whole") -> None:
        if host in self.down:
            self.switch_on(host, how)

    @rule(host=HOST, how=BOOT, which=WHICH)
    def lose_power_right_after_an_fsync(self, host: str, how: str, which: int = 0) -> None:
        """The first fsync of a filesystem makes its intent log, another one is in there alone."""
        pair = self.pair(which)
        host = pair.at(host)
        for _ in range(2):
            self.act(pair, host, "fsync")
        self.crash(host)
        self.switch_on(host, how)

    @rule(host=HOST, how=st.sampled_from(["unmounted", "without keys"]), command=MOVE, which=WHICH)
    def give_up_what_is_not_mounted(self, host: str, how: str, command: str, which: int = 0) -> None:
        """The same, and nobody mounts it before its role is to move."""
        self.lose_power_right_after_an_fsync(host, how, which)
        pair = self.pair(which)
        host = pair.at(host)
        mover = host if command == "failover" else pair.other[host]
        if mover not in self.down:
            self.one_run(pair, mover, command)

    @invariant()
    def all_is_well(self) -> None:
        counted["steps"] += 1
        if self.pairs:
            self.hosts.wire.log = []
            self.look()
            self.judge()

    def _run_if_up(
        self, host: str, command: str, which: int, fault: Fault | None = None, meanwhile: Meanwhile | None = None
    ) -> None:
        pair = self.pair(which)
        if pair.at(host) not in self.down:
            self.one_run(pair, pair.at(host), command, fault, meanwhile)

    def converge(self) -> None:
        converge(self)

    def teardown(self) -> None:
        try:
            if self.pairs:
                converge(self)
        finally:
            self.directory.cleanup()
