"""What status tells to programs that watch, with the programs that would: promtool, Prometheus with its node exporter
on a host, and what a plugin of Nagios is judged by."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import prometheus
from tests.lab.hosts import Host, Lab
from tests.lab.zrep_on import made

pytestmark = pytest.mark.lab

CONTRIB = Path(__file__).parents[2] / "contrib"
RULES = CONTRIB / "prometheus/zrep.rules.yml"
EXPORTER = "/opt/node-exporter"
FOLDER = "/var/lib/textfile"
METRICS = f"zrep status --prometheus --output {FOLDER}/zrep.prom"


def dashboard_queries() -> list[str]:
    """Every query of the dashboard, for all instances and filesystems."""
    board = json.loads((CONTRIB / "grafana/zrep.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return [re.sub(r"\$(?:instance|filesystem)", ".*", query) for query in queries]


@pytest.fixture(scope="module")
def watched(lab: Lab) -> Iterator[Host]:
    """alpha, with a pair and a node exporter that reads what zrep has written."""
    lab.reset()
    alpha, _ = lab
    made(alpha, "tank/a")
    alpha.run("zrep init tank/a beta tank/b")
    alpha.run("echo 1 >/tank/a/more; zrep sync tank/a")
    alpha.put(prometheus.programs() / "prometheus-node-exporter", EXPORTER, mode="755")
    alpha.run(f"mkdir -p {FOLDER}; {METRICS}")
    options = f"--collector.disable-defaults --collector.textfile --collector.textfile.directory={FOLDER}"
    alpha.run(f"setsid {EXPORTER} {options} --web.listen-address=:9100 </dev/null >/var/log/node-exporter 2>&1 &")
    ask = "import urllib.request as r; r.urlopen('http://127.0.0.1:9100/metrics').read()"
    alpha.run(f'until python3 -c "{ask}" 2>/dev/null; do sleep 0.5; done', timeout=40)
    yield alpha
    alpha.run("pkill -x node-exporter", check=False)


class TestPrometheus:
    def test_the_rules_alert_when_they_should_and_only_then(self) -> None:
        assert prometheus.promtool("check", "rules", str(RULES)).returncode == 0
        done = prometheus.promtool("test", "rules", "zrep.rules.test.yml", cwd=RULES.parent)
        assert done.returncode == 0, done.stdout + done.stderr

    def test_the_metrics_are_as_prometheus_wants_them(self, watched: Host) -> None:
        done = prometheus.promtool("check", "metrics", text=watched.run("zrep status --prometheus").out)
        assert (done.returncode, done.stderr) == (0, "")

    def test_a_server_has_them_and_every_query_of_the_dashboard_finds_something(
        self, watched: Host, lab: Lab, tmp_path: Path
    ) -> None:
        target = f"{watched.control_ip}:9100"
        with prometheus.serving(lab.slot, tmp_path, [target], RULES) as server:
            assert server.until("up == 1")
            [master] = server.until("zrep_pair_master")
            assert (master["filesystem"], master["tag"], master["value"]) == ("tank/a", "zrep", "1")
            for query in dashboard_queries():
                assert server.query(query), query
            [state] = server.query("zrep_pair_state == 1")
            assert state["state"] == "ok"

            watched.run(f"zrep failover tank/a; {METRICS}")
            assert server.until('zrep_pair_info{role="replica"}')
            [epoch] = server.query("zrep_pair_epoch")
            assert epoch["value"] == "2"
            assert server.until('ALERTS{alertname="ZrepRoleMoved"}')


@pytest.mark.thorough
class TestNagios:
    def test_each_end_has_its_exit_status_and_one_line_with_performance_data(
        self, lab: Lab, hosts: tuple[Host, Host]
    ) -> None:
        alpha, beta = hosts
        made(alpha, "tank/a")
        alpha.run("zrep init tank/a beta tank/b")
        plugin = "zrep status --nagios -w 5m -c 15m"
        well = alpha.run(plugin)
        assert re.fullmatch(
            r"ZREP OK - 1 pair, tank/a \d+s behind at most \| 'tank/a lag'=\d+s;300;900;0 "
            r"'tank/a behind'=\d+B;;;0 'tank/a unsent'=0;;;0\n",
            well.out,
        )
        for host, name in ((alpha, "tank/a"), (beta, "tank/b")):
            host.run(f"zrep changeconfig --max-lag 2s {name}; sleep 3")
            late = host.run(plugin, check=False)
            assert late.rc == 2
            assert late.out.startswith(f"ZREP CRITICAL - {name} is late, ")
            assert "does cron on alpha run zrep sync all?" in late.out
            host.run(f"zrep changeconfig --max-lag none {name}")
        lab.cut(beta)
        cut = alpha.run(plugin, check=False)
        assert (cut.rc, cut.out.startswith("ZREP CRITICAL - tank/a is peer unknown")) == (2, True)
        for wrong in ("-w soon", "-w 5m --no-such-option", "tank/nothing"):
            ended = alpha.run(f"zrep status --nagios {wrong}", check=False)
            assert (ended.rc, ended.out.startswith("ZREP UNKNOWN - "), ended.err) == (3, True, "")

    def test_metrics_tell_of_a_status_that_could_not_look(self, hosts: tuple[Host, Host]) -> None:
        alpha, _ = hosts
        ended = alpha.run("zrep status --prometheus --output /root/zrep.prom", check=False)
        assert ended.rc == 3
        assert "zrep_status_success 0\n" in alpha.run("cat /root/zrep.prom").out
