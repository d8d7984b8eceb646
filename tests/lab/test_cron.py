"""The real cron of Debian, with the line that README gives it: it replicates, and mails what has changed, once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.hosts import Host, Lab
from tests.lab.zrep_on import content, made
from tests.waiting import wait_for

pytestmark = pytest.mark.lab

README = (Path(__file__).parents[2] / "README.md").read_text()
LINE = re.search(r"^both#  (echo .*cron\.d/zrep)$", README, re.MULTILINE)
# Each mail as cron hands it over, which no host here delivers.
_SENDMAIL = r"""printf '#!/bin/sh\n{ echo "=== mail"; cat; } >> /var/log/mails\n' > /usr/sbin/sendmail
chmod +x /usr/sbin/sendmail; rm -f /var/log/mails"""
# The shell of its jobs, which notes the end of each.
_COUNTED = r"""printf '#!/bin/sh\n/bin/sh "$@"; code=$?; echo ended >> /var/log/ended; exit $code\n' \
    > /usr/local/bin/counted
chmod +x /usr/local/bin/counted; sed -i '1i SHELL=/usr/local/bin/counted' /etc/cron.d/zrep; echo > /var/log/ended"""


@pytest.fixture
def cron(lab: Lab) -> Iterator[Lab]:
    """alpha with the line of README, and no pair."""
    lab.reset()
    alpha, _ = lab
    assert LINE
    alpha.run(f"{_SENDMAIL}; {LINE[1]}; {_COUNTED}")
    yield lab
    alpha.run("kill $(cat /run/crond.pid); rm /usr/sbin/sendmail")
    lab.heal()


def linked(alpha: Host) -> None:
    made(alpha, "tank/a")
    alpha.run("zrep init tank/a beta tank/a")  # and says that alpha's clock goes another way


# What other lines of cron, and people, get where there is no pair at all: the exit status, and whether a line says so.
NOTHING_HERE = {
    "expire all": (3, True),
    "refresh all": (3, True),
    "status": (3, True),
    "status -H": (3, True),
    "history": (3, True),
    "doctor": (3, True),
    "sync tank/a": (3, True),
    "sync all --may-be-empty": (0, False),
    "expire all --may-be-empty": (0, False),
    "status -H --may-be-empty": (0, False),
    "list -H": (0, False),
    "boot": (0, False),
}


def minute(host: Host) -> None:
    """Have a cron that begins just before a minute, and wait until what it ran in that, and mailed, has ended: no test
    waits for a minute to pass."""
    before = int(host.run("wc -l < /var/log/ended").out)
    host.run(
        "[ ! -s /run/crond.pid ] || kill $(cat /run/crond.pid); while pgrep -x cron > /dev/null; do sleep 0.1; done"
    )
    host.run('date -s "@$((($(date +%s) / 60 + 1) * 60 - 2))" > /dev/null; cron')
    wait_for(
        lambda: (
            int(host.run("wc -l < /var/log/ended").out) != before
            and not host.run("pgrep -P $(cat /run/crond.pid)", check=False).out
        ),
        lambda: host.run("ps ax").out,
    )


def mails(host: Host) -> list[str]:
    """What cron has mailed, the bodies alone."""
    return [
        mail.partition("\n\n")[2] for mail in host.run("cat /var/log/mails", check=False).out.split("=== mail\n")[1:]
    ]


class TestCron:
    def test_a_host_without_any_pair_is_mailed_once(self, cron: Lab) -> None:
        alpha, _ = cron
        for command, (code, said) in NOTHING_HERE.items():
            done = alpha.run(f"zrep {command}", check=False)
            assert (done.rc, done.out, bool(re.fullmatch(r"zrep: [^\n]+; next: [^\n]+\n", done.err))) == (
                code,
                "",
                said,
            ), (
                command,
                done,
            )
        alpha.run("rm -f /run/zrep/state/*@news")
        minute(alpha)
        minute(alpha)
        [none] = mails(alpha)
        assert re.fullmatch(r"zrep: no filesystem on alpha is replicated under the tag zrep \([^\n]*\n", none), none
        linked(alpha)
        minute(alpha)
        _, over = mails(alpha)
        assert re.fullmatch(r"zrep: no filesystem on alpha[^\n]*: over after [^\n]*\n", over), over

    def test_it_replicates_and_mails_what_changes(self, cron: Lab) -> None:
        alpha, beta = cron
        linked(alpha)
        alpha.run("echo second > /tank/a/file")
        minute(alpha)
        assert content(beta, "tank/a") == "second"
        assert mails(alpha) == []

        alpha.run("echo third > /tank/a/file")
        cron.cut(beta)
        minute(alpha)
        minute(alpha)
        [down] = mails(alpha)
        assert re.fullmatch(r"zrep: tank/a: [^\n]*beta[^\n]*\n", down), down

        cron.heal()
        minute(alpha)
        _, up = mails(alpha)
        assert re.fullmatch(r"zrep: [^\n]*over after [^\n]*\n", up), up
        assert content(beta, "tank/a") == "third"
        minute(alpha)
        assert len(mails(alpha)) == 2
