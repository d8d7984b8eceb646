"""Whether a fault would be found again: python -m tests.ops.mutate [NAME…] [--seconds 600] [--seed S].

Each mutation takes one mend out of a temporary copy of the source, and the simulation runs there until it finds a
violation. What the simulation does not know of, as hosts that a person mistakes for others, or what is printed, its
tests must find. A mutation whose text is no longer there has to be looked at: it is refused, loudly.
"""

from __future__ import annotations

import argparse
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOUND = re.compile(r"violation with seed (\d+): (.*)")
FAILED = re.compile(r"^FAILED (\S+)", re.MULTILINE)
STEPS = re.compile(r"(\d+) steps in (\d+) s")


@dataclass(frozen=True, slots=True)
class Mutation:
    """What is left out: every place is a file, a text in it and what stands there instead. layout: the only one that
    can show it, "" for any; tests: those that show it instead of the simulation, a file of tests/ops and, after a
    blank, an expression of their names."""

    why: str
    places: tuple[tuple[str, str, str], ...]
    layout: str = ""
    tests: str = ""


CHILDREN, PREFLIGHT, REJOIN, SYNC, TAGS, ASK_FIRST = (
    f"zrep/ops/{name}.py" for name in ("children", "preflight", "rejoin", "sync", "tags", "ask_first")
)
DATASET, DIAGNOSIS, DIAGNOSIS_DATA, FIRST, PLAN_SPLIT = (
    f"zrep/core/{name}.py" for name in ("dataset", "diagnosis", "diagnosis_data", "plan_first_stream", "plan_split")
)
COPIED, TREE = (f"zrep/core/{name}.py" for name in ("plan_copied_properties", "tree"))
MUTATIONS = {
    "an intent log is not asked about": Mutation(
        "a role change of a master that is not mounted, or has no key, discards what only its intent log has",
        (
            (PREFLIGHT, "        if member.key_missing\n    ]\n", "        if False\n    ]\n"),
            (
                "zrep/core/plan_role.py",
                "    if member.volume or member.mounted or member.key_missing:\n",
                "    if True:\n",
            ),
        ),
        layout="encrypted volume",
    ),
    "mounts where a new master belongs": Mutation(
        "a new master is mounted over what is mounted there or below",
        (
            (
                PREFLIGHT,
                "    return [*taken, *used, *_unmakable(host, members, wanted, table), *covered(host, members)]\n",
                "    return [*_unmakable(host, members, wanted, table), *covered(host, members)]\n",
            ),
            ("zrep/host/changes.py", "return next(iter(hidden_by(table, dataset, point, machine.name)), None)", "pass"),
        ),
    ),
    "a directory that cannot be made": Mutation(
        "a new master cannot be mounted: its directory would be in a replica",
        ((PREFLIGHT, "    found = host.ask(FindUnmakable(tuple(places))) if places else []\n", "    found = []\n"),),
        layout="parent and child",
    ),
    "mounts over a master": Mutation(
        "a remount or an unmount by the path hits what somebody mounted over the master",
        (
            (PREFLIGHT, "    return [error for error in found if error is not None]\n", "    return []\n"),
            (
                "zrep/host/changes.py",
                "return unreachable_by_path(parse.parse_mountinfo(machine.mountinfo()), dataset, point, machine.name)",
                "return None",
            ),
        ),
    ),
    "children of nobody": Mutation(
        "a role change hands its readonly down to children, and a rejoin unmounts them",
        (
            (
                CHILDREN,
                "    return refuse_change(tree.name, below_and_outside(host, tag, tree), readonly, host.name)\n",
                "    return []\n",
            ),
            (
                CHILDREN,
                "            found += refuse_unmount(member.name, below, ",
                "            refuse_unmount(member.name, below, ",
            ),
            (CHILDREN, '    found = refuse_change(tree.name, below, "on", host.name)\n', "    found = []\n"),
            (CHILDREN, "    for one_by_one in (False, True):\n", "    for one_by_one in tuple[bool]():\n"),
        ),
    ),
    "children that are told of": Mutation(
        "nobody says that a child is not replicated",
        ((CHILDREN, "    return {name: what for name, what in found if what is not None}\n", "    return {}\n"),),
        tests="test_children.py nobody_replicates",
    ),
    "a mapped file under those who insist": Mutation(
        "what is stored through a mapping after the final snapshot is acknowledged and lost",
        ((PREFLIGHT, "        if users.mapped or users.unseen:\n", "        if False:\n"),),
        layout="filesystem",
    ),
    "what is received is set again": Mutation(
        "a rejoin loses the received properties of the old master",
        ((PLAN_SPLIT, 'if value.source in ("local", "received") and', 'if value.source == "local" and'),),
        tests="test_rejoin.py whatever_is_set",
    ),
    "the root of a pool": Mutation(
        "its role is given up before the rename that fails for ever",
        (
            (
                "zrep/ops/split.py",
                "            _refuse_pool_root(session, member, bases[member.name])\n",
                "            pass\n",
            ),
        ),
        layout="pool root",
    ),
    "a refused rejoin is taken back": Mutation(
        "hooks that were told before-demote hear no more",
        (
            (
                REJOIN,
                '        hooks.take_one_back(session, session.local, "not-demoted", name, peer, epoch)\n',
                "",
            ),
        ),
    ),
    "one role whatever the tag": Mutation(
        "a replica under one tag gives its role away under another: two masters",
        ((TAGS, "        if error := refuse(member.name, host.name, tag, others):\n", "        if error := None:\n"),),
        tests="test_tags.py",
    ),
    "tags take turns": Mutation(
        "of two tags that begin in the same minute one starves",
        ((SYNC, "    if turn := _in_turn(session, taken):\n", "    if turn := dict[str, str]():\n"),),
        tests="test_busy.py",
    ),
    "a lock that is held for long": Mutation(
        "a replica starves behind a lock, and cron says nothing",
        ((SYNC, "    found = busy_for_long(session, link, holder)\n", "    found = None\n"),),
        tests="test_busy.py news",
    ),
    "no property of any tag travels": Mutation(
        "a replica has the roles of other pairs: a takeover with its tag forgotten makes a second master",
        (
            (FIRST, "*properties_of_tags(own)", "*()"),
            (DATASET, "    if only_received(tag, role, properties) and all(", "    if False and all("),
            ("zrep/host/reads.py", "    if not only_received(request.tag, role, properties):\n", "    if True:\n"),
        ),
        tests="test_tags.py travels or takeover",
    ),
    "who is who": Mutation(
        "an image of the master's pool is accepted as the master",
        (
            (DIAGNOSIS, "differs(own_and_peer(member.role.places)[0], member.place)", '""'),
            (DIAGNOSIS, " or met_elsewhere(mine, theirs)\n", "\n"),
        ),
        tests="test_places.py",
    ),
    "a master that answers is asked first": Mutation(
        "takeover -L makes a second master while the first one answers",
        (
            (
                ASK_FIRST,
                "    if theirs is None or (isinstance(theirs, Member)",
                "    if True or (isinstance(theirs, Member)",
            ),
        ),
        tests="test_forced.py answers",
    ),
    "what zrep made is known by more than a name": Mutation(
        "an administrator's snapshot is taken for zrep's own, sent, counted, destroyed",
        ((DATASET, " and (self.made or self.sent is not None or tag in self.holds)", ""),),
        tests="test_foreign.py",
    ),
    "a foreign snapshot on a raw replica": Mutation(
        "it is called a change, and sync -f does not help",
        (
            (
                DIAGNOSIS_DATA,
                "base, obstacles) if obstacles and master.sent_raw else None\n",
                "base, obstacles) if False else None\n",
            ),
        ),
        layout="encrypted",
    ),
    "a power loss is no change": Mutation(
        "an encrypted replica is called changed by hand after it",
        (("zrep/host/reads.py", "    if not suspect:\n", "    if True:\n"),),
        tests="test_foreign.py",
    ),
    "encrypted as its parent": Mutation(
        "a plain source arrives as plain text below an encrypted filesystem",
        (
            (
                FIRST,
                "    return stream if stream.token else replace(stream, exclude=",
                "    return stream or replace(stream, exclude=",
            ),
        ),
        tests="test_foreign.py encrypted",
    ),
    "a key that opens it no more": Mutation(
        "the new master cannot be mounted: its key was changed since it was loaded",
        (
            (
                PREFLIGHT,
                "    loaded = [m for m in members if m.encrypted and not m.key_missing and m.snapshots]\n",
                "    loaded: list[Member] = []\n",
            ),
        ),
        tests="test_foreign.py loaded_key or final_stream",
    ),
    "a pause is looked at first": Mutation(
        "a paused old master that returns stays writable",
        (
            (
                "zrep/ops/sync.py",
                "            view = prepare(session, view)\n            if view",
                "            view = view if view.link.role.paused else prepare(session, view)\n            if view",
            ),
        ),
    ),
    "clones": Mutation(
        "a clone inside a tree arrives as a full copy",
        (
            (
                TREE,
                '    owners = {name: member.get("origin").partition("@")[0] for name, member in arriving.items()}\n',
                "    owners = dict[str, str]()\n",
            ),
        ),
        tests="test_tree_clones.py",
    ),
    "promoted clones": Mutation(
        "a promotion on the master is not repeated: all of the clone is sent again, or its origin set aside",
        ((TREE, "    if promoted := _promoted(pair):\n", "    if promoted := None:\n"),),
        tests="test_tree_clones.py promoted",
    ),
    "what is left out of a tree": Mutation(
        "an excluded member travels, and stops role changes",
        ((TREE, "role.excluded or role.gone is not None or role.paired", "role.gone is not None or role.paired"),),
        tests="test_excluded.py",
    ),
    "properties that follow": Mutation(
        "what is set on the master after init never comes to the replica",
        (
            (
                COPIED,
                "        if _theirs(name, value, ours):\n            continue\n",
                "        if name:\n            continue\n",
            ),
        ),
        tests="test_properties.py",
    ),
    "properties of an administrator": Mutation(
        "what an administrator has set on the replica is overwritten",
        ((COPIED, "        if _theirs(name, value, ours):\n            continue\n", ""),),
        tests="test_properties.py",
    ),
    "the set is held": Mutation(
        "the newest complete set is let go of before a later one is complete",
        (("zrep/core/plan_data.py", '    return found.guid if found else ""\n', '    return ""\n'),),
        tests="test_tree_sets.py",
    ),
    "the set that a promotion goes to": Mutation(
        "after takeover -L a database and its log are of two moments",
        (("zrep/core/sets.py", "    if last is None:\n", "    if True:\n"),),
        tests="test_tree.py complete_set",
    ),
    "one key for a tree": Mutation(
        "after a promotion each member wants a key of its own",
        (("zrep/core/plan_keys.py", "    for lane in pair.lanes[1:]:\n", "    for lane in pair.lanes[:0]:\n"),),
        tests="test_tree_keys.py",
    ),
    "a key that was changed": Mutation(
        "a passphrase that was changed on the master opens the replica no more",
        (
            (
                "zrep/core/plan_keys.py",
                "    return source.sent_raw and salts[0] != salts[1] and not set(salts) & set(_NO_SALT)\n",
                "    return False\n",
            ),
        ),
        tests="test_tree_keys.py changed",
    ),
    "members that are gone": Mutation(
        "what was destroyed on the master stays a member on the replica, and is promoted",
        ((TREE, "    if free:\n", "    if False:\n"),),
        tests="test_tree.py destroyed",
    ),
    "members that are gone and in use": Mutation(
        "expire --gone removes what somebody uses",
        (("zrep/core/plan_gone.py", "        if which:\n", "        if False:\n"),),
        tests="test_gone.py",
    ),
    "members that are new": Mutation(
        "a member that was made since init is never sent",
        (
            (
                "zrep/core/pair.py",
                "taken) for source in self.source.members)\n",
                "taken) for source in self.source.members if source.name in partners)\n",
            ),
        ),
        tests="test_tree.py new_child",
    ),
    "members that are renamed": Mutation(
        "what was renamed on the master is set aside, or sent again",
        (
            (
                TREE,
                '            return _renamed(pair, there[has], place, "renamed with its source")\n',
                "            continue\n",
            ),
        ),
        tests="test_tree.py rename",
    ),
    "members that swap names": Mutation(
        "two that have swapped their names are in each other's way",
        ((TREE, "        if there[place].snapshots and (away :=", "        if False and (away :="),),
        tests="test_tree.py rename",
    ),
    "members that come back": Mutation(
        "what was left out for a while is sent again in full",
        ((TREE, "    if back := _taken_back(pair):\n", "    if back := None:\n"),),
        tests="test_excluded.py taken_in_again",
    ),
    "a receive that nobody is left for": Mutation(
        "after a cut in silence a pair is busy until the kernel finds out",
        (
            (
                "zrep/ops/locking.py",
                "EndReceive(name, _QUIET_SECONDS)) for name in taken)",
                "EndReceive(name, _QUIET_SECONDS)) for name in taken[:0])",
            ),
        ),
        tests="test_busy.py left_for",
    ),
    "a readonly that holds under another mount": Mutation(
        "a promotion fails for ever on what zfs says of the mount",
        (("zrep/zfs/errors.py", "_SET_ALL_THE_SAME if _sets_readonly(step) else ", ""),),
    ),
}


def mutate(copy: Path, mutation: Mutation) -> None:
    for file, text, instead in mutation.places:
        source = (copy / file).read_text()
        if source.count(text) != 1:
            sys.exit(
                f"{file} has this {source.count(text)} times, not once; the mutation must be written anew:\n{text}"
            )
        (copy / file).write_text(source.replace(text, instead))


def find(name: str, mutation: Mutation, seconds: int, seed: int) -> bool:
    """Run the simulation, or tests, without a mend, and print what was found."""
    with tempfile.TemporaryDirectory(prefix="zrep-mutation-") as directory:
        copy = Path(directory)
        for part in ("zrep", "tests"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        mutate(copy, mutation)
        if mutation.tests:
            file, _, named = mutation.tests.partition(" ")
            words = ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/ops/{file}", "-k", named]
        else:
            words = ["-m", "tests.ops.simulate", "--no-shrink", "--seconds", str(seconds), "--seed", str(seed)]
            words += ["--layout", mutation.layout] if mutation.layout else []
        done = subprocess.run([sys.executable, *words], cwd=copy, capture_output=True, text=True, check=False)
    if mutation.tests:
        failed = FAILED.search(done.stdout)
        print(f"{name}: {f'found by {failed[1]}' if failed else 'NOT FOUND'}", flush=True)
        return failed is not None
    found, steps = FOUND.search(done.stdout), STEPS.search(done.stdout)
    after = f"{steps[1]} steps, {steps[2]} s" if steps else f"it did not run: {done.stderr[-300:]}"
    print(f"{name}: {f'found with seed {found[1]}' if found else 'NOT FOUND'} after {after}", flush=True)
    if found:
        print(f"    {found[2][:200]}", flush=True)
    return found is not None


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.ops.mutate")
    parser.add_argument("names", nargs="*", help=f"of: {'; '.join(MUTATIONS)}")
    parser.add_argument("--seconds", type=int, default=600, help="for each")
    parser.add_argument("--seed", type=int, default=None, help="of the first round")
    given = parser.parse_args(argv)
    seed: int = secrets.randbelow(1_000_000_000) if given.seed is None else given.seed
    chosen = {name: MUTATIONS[name] for name in given.names or MUTATIONS}
    found = [find(name, mutation, given.seconds, seed) for name, mutation in chosen.items()]
    return 0 if all(found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
