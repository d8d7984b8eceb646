"""Names that OpenZFS allows and that are out of the way."""

from __future__ import annotations

import time

import pytest

from tests.lab.hosts import Host
from tests.lab.zrep_on import in_step, made, rarely, silent

Hosts = tuple[Host, Host]

# With @ and the name of a snapshot of zrep's behind it, which ZFS bounds with it: 255 bytes.
LONGEST = 255 - len("@zrep_000001")
SECONDS = 60.0


def filled(start: str, part: int) -> str:
    """A name of the longest length, of parts that are so long."""
    name = start
    while len(name) < LONGEST:
        name += f"/{'x' * min(part, LONGEST - len(name) - 1)}"
    return name


@pytest.mark.parametrize(
    "name",
    [*rarely("tank/.system", "tank/_data"), "tank/a b:c.-_", *rarely(filled("tank", 238)), filled("tank", 20)],
    ids=["a dot first", "an underscore first", "everything", "one long word", "many words"],
)
def test_a_name_is_as_good_as_any(hosts: Hosts, name: str) -> None:
    alpha, beta = hosts
    made(alpha, name)
    took = {}
    for command, host in (
        (f"zrep init '{name}' beta '{name}'", alpha),
        (f"echo more > '/{name}/file'; zrep sync all", alpha),
        ("zrep status", alpha),
        (f"zrep failover '{name}'", alpha),
        (f"zrep takeover '{name}'", alpha),
    ):
        started = time.monotonic()
        host.run(command, timeout=180)
        took[command.replace(name, "NAME")] = round(time.monotonic() - started, 1)
    assert in_step(alpha, name, beta, name)
    silent(beta, "zrep expire -L all")
    print(took)
    assert max(took.values()) < SECONDS, took
