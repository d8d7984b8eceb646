"""What cron mails: changes, not every minute."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.ops import pairs
from tests.ops.hosts import Ended, Hosts
from tests.ops.pairs import SYNC_ALL, A, good
from zrep.cli import run as running
from zrep.cli.news import suppress_repeats
from zrep.cli.parser import invoke
from zrep.core.errors import FailedError, RefusedError, UnreachableError, UsageError
from zrep.core.settings import Settings
from zrep.ops.changeconfig import Config
from zrep.ops.outcome import Outcome
from zrep.ops.session import Session
from zrep.ops.sync import sync

DAY = 86400


def cron(hosts: Hosts) -> Ended:
    return hosts.run("alpha", lambda session: suppress_repeats(session, sync(session, [])))


def mailed(ended: Ended) -> list[str]:
    return [item.error.what for item in ended.outcomes if item.error and not item.told and not item.skipped]


def test_a_peer_that_is_down_is_one_line_and_its_return_another(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts.wire.cut = True
    first = cron(hosts)
    assert (first.code, len(mailed(first))) == (5, 1)
    for _ in range(5):
        again = cron(hosts)
        assert (again.code, mailed(again)) == (5, [])
    hosts.wire.cut = False
    hosts.said.clear()
    good(cron(hosts))
    [line] = hosts.said
    assert line == "lost beta: over after 6m"
    hosts.said.clear()
    good(cron(hosts))
    assert hosts.said == []


def test_a_host_without_any_pair_is_one_line_and_the_first_pair_another(
    hosts: Hosts, capsys: pytest.CaptureFixture[str]
) -> None:
    def whole(host: str) -> tuple[int, str]:
        with hosts.session(host) as session:
            code = running.run(session, lambda: sync(session, []), only_changes=True)
        return code, capsys.readouterr().err

    code, line = whole("alpha")
    assert (code, line.count("\n")) == (3, 1)
    assert line.startswith("zrep: no filesystem on alpha is replicated under the tag zrep (nor under any other tag); ")
    for _ in range(3):
        hosts.world.pass_time(60)
        assert whole("alpha") == (3, "")
    hosts.world.pass_time(DAY)
    assert whole("alpha") == (3, line)
    pairs.linked(hosts)
    hosts.said.clear()
    assert whole("alpha") == (0, "")
    [over] = hosts.said
    assert over.startswith("no filesystem on alpha is replicated under the tag zrep: over after 1d")
    hosts.said.clear()
    assert (whole("alpha"), hosts.said) == ((0, ""), [])


def test_a_property_that_cannot_follow_is_told_once_however_well_all_else_goes(hosts: Hosts) -> None:
    """A reservation for which there is no room on the other side."""
    pairs.linked(hosts)
    hosts["alpha"].sh(f"zfs set refreservation=1M {A}")
    hosts["beta"].set_pool("tank", full=True)
    for expected in (["refreservation=1048576 could not follow to beta:tank/b"], [], []):
        assert mailed(hosts.run("alpha", with_what_it_has_left)) == expected
    assert not any("over after" in line for line in hosts.said)


def with_what_it_has_left(session: Session) -> list[Outcome]:
    """As cli/run has it: of a filesystem that is well there may be more to say."""
    outcomes = [*sync(session, []), *session.untidied]
    session.untidied.clear()
    return suppress_repeats(session, outcomes)


def test_another_trouble_is_news(hosts: Hosts) -> None:
    pairs.diverged(hosts)
    hosts.wire.cut = True
    assert len(mailed(cron(hosts))) == 1
    hosts.wire.cut = False
    assert mailed(cron(hosts)) == ["the master role has moved to tank/b on beta"]
    assert mailed(cron(hosts)) == []


def test_what_is_no_text_is_told_once_too(hosts: Hosts) -> None:
    """Somebody has written half a character into a property that is named."""
    pairs.linked(hosts)

    def run(session: Session) -> list[Outcome]:
        errors = (
            RefusedError("it knows x\udcff", advice="zrep status x\udcff"),
            UnreachableError("cannot reach x\udcff"),
        )
        outcomes = [Outcome(name, error=error) for name, error in zip((A, "tank/x"), errors, strict=True)]
        return suppress_repeats(session, outcomes)

    assert mailed(hosts.run("alpha", run)) == ["it knows x\udcff", "cannot reach x\udcff"]
    assert mailed(hosts.run("alpha", run)) == []


def test_what_stops_nothing_is_said_once(hosts: Hosts) -> None:
    """Found between OpenZFS 2.3 and 2.1, of a property: what else was sent ended it, to begin again each minute."""
    pairs.linked(hosts)
    told: list[list[bool]] = []

    def run(session: Session) -> list[Outcome]:
        done = sync(session, [])
        causes = [FailedError(f"{name} could not follow", filesystem=A) for name in ("checksum", "recordsize")]
        done += [Outcome(A, error=cause, harmless=True) for cause in causes]
        found = suppress_repeats(session, done)
        told.append([outcome.told for outcome in found])
        return found

    for minute in range(3):
        pairs.written(hosts, key=f"{minute}")
        good(hosts.run("alpha", run))
    assert told == [[False, False, False], [False, True, True], [False, True, True]]
    assert hosts.said == []


def test_it_is_said_again_after_a_day(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts.wire.cut = True
    cron(hosts)
    hosts.world.pass_time(DAY)
    assert len(mailed(cron(hosts))) == 1
    assert mailed(cron(hosts)) == []


def test_a_person_hears_it_every_time(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts.wire.cut = True
    for _ in range(2):
        assert len(mailed(hosts.run("alpha", SYNC_ALL))) == 1


def test_a_lost_record_costs_a_line(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts.wire.cut = True
    cron(hosts)
    for path in (hosts.directory / "alpha" / "state").iterdir():
        path.write_text('{"said": [1, {"tank/a": 2}]}')
    assert len(mailed(cron(hosts))) == 1
    assert mailed(cron(hosts)) == []


# --- what may heal by itself ---


@pytest.fixture
def patient(hosts: Hosts, tmp_path: Path) -> Hosts:
    """A pair whose master's cron is told of nothing that is younger than three minutes; it has a hook."""
    folder = tmp_path / "hooks.d"
    folder.mkdir()
    (folder / "note").write_text(
        f'#!/bin/sh\necho "$1|$ZREP_EVENT|$ZREP_FS|$ZREP_KIND|$ZREP_CODE|$ZREP_WHAT|$ZREP_LINE" >> {tmp_path}/told\n'
    )
    (folder / "note").chmod(0o755)
    hosts.settings = Settings(after=180, hooks=str(folder))
    pairs.linked(hosts)
    return hosts


def told(hosts: Hosts) -> list[str]:
    """What the hook was told."""
    path = hosts.directory / "told"
    return path.read_text().splitlines() if path.exists() else []


def test_a_trouble_that_is_over_before_is_not_told(patient: Hosts) -> None:
    patient.wire.cut = True
    assert [(ended.code, mailed(ended)) for ended in (cron(patient), cron(patient))] == [(5, []), (5, [])]
    patient.wire.cut = False
    good(cron(patient))
    assert (patient.said, patient.wire.logged, told(patient)) == ([], [], [])


@pytest.mark.parametrize(("said", "told_after"), [("4m", 5), ("1m", 2), ("none", 1)])
def test_what_was_said_for_the_pair_counts_more(patient: Hosts, said: str, told_after: int) -> None:
    good(patient.run("alpha", pairs.changing(A, Config(after=said))))
    patient.wire.cut = True
    found = [mailed(cron(patient)) for _ in range(6)]
    assert found == [["lost beta"] if number == told_after - 1 else [] for number in range(6)]


def test_one_that_lasts_is_told_once_with_its_end_and_so_are_hooks_and_syslog(patient: Hosts) -> None:
    patient.wire.cut = True
    assert [mailed(cron(patient)) for _ in range(5)] == [[], [], [], ["lost beta"], []]
    patient.wire.cut = False
    good(cron(patient))
    assert patient.said == ["lost beta: over after 5m"]
    line = f"{A}: lost beta (the link is cut)"
    assert told(patient) == [
        f"trouble|trouble|{A}|unreachable|5|lost beta|{line}",
        "over|over||||lost beta|lost beta: over after 5m",
    ]
    assert patient.wire.logged == [("alpha", f"trouble: {line}"), ("alpha", "over: lost beta: over after 5m")]


def test_what_a_person_must_decide_is_told_at_once(hosts: Hosts) -> None:
    hosts.settings = Settings(after=180)
    pairs.diverged(hosts)
    assert mailed(cron(hosts)) == ["the master role has moved to tank/b on beta"]


def test_a_hook_that_fails_is_said_and_stops_nothing(patient: Hosts) -> None:
    (Path(patient.settings.hooks) / "note").write_text("#!/bin/sh\necho no network; exit 4\n")
    patient.settings = replace(patient.settings, after=0)
    patient.wire.cut = True
    assert mailed(cron(patient)) == ["lost beta"]
    [said] = patient.said
    assert re.fullmatch(r"a trouble hook on alpha failed \(.*/note: exit status 4: no network\)", said)


def test_a_role_change_is_told_to_syslog_on_both_hosts(hosts: Hosts) -> None:
    pairs.linked(hosts)
    good(hosts.run("alpha", pairs.failing_over(A)))
    assert hosts.wire.logged == [
        ("alpha", f"after-demote: fs={A} tag=zrep epoch=2 peer=beta peer_fs=tank/b"),
        ("beta", f"after-promote: fs=tank/b tag=zrep epoch=2 peer=alpha peer_fs={A}"),
    ]


# --- sync --after ---


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """For how many seconds nothing is told, of each run that begins off a terminal."""
    seen: list[int] = []

    def run(session: Session, *_: object, **__: object) -> int:
        seen.append(session.settings.after)
        return 0

    monkeypatch.setattr(running, "run", run)
    return seen


@pytest.mark.parametrize("command", ["sync", "refresh"])
@pytest.mark.parametrize(("said", "seconds"), [("10m", 600), ("none", 0), ("0", 0)])
def test_one_line_of_cron_says_its_own_time(heard: list[int], command: str, said: str, seconds: int) -> None:
    assert invoke([command, "all", "--after", said], Settings(after=180)) == 0
    assert invoke([command, "all"], Settings(after=180)) == 0
    assert heard == [seconds, 180]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["all", "--after", "soon"], "--after 'soon' is no time (expected 90s, 15m, 2h, or none)"),
        ([A, "--after", "10m"], "--after goes with all (a run over filesystems that are named tells everything)"),
    ],
)
def test_what_after_is_not(heard: list[int], words: list[str], says: str) -> None:
    with pytest.raises(UsageError) as refused:
        invoke(["sync", *words], Settings())
    assert (refused.value.line(), heard) == (says, [])
