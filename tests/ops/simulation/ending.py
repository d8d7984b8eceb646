"""The end: everything works again, cron runs, and a person does what zrep advises. It must come to whole pairs."""

from __future__ import annotations

import re
import shlex

from tests.ops.hosts import Ended
from tests.ops.judge import OTHERS, after, base, find, settled
from tests.ops.simulation.pair import JudgedPair
from tests.ops.simulation.people import People
from tests.ops.simulation.runs import HEALED, counted
from zrep.core.role import PEER

ROUNDS = 8
OBSTACLES = 10  # that one command may meet, one after the other
ADVICE = re.compile(
    r"next: (?:on (\w+): )?.*?(?:\bon (\w+): )?zrep (?:-t (\w+) )?"
    r"(rejoin --peer -f|rejoin --peer|rejoin -f|rejoin|takeover -L|takeover|sync -f|sync|unpause)"
    r"(?: '[^']*' on (\w+))?"
)
# What a person may be told to type beside zrep.
TYPED = re.compile(
    r"(?:zfs (?:mount|unmount|load-key|set|rollback|release|destroy)|umount) [^;,]*|zfs rename \S+@\S+ \S+"
)
ENDING = re.compile(
    r"next: (?:end the others first|decide which pair is right).*?(?:on (\w+): )?zrep -t (\w+) clear( -L)?"
)
PLACE = re.compile(r"\bon (\w+): ")


def converge(simulation: People) -> None:
    simulation.history.append(HEALED)
    simulation.cut = False
    simulation.hosts.answering = {}
    for host in sorted(simulation.down):
        simulation.switch_on(host)
    for host in simulation.names:
        simulation.load_keys(host)
        simulation.hosts[host].mount_all()
    for pair in [one for one in simulation.pairs if one.root is one]:
        for host in pair.names:
            simulation.one_run(pair, host, "unpause")
    for _ in range(ROUNDS * len(simulation.pairs)):
        ended = cron(simulation)
        simulation.judge()
        if all(pair.linked() for pair in simulation.pairs) and not any(one.code for *_, one in ended):
            break
        _follow(simulation, ended)
    else:
        ends = [settled(simulation.hosts, pair.sides, pair.tag) for pair in simulation.pairs]
        raise AssertionError(f"no whole pair:\n{ends}\n{simulation.story(12)}")
    for pair in [one for one in simulation.pairs if one.root is one]:
        _there_and_back(simulation, pair)


def cron(simulation: People) -> list[tuple[JudgedPair, str, Ended]]:
    """One sync all for each host and tag."""
    seen: dict[tuple[str, str], JudgedPair] = {}
    for pair in simulation.pairs:
        for host in pair.names:
            seen.setdefault((host, pair.tag), pair)
    return [(pair, host, simulation.one_run(pair, host, "sync all")) for (host, _), pair in seen.items()]


def _follow(simulation: People, ended: list[tuple[JudgedPair, str, Ended]]) -> None:
    for told, host, one in ended:
        for line in one.text.splitlines():
            pair = _meant(simulation, told, host, line)
            if _end_pair(simulation, pair, host, line):
                return
            advised = next_command(simulation, line, host, pair)
            if advised is not None:
                counted[f"advised: {advised[2]}"] += 1
                _as_told(simulation, *advised)
                return
            if type_as_told(simulation, pair, host, line):
                return


def _meant(simulation: People, told: JudgedPair, host: str, line: str) -> JudgedPair:
    """The pair that a line is about."""
    name = line.partition(":")[0]
    found = [one for one in simulation.pairs if one.tag == told.tag and one.names.get(host) == name]
    return found[0] if found else told


Advised = tuple[JudgedPair, str, str]


def next_command(simulation: People, text: str, host: str, pair: JudgedPair) -> Advised | None:
    """What to run about which pair, and where, by zrep's own words; where it leaves the choice to a person, for the
    side to keep."""
    found = ADVICE.search(text)
    if found is None:
        return None
    first, right_before, tag, command, elsewhere = found.groups()
    where = right_before or first
    if command == "rejoin -f":
        where = pair.other[pair.keep]
        if pair.role(where, "driver") == PEER:
            where, command = pair.keep, "rejoin --peer -f"
    elif command == "takeover -L" and "FS" in text[found.start() :]:
        where = pair.keep
    where = where or elsewhere or host
    return _under(simulation, tag, where, pair), where, command


def _under(simulation: People, tag: str | None, host: str, pair: JudgedPair) -> JudgedPair:
    """The pair that its dataset on a host is in under a tag, where that is named."""
    found = [one for one in simulation.sharing(host, pair.names.get(host, "")) if one.tag == tag]
    return found[0] if found else pair


def _end_pair(simulation: People, pair: JudgedPair, host: str, text: str) -> bool:
    """A dataset is in two pairs that cannot both go on, and a person ends the one that is named first; whether so."""
    found = ENDING.search(text)
    if found is None:
        return False
    where, tag, here_only = found.groups()
    doomed = _under(simulation, tag, where or host, pair)
    if simulation.one_run(doomed, where or host, "clear -L" if here_only else "clear").code == 0:
        simulation.end(doomed)
    return True


def type_as_told(simulation: People, pair: JudgedPair, host: str, text: str) -> bool:
    """Do the part of an advice that is no command of zrep's; whether there was one."""
    _, _, advice = text.partition("next: ")
    done = False
    for found in TYPED.finditer(advice):
        command = found.group().strip().removesuffix(" and so on")
        where = [host, *PLACE.findall(advice[: found.start()])][-1]
        words = shlex.split(command)
        simulation.history.append(f"{where}: (types {command})")
        _check_whose(simulation, pair, where, words)
        if simulation.hosts[where].run(words).rc != 0:
            simulation.reboot(where)  # mounted in whatever order, it cannot be undone one by one
        if words[:2] == ["zfs", "mount"]:
            _mount_elsewhere(simulation, where, words[2])
        if words[1] in ("rollback", "release", "destroy"):
            simulation.forget_taken_away(pair, where)
        done = True
    simulation.around.note()
    return done


def _check_whose(simulation: People, pair: JudgedPair, host: str, words: list[str]) -> None:
    """Nobody is told to destroy by hand what zrep has made, unless somebody else needs it, or destroyed it on the
    master before zrep could hold it there."""
    if words[:2] != ["zfs", "destroy"]:
        return
    name, _, snapshots = words[2].partition("@")
    dataset = find(simulation.hosts, host, name)
    assert dataset is not None
    theirs = {guid for one in simulation.pairs for where, _, guid in one.watch.foreign if where == host}
    theirs |= {guid for one in simulation.pairs for guid in one.abandoned}
    for snapshot in (dataset.snapshot(each) for each in snapshots.split(",")):
        if snapshot is not None:
            known = snapshot.guid in theirs or OTHERS in snapshot.holds
            assert known, f"told to destroy what zrep has made itself: {snapshot.name}\n{simulation.story(12)}"


def _mount_elsewhere(simulation: People, host: str, name: str) -> None:
    """Where its directory cannot be made, as in a replica, a person chooses another place."""
    dataset = find(simulation.hosts, host, name)
    if dataset is not None and dataset.mounted_at is None:
        simulation.hosts[host].run(["zfs", "set", f"mountpoint=/elsewhere/{name}", name])
        simulation.hosts[host].run(["zfs", "mount", name])


def _as_told(simulation: People, pair: JudgedPair, host: str, command: str, obstacles: int = OBSTACLES) -> Ended:
    """Run it; where it says what a person must do first, do that and run it again."""
    ended = simulation.one_run(pair, host, command)
    for _ in range(obstacles):
        if ended.code == 0 or not _mended(simulation, pair, host, ended, obstacles // 3):
            break
        ended = simulation.one_run(pair, host, command)
    return ended


def _mended(simulation: People, pair: JudgedPair, host: str, ended: Ended, obstacles: int) -> bool:
    """Do what a refusal asks for; whether it asked for anything. obstacles: that what it asks for may meet itself."""
    text = ended.text
    if "remove them on" in text:
        names = re.findall(r"newer than the base @\S+ \(([^)]*)\)", text)[0].split(", ")
        _remove(simulation, pair, pair.other[host], names)
    elif "a split would move them along" in text:
        _roll_back(simulation, pair, host)
    elif "make it the master" in text:
        advised = next_command(simulation, text, host, pair)
        assert advised is not None
        _as_told(simulation, *advised, obstacles)
    elif "may not be the master any more" in text:
        _ask_who_is_master(simulation, pair, host, text, obstacles)
    elif _end_pair(simulation, pair, host, text):
        pass
    elif "stop the writer" in text or "stop what" in text:
        _stop_writers(simulation, pair)
        type_as_told(simulation, pair, host, text)
    else:
        return type_as_told(simulation, pair, host, text)
    return True


def _ask_who_is_master(simulation: People, pair: JudgedPair, host: str, text: str, obstacles: int) -> None:
    """Sync under the tag that leaves the master in doubt, and do what that advises."""
    advised = next_command(simulation, text, host, pair)
    assert advised is not None
    asked = simulation.one_run(*advised)
    doubted, where, _ = advised
    if asked.code != 0 and (then := next_command(simulation, asked.text, where, doubted)) is not None:
        _as_told(simulation, *then, obstacles)


def _remove(simulation: People, pair: JudgedPair, host: str, names: list[str]) -> None:
    dataset = pair.dataset(host)
    assert dataset is not None
    for name in names:
        simulation.history.append(f"{host}: (removes @{name})")
        _release(simulation, pair, host, f"{dataset.name}@{name}")
        simulation.destroy_named(pair, host, dataset, name)
    simulation.forget_taken_away(pair, host)


def _roll_back(simulation: People, pair: JudgedPair, host: str) -> None:
    """Children that stay where they are leave a person this way only: what was written alone is given up."""
    common = base(simulation.hosts, pair.sides)
    dataset = pair.dataset(host)
    assert dataset is not None
    newer = after(dataset, common)
    for snapshot in newer[1:]:
        _release(simulation, pair, host, f"{dataset.name}@{snapshot.name}")
    simulation.history.append(f"{host}: (rolls back to {dataset.name}@{newer[0].name})")
    simulation.hosts[host].run(["zfs", "rollback", "-r", f"{dataset.name}@{newer[0].name}"])
    simulation.forget_taken_away(pair, host)


def _release(simulation: People, pair: JudgedPair, host: str, snapshot: str) -> None:
    for tag in (pair.tag, OTHERS):
        simulation.hosts[host].run(["zfs", "release", tag, snapshot])


def _stop_writers(simulation: People, pair: JudgedPair) -> None:
    simulation.history.append("(writers stopped)")
    for host in pair.names:
        for dataset in (one.dataset(host) for one in simulation.of(pair)):
            if dataset is not None:
                dataset.mappings = 0
                simulation.hosts[host].leave(dataset.name)
        simulation.unmount_all_others(host)


def _moved_from(simulation: People, pair: JudgedPair, master: str) -> Ended:
    """The role moves away from a host; of a pulled pair the other one may have to fetch it."""
    ended = _as_told(simulation, pair, master, "failover")
    if "which is never dialled from here" in ended.text:
        return _as_told(simulation, pair, pair.other[master], "takeover")
    return ended


def _there_and_back(simulation: People, pair: JudgedPair) -> None:
    """The role moves both ways, with a write on each side, and moving nothing changes nothing."""
    for _ in range(2):
        [(master, _)] = pair.ledger.masters()
        for each in simulation.of(pair):
            simulation.act(each, master, "write")
        assert _moved_from(simulation, pair, master).code == 0, simulation.story(12)
        for *_, one in cron(simulation):
            assert one.code == 0, simulation.story(12)
        simulation.judge()
    for each in simulation.of(pair):
        held = each.held()
        assert held == [["base"], ["base"]], f"holds have piled up (17): {held}\n{simulation.story(12)}"
    for _ in simulation.kin(pair)[1:]:  # what a relay passes on goes one step further in each run
        cron(simulation)
    before = simulation.hosts.world.view()
    cron(simulation)
    assert simulation.hosts.world.view() == before, "running it again changed something (11)"
