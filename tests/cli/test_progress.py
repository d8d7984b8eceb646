"""What a person at a terminal sees of streams."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import textwrap
import time

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


def test_each_of_several_streams_has_a_line_with_bytes_and_rate() -> None:
    shown = on_terminal(PROGRAM)
    assert re.search(r"tank/1@zrep_000001 .*4\.0/4\.0 MiB .*/s", shown)
    assert re.search(r"tank/2@zrep_000001 .*4\.0/.* MiB", shown)
    assert "said meanwhile" in shown


def test_nothing_of_it_is_loaded_before_the_first_line() -> None:
    program = "import sys, zrep.cli.progress; zrep.cli.progress.StreamLines().close(); print('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"
