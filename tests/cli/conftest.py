"""The same two hosts in process as for the operations."""

from tests.ops.conftest import _in_order, hosts

__all__ = ["_in_order", "hosts"]
