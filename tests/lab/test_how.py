"""HOW DO I in zrep(8): the commands of every answer, read from the page, do on two real hosts what was asked."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.docs.test_how import ANSWERS, Answer, questions
from tests.lab.hosts import Lab
from tests.lab.zrep_on import made

pytestmark = pytest.mark.lab

# What the page names and the lab has under another name.
NAMES = {"gamma": "beta-alias", "backup/data": "small/data"}
DISK = "/mnt/usb"
SCREEN = "/root/shown"


def typed(lab: Lab, on: str, line: str) -> None:
    """Type a line as the page has it, on the host that it names or else on this one."""
    named, _, command = line.rpartition("# ")
    for name, ours in NAMES.items():
        command = command.replace(name, ours)
    if "--watch" in command:  # on a terminal, until somebody has seen enough
        shown = f"TERM=xterm script -q -f -c {shlex.quote(command)} {SCREEN}"
        seen = f"until grep -q tank/data {SCREEN}; do sleep 0.1; done"
        command = f"(sleep 60 | {shown} > /dev/null & {seen}; kill $!) 2> /dev/null"
    if f"< {DISK}" in command:  # carried over
        command = f"mkdir -p {DISK}; scp -q alpha:{DISK}/seed {DISK}; {command}"
    elif DISK in command:
        command = f"mkdir -p {DISK}; {command}"
    lab[named or on].run(command, timeout=120)


def answered(lab: Lab, answer: Answer) -> None:
    if answer.before:
        lab[answer.on].run(answer.before)
    for line in questions()[answer.question][answer.block]:
        typed(lab, answer.on, line)
    host, look, shows = answer.sees
    out = lab[host].run(look, timeout=120).out
    assert re.search(shows, out, re.MULTILINE), (answer.question, out)


class TestHow:
    @pytest.mark.thorough
    def test_the_answers_do_what_was_asked(self, lab: Lab) -> None:
        lab.reset()
        made(lab.alpha, "tank/data")
        lab.alpha.run("zfs create tank/data/tmp")
        for answer in ANSWERS:
            answered(lab, answer)
