"""Whether the simulation would find a fault again: python -m tests.ops.mutate [NAME…] [--seconds 600] [--seed S].

Each mutation takes one mend out of a temporary copy of the source, and the simulation runs there until it finds a
violation. A mutation whose text is no longer there has to be looked at: it is refused, loudly.
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
STEPS = re.compile(r"(\d+) steps in (\d+) s")


@dataclass(frozen=True, slots=True)
class Mutation:
    """What is left out: every place is a file, a text in it and what stands there instead. layout: the only one that
    can show it, "" for any."""

    why: str
    places: tuple[tuple[str, str, str], ...]
    layout: str = ""


CHILDREN, PREFLIGHT, REJOIN = (f"zrep/ops/{name}.py" for name in ("children", "preflight", "rejoin"))
MUTATIONS = {
    "an intent log is not asked about": Mutation(
        "a role change of a master that is not mounted, or has no key, discards what only its intent log has",
        ((PREFLIGHT, "        if member.may_have_log\n", "        if False\n"),),
    ),
    "mounts where a new master belongs": Mutation(
        "a new master is mounted over what is mounted there or below",
        (
            (PREFLIGHT, "    return [*taken, *covered(host, members)]\n", "    return covered(host, members)\n"),
            ("zrep/host/changes.py", "return next(iter(hidden_by(table, dataset, point, machine.name)), None)", "pass"),
        ),
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
            (CHILDREN, "    return refuse_change(tree.name, below, readonly, host.name)\n", "    return []\n"),
            (CHILDREN, "*refuse_unmount(tree.name, below, table, place, host.name)", ""),
            (CHILDREN, '    found = refuse_change(tree.name, below, "on", host.name)\n', "    found = []\n"),
            (CHILDREN, "        if step is None:\n", "        if True:\n"),
        ),
    ),
    "the root of a pool": Mutation(
        "its role is given up before the rename that fails for ever",
        ((REJOIN, "    _refuse_pool_root(session, member, base)\n", ""),),
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
    "a pause is looked at first": Mutation(
        "a paused old master that returns stays writable",
        (
            (
                "zrep/ops/sync.py",
                "            view = prepare(session, view)\n            if not view",
                "            view = view if view.link.role.paused else prepare(session, view)\n            if not view",
            ),
        ),
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
    """Run the simulation without a mend, and print what it found."""
    with tempfile.TemporaryDirectory(prefix="zrep-mutation-") as directory:
        copy = Path(directory)
        for part in ("zrep", "tests"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        mutate(copy, mutation)
        words = ["-m", "tests.ops.simulate", "--no-shrink", "--seconds", str(seconds), "--seed", str(seed)]
        words += ["--layout", mutation.layout] if mutation.layout else []
        done = subprocess.run([sys.executable, *words], cwd=copy, capture_output=True, text=True, check=False)
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
