"""Every command line that crosses ssh is read back as what it was built of, and no other is."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.mutate import mutated
from zrep.core import shape
from zrep.core.errors import RefusedError, UsageError
from zrep.core.names import STREAM_MARK
from zrep.core.pair import End
from zrep.core.steps import SendStream
from zrep.wire import ssh
from zrep.wire.line import helper, ssh_words
from zrep.wire.ssh import Admitted, Helper, Line, Receiver, Sender
from zrep.zfs.stream_words import Receiving, Sending

TOKEN = "1-c1f1aeb59-c8-789c636064000310a500"
GRANTED = ("/var/run/zrep/tank%b c.receive", "4711.0123456789abcdef")


def step(**parts: Any) -> SendStream:
    return SendStream(End.SOURCE, **{"snapshot": "tank/a@zrep_000002", "target": "tank/b c", **parts})


FULL = step(options=("-p", "-L", "-e", "-c"), exclude=("zrep:gen", "mountpoint"), override=(("readonly", "on"),))
INCREMENT = step(base="tank/a@zrep_000001", options=("-w",))
RESUMED = step(token=TOKEN)
FILTERED = step(base="tank/a@zrep_000001", outfilter="pigz -1 | mbuffer", infilter="mbuffer | pigz -d")
SHAPED = step(base="tank/a@zrep_000001", outfilter="tee x", infilter="tee y", compress="zstd", bwlimit=10485760)
BARE = Sending("tank/a@zrep_000002")
SENT = Sending("tank/a@zrep_000002", "tank/a@zrep_000001", None, ("-w",))


def receiver(*steps: SendStream, marked: bool) -> str:
    return ssh.receiver([(each, GRANTED) for each in steps], marked=marked)


def received(marked: bool, *receiving: Receiving) -> Receiver:
    return Receiver(marked, tuple(Admitted(*GRANTED, each) for each in receiving))


LINES: list[tuple[str, Line]] = [
    (helper("zrep"), Helper("zrep")),
    (helper("/opt/z rep/bin/zrep"), Helper("/opt/z rep/bin/zrep")),
    (ssh.sender([step()]), Sender((BARE,))),
    (ssh.sender([FULL]), Sender((Sending("tank/a@zrep_000002", None, None, ("-p", "-L", "-e", "-c")),))),
    (ssh.sender([INCREMENT]), Sender((SENT,))),
    (ssh.sender([RESUMED]), Sender((Sending(token=TOKEN),))),
    (
        ssh.sender([FILTERED]),
        Sender((Sending("tank/a@zrep_000002", "tank/a@zrep_000001", outfilter="pigz -1 | mbuffer"),)),
    ),
    (receiver(step(), marked=False), received(False, Receiving("tank/b c"))),
    (
        receiver(FULL, marked=True),
        received(True, Receiving("tank/b c", ("zrep:gen", "mountpoint"), (("readonly", "on"),))),
    ),
    (ssh.sender([SHAPED]), Sender((Sending(SHAPED.snapshot, SHAPED.base, None, (), "tee x", "zstd", 10485760),))),
    (receiver(SHAPED, marked=True), received(True, Receiving("tank/b c", infilter="tee y", compress="zstd"))),
    (ssh.sender([INCREMENT, step()]), Sender((SENT, BARE))),
    (
        receiver(FULL, INCREMENT, marked=False),
        received(
            False,
            Receiving("tank/b c", ("zrep:gen", "mountpoint"), (("readonly", "on"),)),
            Receiving("tank/b c"),
        ),
    ),
    (
        receiver(FILTERED, marked=True),
        received(True, Receiving("tank/b c", infilter="mbuffer | pigz -d")),
    ),
]


@pytest.mark.parametrize(("line", "means"), LINES, ids=[f"{n} {type(m).__name__}" for n, (_, m) in enumerate(LINES)])
def test_a_line_is_read_back_as_what_it_was_built_of(line: str, means: Line) -> None:
    assert ssh.parse(line) == means
    assert ssh.build(means) == line


@pytest.mark.parametrize("line", [line for line, _ in LINES])
def test_any_login_shell_may_read_it(line: str) -> None:
    """All but the first words is in single quotes, with nothing in them that any shell takes for something else."""
    assert line.startswith("sh -c '")
    assert not set(line) & set("!\\\n")
    assert [word for word in line.removeprefix("sh -c ").split("'")[::2] if word.strip()] == []


def test_what_is_put_in_front_of_the_programs_output_ends_with_the_mark() -> None:
    script = LINES[0][0].removeprefix("sh -c '").partition("'")[0]
    said = subprocess.run(["sh", "-c", script, "echo", "hello"], capture_output=True, text=True, check=True).stdout
    assert said == f"\n{STREAM_MARK}\nhello\n"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "reboot",
        "sh -c 'reboot'",
        helper("zrep") + "; reboot",
        helper("zrep") + "\n",
        helper("zrep").replace("'peer'", "'peer' 'x'"),
        helper("zrep").replace("'peer'", "'sync' 'all'"),
        helper("zrep").replace("sh -c ", "sh  -c "),
        helper("zrep").replace("'peer'", "peer"),
        ssh.sender([INCREMENT]).replace("'zfs'", "'zpool'"),
        ssh.sender([INCREMENT]).replace("'-w'", "'-w' '$(reboot)'"),
        ssh.sender([INCREMENT]).replace("'send'", "'destroy'"),
        ssh.sender([INCREMENT]).replace("tank/a@zrep_000002", "-R"),
        ssh.sender([RESUMED]).replace(TOKEN, "-F"),
        receiver(FULL, marked=True).replace("'-u'", "'-u' '-F'"),
        receiver(FULL, marked=True).replace("'-s' '-u'", "'-F'"),
        receiver(FULL, marked=True).replace("'marked'", "'other'"),
        receiver(FULL, marked=True).replace("flock -n 9", "true"),
        receiver(FULL, marked=True).replace("/var/run", "var/run"),
        receiver(FULL, marked=True).replace("readonly=on", "readonly"),
        receiver(FULL, marked=True).replace("4711.", "x."),
        receiver(FULL, marked=True).replace("tank/b c'", "-r'"),
        ssh.sender([INCREMENT, step()]).replace("'7'", "'3'"),
        ssh.sender([INCREMENT, step()]).replace("'7'", "'99'"),
        ssh.sender([INCREMENT, step()]).replace("'send'", "'destroy'", 1),
        receiver(INCREMENT, step(), marked=False).replace("'5'", "'05'", 1),
        receiver(INCREMENT, step(), marked=False).replace("'5'", "'0'", 1),
        receiver(INCREMENT, step(), marked=False).replace("'receive'", "'destroy'", 1),
        receiver(INCREMENT, marked=False) + " 'zfs'",
        receiver(marked=False),
        "sh -c '" + "x" * 200_000 + "'",
    ],
    ids=lambda line: line[-40:],
)
def test_a_line_that_zrep_does_not_build_is_refused(line: str) -> None:
    with pytest.raises(RefusedError, match="no command line of zrep") as caught:
        ssh.parse(line)
    assert len(caught.value.line()) < 300


@pytest.mark.parametrize("text", ["o'clock", "wow!", "a\\b", "a\nb"])
def test_what_a_shell_would_not_pass_on_is_not_built(text: str) -> None:
    with pytest.raises(RefusedError):
        helper(text)


def test_the_words_that_start_ssh() -> None:
    assert ssh_words("") == ["ssh"]
    assert ssh_words("ssh -p 22 -i '/a b'") == ["ssh", "-p", "22", "-i", "/a b"]
    with pytest.raises(UsageError):
        ssh_words("ssh 'x")


NAMES = st.from_regex(r"\A[A-Za-z][A-Za-z0-9_.: /-]{0,20}\Z")
SNAPSHOTS = st.builds("{}@{}".format, NAMES, st.from_regex(r"\A[A-Za-z0-9_.: -]{1,12}\Z"))
TEXTS = st.text(st.characters(exclude_characters="'!\\\n", codec="utf-8"), max_size=12)


@settings(max_examples=300, deadline=None)
@given(
    st.builds(
        step,
        snapshot=SNAPSHOTS,
        target=NAMES,
        base=st.one_of(st.just(""), SNAPSHOTS),
        options=st.lists(st.sampled_from(["-p", "-w", "-L", "--raw"]), max_size=3).map(tuple),
        exclude=st.lists(st.sampled_from(["zrep:gen", "mountpoint"]), max_size=2).map(tuple),
        override=st.lists(st.tuples(st.sampled_from(["readonly", "zrep:x"]), TEXTS), max_size=2).map(tuple),
        outfilter=TEXTS,
        infilter=TEXTS,
    ),
    st.booleans(),
)
def test_whatever_is_built_is_read_back(stream: SendStream, marked: bool) -> None:
    sent = ssh.parse(ssh.sender([stream]))
    assert isinstance(sent, Sender)
    [sending] = sent.streams
    assert (sending.snapshot, sending.base or "") == (stream.snapshot, stream.base)
    assert sending.options == stream.options
    # An administrator's filter may read as a compressor or a limit of zrep's: what is run is the same.
    assert shape.sending(sending.outfilter, sending.compress, sending.bwlimit) == stream.outfilter
    infilter, compress = shape.read_receiving(stream.infilter)
    taken = ssh.parse(receiver(stream, marked=marked))
    receiving = Receiving(stream.target, stream.exclude, stream.override, infilter, compress=compress)
    assert taken == received(marked, receiving)
    assert shape.receiving(infilter, compress) == stream.infilter


@pytest.mark.parametrize(("compress", "there", "here"), [(name, *both) for name, both in shape.COMPRESSORS.items()])
def test_a_filter_that_is_a_compressor_of_zreps_runs_as_it_was_written(compress: str, there: str, here: str) -> None:
    sent = ssh.parse(ssh.sender([step(base="tank/a@zrep_000001", outfilter=f"tee x | {there}")]))
    assert sent == Sender((Sending("tank/a@zrep_000002", "tank/a@zrep_000001", outfilter="tee x", compress=compress),))
    taken = ssh.parse(receiver(step(infilter=f"{here} | tee y"), marked=False))
    assert taken == received(False, Receiving("tank/b c", infilter="tee y", compress=compress))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([line for line, _ in LINES]), st.randoms(use_true_random=False))
def test_a_broken_line_is_refused_or_another_one(line: str, random: Any) -> None:
    broken = mutated(line.encode(), random).decode(errors="surrogateescape")
    try:
        found = ssh.parse(broken)
    except RefusedError:
        return
    assert ssh.build(found) == broken
