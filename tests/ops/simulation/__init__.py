"""The simulation: applications, administrators, cron, crashes and cuts in any order, on model hosts.

Hypothesis draws what happens (events); everything else is the same in every run: no clock, no threads, nothing random
(hosts). What applications were promised is kept in a ledger of its own for each pair (ledger, pair), beside what
judge.py reads from the model; what stands around the pairs is judged too (around). At the end everything works again,
and whoever does what zrep says comes to pairs that are whole (ending).
"""

from tests.ops.simulation.events import Overlap
from tests.ops.simulation.ledger import Ledger
from tests.ops.simulation.machine import Simulation
from tests.ops.simulation.runs import counted

__all__ = ["Ledger", "Overlap", "Simulation", "counted"]
