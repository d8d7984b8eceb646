"""What a person at a terminal sees of streams."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import termios
import textwrap
import time

import pytest
from rich.console import Console
from rich.progress import Progress

from tests.wire.samples import EXCHANGES
from zrep.cli import progress
from zrep.cli.stages import stage
from zrep.core.pair import End
from zrep.core.requests import CarryOut, ReadMembers, Revoke
from zrep.core.steps import Hold

SAID = """
    import sys
    from zrep.cli.output import tell

    line = "zrep: tank/mail: not replicated with it: tank/mail/archive, tank/mail/of-the-year-before, tank/mail/old"
    tell(f"{line}; next: zrep init tank/mail/archive beta tank/mail/archive", error=True)
    tell("short")
"""


PROGRAM = """
    import time
    from zrep.cli.progress import StreamLines
    from zrep.host.process import Progress

    lines = StreamLines()
    for step in range(1, 5):
        for number, total in ((1, 4 << 20), (2, 0)):
            lines(f"tank/{number}@zrep_000001", Progress(step << 20, total))
        time.sleep(0.15)
    lines("tank/2@zrep_000001", None)
    print("said meanwhile")
    time.sleep(0.3)
    lines.close()
"""


def on_terminal(program: str) -> str:
    """What a program writes to a terminal of 100 columns, as text."""
    own, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "PYTHONPATH": os.pathsep.join(sys.path)}
    termios.tcsetwinsize(theirs, (24, 100))
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], env=env, stdout=theirs, stderr=theirs)
    os.close(theirs)
    found = b""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            found += os.read(own, 65536)
        except OSError:  # the program has ended
            break
    assert child.wait(10) == 0
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", found.decode())


def test_a_line_that_is_longer_than_the_terminal_is_broken_between_words() -> None:
    assert on_terminal(SAID).splitlines() == [
        "zrep: tank/mail: not replicated with it: tank/mail/archive, tank/mail/of-the-year-before,",
        "  tank/mail/old",
        "  next: zrep init tank/mail/archive beta tank/mail/archive",
        "short",
    ]


def test_each_of_several_streams_has_a_line_with_bytes_and_rate() -> None:
    shown = on_terminal(PROGRAM)
    assert re.search(r"tank/1@zrep_000001 .* 4\.0M/4\.0M \d+\.\dM/s", shown)
    assert re.search(r"tank/2@zrep_000001 .* 4\.0M +\d+\.\dM/s", shown)
    assert "said meanwhile" in shown


@pytest.mark.parametrize("width", [80, 100, 140])
def test_a_long_name_leaves_its_line_one_line(width: int) -> None:
    console = Console(width=width, file=io.StringIO(), force_terminal=True)
    bars = Progress(*progress.columns(), console=console)
    for filesystem in ("tank/a", "tank/vm/webserver-frontend-production"):
        task = bars.add_task(progress.named(f"{filesystem}@zrep_000002", console), total=999 << 30)
        bars.update(task, completed=300 << 30)
    with console.capture() as captured:
        console.print(bars)
    lines = captured.get().splitlines()
    assert len(lines) == 2
    assert all("tank/" in line and "300.0G/999.0G" in line and "--:--" in line for line in lines)


def test_nothing_of_it_is_loaded_before_the_first_line() -> None:
    program = "import sys, zrep.cli.progress; zrep.cli.progress.StreamLines().close(); print('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"


WAITING = """
    import time
    from zrep.cli import progress
    from zrep.core.requests import CarryOut, Lock, RunHooks
    from zrep.core.steps import Hold
    from zrep.core.pair import End

    progress._PATIENCE = 0.5
    lines = progress.StreamLines()
    with lines.asking("beta", Lock(("tank/a",), 5.0, "zrep")):
        pass
    hold = CarryOut((Hold(End.SOURCE, "zrep", ("tank/a@x",)),))
    with lines.asking("beta", RunHooks("before-demote", {})), lines.asking("alpha", hold):
        give_up = time.monotonic() + 60
        while lines._bars is None and time.monotonic() < give_up:
            time.sleep(0.05)
        with lines._changing:
            lines._bars.refresh()
        print("said meanwhile")
    lines.close()
"""


def test_what_is_waited_for_is_said_when_it_takes_long() -> None:
    shown = on_terminal(WAITING)
    assert re.search(r"^beta: running hooks, \d+ s", shown, re.MULTILINE)
    assert "alpha: holding snapshots, " in shown
    assert "waiting for its lock" not in shown
    assert "said meanwhile" in shown


def test_what_several_wait_for_alike_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after Ctrl-C, where each stream's end is waited for."""
    moments = iter([0.0, 1.0, 4.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(moments))
    lines = progress.StreamLines()
    lines._watching = True
    with lines.asking("beta", Revoke(("tank/a",))), lines.asking("beta", Revoke(("tank/b",))):
        assert lines.waits() == ["beta: waiting for the end of a stream, 4 s"]


def test_every_stage_has_words() -> None:
    assert all(stage(request) for request, _ in EXCHANGES)
    assert stage(ReadMembers("zrep", ("tank/a",), sync_txg=True)) == "waiting for a transaction group, and reading"
    assert stage(CarryOut((Hold(End.SOURCE, "zrep", ("tank/a@x",)),))) == "holding snapshots"
    assert stage(CarryOut(())) == "changing properties"
