"""A million broken inputs each way: into the helper, out of it, and as command lines for ssh.

    python -m tests.wire.fuzz --inputs 1000000 --seed 1

Each is valid text that was broken (mutate). What reads it may take it, or raise the one typed error; anything else ends
this with the input. Printed at the end, for each way: how many were taken, how many refused, and the peak of memory.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Sequence
from random import Random

from tests.wire import samples
from tests.wire.mutate import mutated
from tests.wire.test_ssh import LINES as COMMAND_LINES
from zrep.core.errors import RefusedError
from zrep.wire import messages, ssh
from zrep.wire.messages import Answered, Ask, Failed, MalformedError
from zrep.zfs.errors import as_error

_REQUESTS = [messages.encode(Ask(7, request)).removesuffix(b"\n") for request, _ in samples.EXCHANGES]
_ANSWERS = [messages.encode_answer(7, answer).removesuffix(b"\n") for _, answer in samples.EXCHANGES]
_FAILED = messages.encode(Failed(7, samples.FAILURE)).removesuffix(b"\n")
_COMMANDS = [line.encode() for line, _ in COMMAND_LINES]


def to_helper(random: Random) -> bool:
    """One input to the helper; whether it was taken for a request."""
    try:
        messages.read_for_helper(mutated(random.choice(_REQUESTS), random))
    except MalformedError:
        return False
    return True


def from_helper(random: Random) -> bool:
    """One input from the helper, to whoever waits for an answer."""
    index = random.randrange(len(_ANSWERS) + 1)
    line = _ANSWERS[index] if index < len(_ANSWERS) else _FAILED
    try:
        said = messages.read_from_helper(mutated(line, random))
        if isinstance(said, Answered):
            messages.read_answer(samples.EXCHANGES[index % len(_ANSWERS)][0], said.answer)
        elif isinstance(said, Failed):
            as_error(said.failure).line()
    except MalformedError:
        return False
    return True


def command_line(random: Random) -> bool:
    """One command line, as sshd would hand it to whoever admits only zrep's."""
    line = mutated(random.choice(_COMMANDS), random).decode(errors="surrogateescape")
    try:
        found = ssh.parse(line)
    except RefusedError:
        return False
    assert ssh.build(found) == line
    return True


WAYS: Sequence[Callable[[Random], bool]] = (to_helper, from_helper, command_line)


def fuzz(way: Callable[[Random], bool], inputs: int, seed: int) -> tuple[int, int]:
    """So many inputs; how many were taken, and by how many bytes the peak of this process's memory grew meanwhile."""
    random = Random(seed)
    for _ in range(1000):
        way(random)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    taken = 0
    for number in range(inputs):
        try:
            taken += way(random)
        except BaseException:
            print(f"{way.__name__}: input {number} of seed {seed}")
            raise
    return taken, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for way in WAYS:
        started = time.monotonic()
        taken, grown = fuzz(way, options.inputs, options.seed)
        seconds = time.monotonic() - started
        print(
            f"{way.__name__}: {options.inputs} inputs, {taken} taken, {options.inputs - taken} refused, "
            f"{seconds:.0f} s, peak of memory {grown / 2**20:.1f} MiB higher",
            flush=True,
        )


if __name__ == "__main__":
    main()
