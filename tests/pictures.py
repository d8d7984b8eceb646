"""make pictures: what zrep shows on a terminal and in a browser, into docs/pictures: of real runs on two of the
hosts of the lab. The terminal is that of tmux, whose screen is drawn as it is."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.lab.hosts import Host, Lab

FOLDER = Path(__file__).parents[1] / "docs/pictures"
WIDTH, HEIGHT = 100, 20
_PROMPT = "alpha# "
_SERVER = ("tmux", "-L", "zrep-pictures", "-f", "/dev/null")


@contextmanager
def terminal(host: Host, command: str) -> Iterator[str]:
    """A terminal with a shell on a host, into which a command was typed; its name for tmux."""
    name = f"p{time.monotonic_ns()}"
    size = ("-x", str(WIDTH), "-y", str(HEIGHT))
    tmux("new-session", "-d", "-s", name, *size, "--", *host.ssh("bash --norc", tty=True))
    try:
        until(name, r"\$|#")
        tmux("send-keys", "-t", name, f"PS1='{_PROMPT}'; export TERM=xterm-256color; clear", "Enter")
        until(name, rf"\A{_PROMPT.strip()}")
        tmux("send-keys", "-t", name, command, "Enter")
        yield name
    finally:
        tmux("kill-session", "-t", name)


def tmux(*words: str) -> str:
    return subprocess.run([*_SERVER, *words], check=True, capture_output=True, text=True, timeout=20).stdout


def until(name: str, wanted: str, seconds: float = 60) -> str:
    """The screen, colours and all, once it shows what is wanted."""
    give_up = time.monotonic() + seconds
    while not re.search(wanted, tmux("capture-pane", "-p", "-t", name)):
        if time.monotonic() > give_up:
            raise SystemExit(f"the terminal never showed {wanted}:\n{tmux('capture-pane', '-p', '-t', name)}")
        time.sleep(0.2)
    return tmux("capture-pane", "-e", "-p", "-t", name)


def draw(picture: str, title: str, screen: str) -> None:
    """A screen in the format of rich. Nothing from elsewhere: whoever has no such font sees another one."""
    console = Console(record=True, width=WIDTH, force_terminal=True, highlight=False, file=open("/dev/null", "w"))  # noqa: SIM115  # as long as it draws
    console.print(Text.from_ansi(screen.rstrip().removesuffix(_PROMPT.strip()).rstrip()))
    console.print()  # what hangs below the last line would be cut off
    drawn = console.export_svg(title=title)
    (FOLDER / f"{picture}.svg").write_text(re.sub(r"\s*@font-face \{.*?\}", "", drawn, flags=re.DOTALL))


def answered(host: Host, command: str) -> str:
    """The screen after a command, of the first time that its peer had room for an answer on the wire."""
    for _ in range(4):
        with terminal(host, command) as shown:
            screen = until(shown, rf"NAME(?s:.*)\n{_PROMPT.strip()}")
        if "wire to" not in screen:
            break
    return screen


def prepared(lab: Lab) -> None:
    """Pairs in both directions, one with a split copy, one that nobody syncs."""
    alpha, beta = lab
    for name in ("data", "mail", "backups", "vm/web", "home"):
        alpha.run(f"zfs create -p tank/{name}; zrep init tank/{name} beta tank/{name}")
    alpha.run("zrep failover tank/vm/web")
    beta.run("zrep changeconfig --max-lag 1m tank/vm/web")
    lab.cut(beta)
    beta.run("zrep takeover -L --yes tank/home", timeout=120)
    alpha.run("echo alone > /tank/home/file; zpool sync")
    lab.heal()
    alpha.run("zrep rejoin tank/home", timeout=120)
    for name in ("data", "mail", "backups"):
        alpha.run(f"zrep changeconfig --bwlimit 1M tank/{name}; head -c 90M /dev/urandom > /tank/{name}/file")
    time.sleep(60)  # until the one that nobody syncs is late


def main() -> None:
    if not shutil.which("tmux"):
        raise SystemExit("tmux is not installed: apt install tmux")
    FOLDER.mkdir(parents=True, exist_ok=True)
    lab = Lab.start()
    alpha = lab["alpha"]
    prepared(lab)
    with terminal(alpha, "zrep sync -v all") as syncing:
        until(syncing, r"(?s)(\d\d:\d\d.*){3}")
        time.sleep(8)
        draw("sync", "zrep sync -v all", until(syncing, r"(?s)(\d\d:\d\d.*){3}"))
        draw("list", "zrep list", answered(alpha, "zrep list"))
        draw("status", "zrep status", answered(alpha, "zrep status"))
        with terminal(alpha, "zrep status --watch") as shown:
            draw("watch", "zrep status --watch", until(shown, r"q quits\nNAME"))
        page = alpha.run("zrep status --html").out
    browser = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))), "")
    if not browser:
        print("no headless Chromium: the picture of status --html stays as it is", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_text(page)
        words = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1280,480"]
        picture = FOLDER / "page.png"
        subprocess.run([*words, f"--screenshot={picture}", path.as_uri()], check=True, capture_output=True, timeout=60)


if __name__ == "__main__":
    main()
