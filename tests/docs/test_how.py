"""HOW DO I in zrep(8): every answer with commands is among those that tests/lab/test_how.py types on two real hosts."""

from __future__ import annotations

import re
from pathlib import Path

from msgspec import Struct

MAN = Path(__file__).parents[2] / "man/zrep.8"


class Answer(Struct, frozen=True):
    """What a question is answered by, and how it shows that it did."""

    question: str
    on: str
    """The host on which lines are typed that name none."""
    sees: tuple[str, str, str]
    """A host, a command there, and what its output then has in it."""
    block: int = 0
    """Which one of the answer's blocks of commands."""
    before: str = ""
    """What is done on that host before."""


def got(host: str, name: str, value: str) -> tuple[str, str, str]:
    return host, f"zfs get -H -o value {name} tank/data", f"^{value}\n"


PAIR = "zrep status -H -o name,role,state"
TEXTFILES = "/var/lib/prometheus/node-exporter"
# On alpha: as it was before there was any pair.
AGAIN = (
    "zrep clear tank/data; zfs inherit -r zrep:exclude tank/data; zfs set readonly=off canmount=on tank/data; "
    "ssh beta zfs destroy -r tank/data"
)

# In an order in which two hosts can take them all.
ANSWERS = [
    Answer("begin with a disk that is carried over?", "alpha", ("beta", PAIR, "tank/data\treplica\tok\n")),
    Answer(
        "replicate a filesystem with all below it?",
        "alpha",
        ("beta", "zrep sync all; ssh alpha zrep sync all; zfs list -H -o name", "tank/data/tmp\n"),
        block=1,
    ),
    Answer(
        "leave out something that is below a tree?",
        "alpha",
        ("alpha", "zfs get -H -o value zrep:exclude tank/data/tmp", "^on\n"),
    ),
    Answer("keep 30 daily and 12 monthly snapshots?", "beta", got("beta", "zrep:keep", "30d 12m")),
    Answer("limit what a stream takes of the wire?", "alpha", got("alpha", "zrep:bwlimit", "10M")),
    Answer(
        "watch it with a monitor?",
        "alpha",
        ("alpha", f"cat {TEXTFILES}/zrep.prom", "^zrep_pair_"),
        before=f"mkdir -p {TEXTFILES}",
    ),
    Answer("see how far a stream is?", "alpha", ("alpha", "cat /root/shown", "tank/data ")),
    Answer(
        "have a second replica?",
        "alpha",
        ("alpha", "zrep -t offsite status -H -o role,state tank/data", "^master\tok\n"),
    ),
    Answer("look at what is on the replica?", "beta", ("beta", "cat /tank/data/file", "^first\n")),
    Answer("stop it for a while, for a maintenance?", "alpha", ("alpha", PAIR, "tank/data\tmaster\tok\n")),
    Answer(
        "see that the replica is good, without moving the role?",
        "beta",
        ("beta", PAIR, "replica\tok\n"),
    ),
    Answer("get one file back?", "beta", ("beta", "cat /root/file", "^first\n")),
    Answer("move the role to the other host, and back?", "alpha", ("alpha", PAIR, "tank/data\tmaster\tok\n")),
    Answer(
        "know what was done, when, and by whom?",
        "alpha",
        ("alpha", "zrep history tank/data", "alpha:tank/data  master, epoch 3"),
    ),
    Answer("reach the other host by another name or address?", "alpha", ("alpha", PAIR, "tank/data\tmaster\tok\n")),
    Answer(
        "get room back in a pool that is nearly full?",
        "alpha",
        ("alpha", "zfs list -H -d 1 -t snapshot -o name tank/data | grep -c @zrep_", "^2$"),
    ),
    Answer("do without root?", "alpha", ("alpha", "zfs allow tank/data", "user backup .*send")),
    Answer(
        "let go of a filesystem, or uninstall zrep?",
        "alpha",
        ("beta", "zfs get -H -o value zrep:master tank/data", "^-\n"),
    ),
    Answer(
        "replicate a filesystem with all below it?",
        "alpha",
        ("beta", "zfs list -H -o name", "tank/data/tmp\n"),
        before=AGAIN,
    ),
    Answer(
        "let the host of the replica do everything, so that nobody logs in to it?",
        "beta",
        ("beta", PAIR, "tank/data\treplica\tok\n"),
        before=f"ssh alpha '{AGAIN}'",
    ),
]
# Those whose answer is no command of its own: words, or a recipe of zrep-recovery(7), which has its own tests.
WORDS = {
    "replicate what is encrypted, and keep its key here?",
    "come from syncoid, zrepl, or the shell zrep?",
    "get a mail when something is wrong?",
    "go on after the link was cut?",
    "give the other host a key that is good for less?",
    "upgrade both hosts?",
    "replace the disks of one side?",
    "move a pool to another host?",
    "have ssh use another port, user or key?",
    "run it every five minutes, or once in the night?",
    "rename a filesystem?",
    "know what exit status 3 means?",
    "mend what is broken?",
}


def questions() -> dict[str, list[list[str]]]:
    """The page's questions; of each its blocks of lines to type."""
    section = MAN.read_text().partition("\n.Sh HOW DO I\n")[2].partition("\n.Sh ")[0]
    asked = re.findall(r"^\.It ([^\n]*)\n(.*?)(?=^\.It |^\.El)", section, re.MULTILINE | re.DOTALL)
    return {
        question: [block.splitlines() for block in re.findall(r"^\.Bd .*?\n(.*?)^\.Ed$", text, re.M | re.S)]
        for question, text in asked
    }


def test_every_answer_is_typed_and_what_is_typed_is_there() -> None:
    asked = questions()
    blocks = {(question, n) for question, answer in asked.items() for n in range(len(answer))}
    assert blocks == {(answer.question, answer.block) for answer in ANSWERS}
    assert {question for question, answer in asked.items() if not answer} == WORDS
