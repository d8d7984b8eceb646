"""For pytest: two real hosts for a session, clean ones for every test, and what they did when a test fails.

A test that asks for `lab`, itself or through a fixture such as `hosts`, counts as one that runs on real OpenZFS and is
marked `lab`. Where no lab can be had, such a test fails: it is never skipped.
"""

from collections import Counter
from collections.abc import Generator, Iterator

import pytest

from tests.lab.hosts import Host, Lab, Ran
from tests.lab.progress import LabError

REPORT = r"""
zfs list -H -p -t all -o name,guid,createtxg,used,readonly,mounted
zfs get -H -o name,property,value,source all | grep -P '\tzrep[^\t]*:'
zfs list -H -o name -t snapshot | xargs -r zfs holds -H
"""
LONGEST = 6000
# A connection costs these hosts 0.36 s of processor, 0.11 of it for the key exchange that OpenSSH has by default, and
# no test is of that. As of the first day, so that a reset leaves it; on the disk, for a host that loses power.
CHEAP_CONNECTIONS = """
for root in /lab/pristine.d /; do echo 'KexAlgorithms curve25519-sha256' > $root/etc/ssh/sshd_config.d/kex.conf; done
kill -HUP $(cat /run/sshd.pid); sync
"""

# Classes of one test that takes minutes. Classes of many tests are begun first; of those of one these are, or at the
# end of the run two pairs of hosts would wait for the third.
LONG = (
    "tests/lab/test_storm.py::TestStorm::",
    "tests/lab/test_cuts.py::TestCut::",
    "tests/lab/test_neighbours.py::TestVolume::",
    "tests/lab/test_ways.py::TestDelegated::",
)

_lab_of_session = pytest.StashKey[Lab]()
RAN = "ran on"


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The hosts alpha and beta, running, with the working tree's zrep installed."""
    yield from started(request.config, ("alpha", "beta"))


def started(config: pytest.Config, names: tuple[str, ...], stable: tuple[str, ...] = ()) -> Iterator[Lab]:
    """For a fixture: these hosts, until it ends. stable: those of them that have Debian's stable OpenZFS."""
    capture = config.pluginmanager.getplugin("capturemanager")
    try:
        if capture is None:
            running = Lab.start(names, stable=stable)
        else:
            with capture.global_and_fixture_disabled():
                running = Lab.start(names, stable=stable)
    except LabError as e:
        pytest.exit(f"no lab: {e}", returncode=1)
    for host in running:
        host.run(CHEAP_CONNECTIONS)
    before = config.stash.get(_lab_of_session, None)
    config.stash[_lab_of_session] = running
    yield running
    if before is not None:
        config.stash[_lab_of_session] = before
    else:
        del config.stash[_lab_of_session]
    running.down()


@pytest.fixture
def hosts(lab: Lab) -> tuple[Host, Host]:
    """alpha and beta, clean: nothing of an earlier test is left on them or between them."""
    lab.reset()
    return lab.alpha, lab.beta


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))
    for item in items:
        if "lab" in getattr(item, "fixturenames", ()):  # asked for itself, or by a fixture that was
            item.add_marker("lab")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if item.get_closest_marker("lab") is None:
        return report
    running = item.config.stash.get(_lab_of_session, None)
    if report.when == "call" and running is not None:
        # On the report, which reaches the process that sums up: tests run in several.
        kinds = dict.fromkeys(host.image.words for host in running)
        report.user_properties.append((RAN, f"real {' and '.join(kinds)}"))
    if report.failed and running is not None:
        for host in running:
            report.sections.append((f"what ran on {host.name}", _history(list(host.history))))
            report.sections.append((f"what {host.name} has now", _state(host)))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for group in terminalreporter.stats.values() for report in group]
    ran = Counter(
        value
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, value in report.user_properties
        if name == RAN
    )
    for what, count in ran.items():
        terminalreporter.write_line(f"{count} tests ran on {what}")


def _history(commands: list[Ran]) -> str:
    return "\n".join(f"# {c.command}\n{_short(c.out)}{_short(c.err)}{_end(c)}" for c in commands)


def _end(command: Ran) -> str:
    return f"-> {'no exit status' if command.rc is None else command.rc}, {command.seconds:.2f} s"


def _state(host: Host) -> str:
    if not host.is_on:
        return "it is off"
    told = list(host.history)
    wire = f"wire: {' '.join(host.wire)}\n" if host.wire else ""
    try:
        return wire + _short(host.run(REPORT, check=False, timeout=20).out)
    except (AssertionError, LabError) as e:
        return f"{wire}it does not answer: {e}"
    finally:
        host.history.clear()
        host.history.extend(told)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}\n[…]\n{text[-LONGEST // 2 :]}"
