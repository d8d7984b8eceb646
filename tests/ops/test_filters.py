"""A filter is a shell command: each host runs what its own root has written down, and never what a property says."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.ops import pairs
from tests.ops.hosts import Ended, Hosts, Work
from tests.ops.pairs import INIT, SYNC_ALL, A, B, good
from tests.ops.picture import Picture, look
from zrep.core.errors import RefusedError
from zrep.core.pair import End
from zrep.core.steps import SendStream
from zrep.ops.status import status

EVIL = "tee /root/loot"


def allow(hosts: Hosts, folder: Path, *lines: str) -> None:
    """Both hosts of the model have the file of one."""
    file = folder / "filters"
    file.write_text("".join(f"{line}\n" for line in lines))
    hosts.settings = replace(hosts.settings, filters=str(file))


def picture(hosts: Hosts) -> dict[str, Picture]:
    return {name: look(hosts.local(name), hosts[name]) for name in ("alpha", "beta")}


def as_shell(hosts: Hosts) -> list[str]:
    return [str(command) for command in hosts.wire.log if EVIL in " ".join(command.argv)]


def refused(ended: Ended) -> str:
    assert ended.code == 3, ended.text
    assert "a filter of its streams is not one that root has allowed" in ended.text
    return ended.text


@pytest.mark.parametrize(
    "work",
    [pairs.syncing(A), SYNC_ALL, pairs.failing_over(A)],
    ids=["sync", "sync all", "failover"],
)
@pytest.mark.parametrize("name", ["outfilter", "infilter"])
def test_what_a_delegated_user_writes_is_refused_and_never_run(hosts: Hosts, name: str, work: Work) -> None:
    pairs.linked(hosts)
    pairs.written(hosts)
    hosts["alpha"].run(["zfs", "set", f"zrep:{name}={EVIL}", A])
    before = picture(hosts)
    hosts.wire.log.clear()
    text = refused(hosts.run("alpha", work))
    assert as_shell(hosts) == []
    assert picture(hosts) == before
    assert (
        f"only if you know it, as root here: mkdir -p /etc/zrep; printf '%s\\n' '{EVIL}' >> /etc/zrep/filters; "
        f"on beta: mkdir -p /etc/zrep; printf '%s\\n' '{EVIL}' >> /etc/zrep/filters"
    ) in text


def test_status_says_the_same_on_both_hosts(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts["alpha"].run(["zfs", "set", f"zrep:outfilter={EVIL}", A])
    for host in ("alpha", "beta"):
        [row] = hosts.run(host, lambda session: status(session, [])).rows
        assert (row.state, row.code) == ("filter not allowed", 3)


def test_no_filter_that_is_not_allowed_runs_in_a_paused_pair(hosts: Hosts) -> None:
    pairs.linked(hosts)
    pairs.written(hosts)
    good(hosts.run("alpha", pairs.pausing(A)))
    hosts["alpha"].run(["zfs", "set", f"zrep:infilter={EVIL}", A])
    hosts.wire.log.clear()
    refused(hosts.run("alpha", pairs.failing_over(A)))
    assert as_shell(hosts) == []


def test_what_the_replica_has_is_no_filter_of_the_masters(hosts: Hosts) -> None:
    pairs.linked(hosts)
    pairs.written(hosts)
    hosts["beta"].run(["zfs", "set", f"zrep:infilter={EVIL}", B])
    good(hosts.run("alpha", SYNC_ALL))
    assert as_shell(hosts) == []


def test_what_root_has_written_down_is_run(hosts: Hosts, tmp_path: Path) -> None:
    pairs.linked(hosts)
    pairs.written(hosts)
    hosts["alpha"].run(["zfs", "set", f"zrep:outfilter={EVIL}", A])
    allow(hosts, tmp_path, "# known", EVIL)
    hosts.wire.log.clear()
    hosts.run("alpha", SYNC_ALL)
    assert len(as_shell(hosts)) == 1


def test_a_file_that_others_may_write_counts_for_nothing_and_that_is_said(hosts: Hosts, tmp_path: Path) -> None:
    """As root's umask may have left it: the line is in it already."""
    pairs.linked(hosts)
    hosts["alpha"].run(["zfs", "set", f"zrep:outfilter={EVIL}", A])
    allow(hosts, tmp_path, EVIL)
    (tmp_path / "filters").chmod(0o664)
    assert "/etc/zrep/filters counts where none but root may write it" in refused(hosts.run("alpha", SYNC_ALL))


def test_an_init_wants_it_written_down_first(hosts: Hosts, tmp_path: Path) -> None:
    pairs.source(hosts)
    hosts.settings = replace(hosts.settings, outfilter="zstd", infilter="zstd -d")
    before = picture(hosts)
    text = refused(hosts.run("alpha", INIT))
    assert picture(hosts) == before
    assert "here: mkdir -p /etc/zrep; printf '%s\\n' zstd 'zstd -d' >> /etc/zrep/filters; on beta: " in text
    allow(hosts, tmp_path, "zstd")
    text = refused(hosts.run("alpha", INIT))
    assert "here: 'zstd -d'; on beta: 'zstd -d'; it runs" in text


def test_a_line_for_something_that_is_no_filter_is_not_offered(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts["alpha"].run(["zfs", "set", "zrep:outfilter=x'; reboot #", A])
    assert ">>" not in refused(hosts.run("alpha", SYNC_ALL))


def test_the_last_look_is_where_the_command_is_made(hosts: Hosts) -> None:
    step = SendStream(End.SOURCE, f"{A}@zrep_000001", B, outfilter=EVIL, infilter=EVIL)
    host = hosts.local("alpha")
    with pytest.raises(RefusedError, match="not one that root of alpha has allowed"):
        host.sender([step])
    with pytest.raises(RefusedError, match="not one that root of alpha has allowed"):
        host.receiver([(step, ("/lock", "1.0"))], marked=False)


@pytest.mark.parametrize("name", ["outfilter", "infilter"])
def test_what_the_replica_would_send_through_is_refused_before_its_role_moves(hosts: Hosts, name: str) -> None:
    pairs.linked(hosts)
    hosts["beta"].run(["zfs", "set", f"zrep:{name}={EVIL}", B])
    good(hosts.run("alpha", SYNC_ALL))
    refused(hosts.run("alpha", pairs.failing_over(A)))
    assert pairs.value(hosts, "alpha", A, "readonly") == "off"
