"""Cron's run dials whom its last one has reached before it knows its pairs; nothing but time depends on that."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.waiting import wait_for
from zrep.core.names import memory_key
from zrep.core.notes import Record
from zrep.core.requests import Lock
from zrep.core.settings import Settings
from zrep.host import notes
from zrep.host.locks import Locks
from zrep.ops.session import Session
from zrep.wire.ahead import Ahead, last_reached
from zrep.wire.messages import GREETING, encode, encode_answer

LOCK = Lock(("tank/a",), 0)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a host whose ssh notes whom it dials, answers one request, and goes on until its input ends."""
    greeting, answer = (tmp_path / name for name in ("greeting", "answer"))
    greeting.write_bytes(encode(GREETING))
    answer.write_bytes(encode_answer(1, []))
    script = tmp_path / "ssh"
    script.write_text(f"""#!/bin/sh
while [ "$1" != -- ]; do shift; done
echo "$2" >> {shlex.quote(str(tmp_path / "dialled"))}
cat {shlex.quote(str(greeting))}
while read -r line; do case "$line" in *'"Ask"'*) cat {shlex.quote(str(answer))} ;; esac; done
""")
    script.chmod(0o755)
    return Settings(ssh=str(script), run_directory=str(tmp_path / "run"))


def dialled(tmp_path: Path) -> list[str]:
    """The hosts that were dialled, in order."""
    path = tmp_path / "dialled"
    return path.read_text().split() if path.exists() else []


def run(settings: Settings, *peers: str, command: str = "sync", waits: bool = True) -> list[str]:
    """One run that asks these peers; whom it has dialled before it asked anybody."""
    folder = Path(settings.ssh).parent
    before = len(dialled(folder))
    with last_reached(command, settings) as ahead:
        begun = list(ahead.hosts)
        if waits:
            wait_for(lambda: len(dialled(folder)) == before + len(begun))
        session = Session(settings=settings, ahead=ahead)
        for peer in peers:
            assert session.host(peer).ask(LOCK) == []
        session.close()
    return begun


def test_who_was_reached_is_dialled_before_the_next_run_asks(tmp_path: Path, settings: Settings) -> None:
    assert run(settings, "beta", "gamma") == []
    assert run(settings, "beta", "gamma") == ["beta", "gamma"]
    # One connection each, of either run.
    assert sorted(dialled(tmp_path)) == ["beta", "beta", "gamma", "gamma"]


def test_who_is_not_asked_is_let_go_and_not_dialled_again(tmp_path: Path, settings: Settings) -> None:
    run(settings, "beta", "gamma")
    assert run(settings, "beta") == ["beta", "gamma"]
    assert run(settings, "beta") == ["beta"]


def test_another_command_and_another_tag_have_their_own(settings: Settings) -> None:
    run(settings, "beta")
    assert run(settings, command="refresh") == []
    assert run(settings.of("other")) == []
    assert run(settings, "beta") == ["beta"]


def test_who_did_not_answer_is_dialled_when_he_is_asked(tmp_path: Path, settings: Settings) -> None:
    run(settings, "beta")
    Path(settings.ssh).write_text("#!/bin/sh\nexit 255\n")
    with last_reached("sync", settings) as ahead:
        session = Session(settings=settings, ahead=ahead)
        with pytest.raises(Exception, match="cannot reach beta"):
            session.host("beta").ask(LOCK)
        session.close()
    assert run(settings, waits=False) == []


@pytest.mark.parametrize(
    "record",
    [
        {"hosts": ["-oProxyCommand=x"]},
        {"hosts": ["a b"]},
        {"hosts": 5},
        {"hosts": {}},
        {"hosts": None},
        {"x": ["beta"]},
    ],
    ids=str,
)
def test_what_is_no_list_of_hosts_dials_nobody(settings: Settings, record: Record) -> None:
    key = memory_key(settings.tag, ":dialled by sync")
    run(settings, "beta")
    directory = Locks(settings=settings).directory
    notes.write(directory, key, {"hosts": None, **record})
    assert run(settings, waits=False) == []


def test_nothing_is_left_of_a_connection_that_is_given_up(settings: Settings) -> None:
    ahead = Ahead()
    ahead.dial(["beta"], settings)
    taken = ahead.take("beta")
    assert taken is not None
    assert ahead.take("beta") is None
    assert Path(taken.directory).is_dir()
    taken.end()
    assert not Path(taken.directory).exists()
    assert taken.child.poll() is not None


@pytest.mark.parametrize(
    "environment", [{"ssh": "'"}, {"ssh": "/none/ssh"}, {"program": "it's"}, {"run_directory": "/proc/none"}], ids=str
)
def test_what_is_wrong_is_left_to_whoever_asks(settings: Settings, environment: Mapping[str, str]) -> None:
    run(settings, "beta")
    assert run(replace(settings, **environment), waits=False) == []
