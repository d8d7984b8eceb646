"""make pictures: what zrep shows on a terminal and in a browser, drawn by the program itself, into docs/pictures."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from zrep.cli import page, progress, rows
from zrep.core.moving import Moving
from zrep.core.state import Diagnosis, State
from zrep.ops.list import Row

FOLDER = Path(__file__).parents[1] / "docs/pictures"
NOW = 1_795_867_200
_G = 1 << 30
_ARRIVALS = tuple((NOW - 60 * n, NOW - 60 * n + seconds) for n, seconds in ((9, 4), (7, 6), (5, 21), (3, 5), (1, 4)))
ROWS = (
    Row("tank/data", "master", "beta:tank/data", Diagnosis(State.OK), NOW - 61, 61, 3 * _G, 1, "zrep", 3,
        moving=Moving(NOW - 60, NOW, 42 * _G // 20, 5 * _G), at=NOW, arrivals=_ARRIVALS),
    Row("tank/mail", "master", "beta:tank/mail", Diagnosis(State.OK), NOW - 12, 0, 0, 0, "zrep", 1),
    Row("tank/vm/web", "replica", "beta:fast/vm/web", Diagnosis(
        State.LATE, "the replica is too old",
        "it was not synced for 22m, longer than its --max-lag of 15m: does cron on beta run zrep sync all?",
        "on beta: zrep sync fast/vm/web"), NOW - 1320, 1320, 900 << 20, 4, "zrep", 2),
    Row("tank/data_split_2_0a1b2c3d", "split", "-", Diagnosis(State.SPLIT_COPY), None, None, 4096, None, "zrep"),
)  # fmt: skip
_STYLE = rows.style("", False, False, "", "", "always")


def terminal(name: str, command: str, lines: Iterable[object], width: int = 100) -> None:
    """A picture of a terminal, in the format of rich."""
    console = Console(record=True, width=width, force_terminal=True, highlight=False, file=open("/dev/null", "w"))  # noqa: SIM115  # as long as it draws
    console.print(Text(f"alpha# {command}", style="bold"))
    for line in lines:
        console.print(line)
    drawn = console.export_svg(title=command)
    # Nothing from elsewhere: whoever has no such font sees another one.
    (FOLDER / f"{name}.svg").write_text(re.sub(r"\s*@font-face \{.*?\}", "", drawn, flags=re.DOTALL))


def table(console_width: int) -> list[Text]:
    console = Console(width=console_width, force_terminal=True, highlight=False)
    return [*rows.on_terminal(ROWS, _STYLE, NOW, console), *(Text(line) for line in rows.explained(ROWS))]


def streams() -> Progress:
    """Three streams under way, as the columns of zrep.cli.progress show them."""
    now = [0.0]
    bars = Progress(*progress.columns(), get_time=lambda: now[0])
    shares = {"tank/data@zrep_00002a": 0.42, "tank/mail@zrep_000017": 0.81, "tank/vm/web@zrep_000003": 0.1}
    tasks = {bars.add_task(stream, total=5 * _G): share for stream, share in shares.items()}
    for now[0] in map(float, range(61)):
        for task, share in tasks.items():
            bars.update(task, completed=int(5 * _G * share * now[0] / 60))
    return bars


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    terminal("status", "zrep status", table(100))
    terminal(
        "watch", "zrep status --watch", [Text("zrep on alpha, 12:00:00, every 2 s; q quits", style="dim"), *table(100)]
    )
    terminal("sync", "zrep sync -v all", [streams()])
    browser = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))), "")
    if not browser:
        print("no headless Chromium: the picture of status --html stays as it is", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_text(page.page(ROWS, rows.style("", False, False, "", "", "auto"), "alpha", NOW))
        words = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1280,360"]
        picture = FOLDER / "page.png"
        subprocess.run([*words, f"--screenshot={picture}", path.as_uri()], check=True, capture_output=True, timeout=60)


if __name__ == "__main__":
    main()
