"""A role change that is ended from outside, and once more while it is undone: its one line says what is left."""

from __future__ import annotations

import pytest

from tests.ops import pairs
from tests.ops.hosts import Hosts, Work
from tests.ops.pairs import A, B, value
from zrep.core.errors import AGAIN

READ_ONLY = "tank/a on alpha is read-only until the role change is finished or undone"
MOVED = "the role has moved: tank/b on beta is master now"


def ended_at(hosts: Hosts, host: str, work: Work, first: int, second: int) -> str | None:
    """The line of a run that is ended before its commands of these numbers; None: it came to its end before."""
    hosts.wire.reset()
    numbers = {first, second}

    def pressed() -> None:
        if len(hosts.wire.log) in numbers:
            numbers.discard(len(hosts.wire.log))
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, hosts.session(host) as session:
        patch.setattr(hosts.wire, "before", pressed)
        try:
            work(session)
        except KeyboardInterrupt:
            return session.interrupted().line()
    return None


@pytest.mark.parametrize(("host", "work"), [("alpha", pairs.failing_over(A)), ("beta", pairs.taking_over(B))])
@pytest.mark.parametrize("again", [0, 3], ids=["once", "twice"])
def test_the_line_says_what_is_left(hosts: Hosts, host: str, work: Work, again: int) -> None:
    pairs.linked(hosts)
    begin = hosts.world.dump()
    said: set[str] = set()
    for number in range(60):
        hosts.load(begin)
        line = ended_at(hosts, host, work, number, number + again if again else -1)
        if line is None:
            break
        masters = [value(hosts, "alpha", A, "zrep:master"), value(hosts, "beta", B, "zrep:master")]
        left = [READ_ONLY] if value(hosts, "alpha", A, "readonly") == "on" else []
        left = [MOVED] if "yes" in masters[1] else left
        assert line.endswith(f"; next: {AGAIN}"), (number, line)
        told = [text for text in (READ_ONLY, MOVED) if text in line]
        assert set(told) >= set(left) if again else told == left, (number, line, masters)
        said |= set(told)
    else:
        raise AssertionError("it did not come to its end")
    assert said == {READ_ONLY, MOVED}
