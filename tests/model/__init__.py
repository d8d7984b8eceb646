"""A model of ZFS on several hosts: in process for thousands of cases, or as programs on PATH for whole ones."""

from .command import Result
from .receiving import Receive
from .world import Host, World

__all__ = ["Host", "Receive", "Result", "World"]
