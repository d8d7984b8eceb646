"""What an administrator settles through the environment, as data: read once, at the start of a run (see zrep.cli)."""

from __future__ import annotations

from msgspec import Struct


class Settings(Struct, frozen=True):
    """What a run is told by its environment; each default is what holds where nothing is said.

    host: this host's name, "" for the one the kernel knows (ZREP_HOST). run_directory: what holds zrep's directory of
    locks (ZREP_RUNDIR). hooks: the directory of hooks (ZREP_HOOKS). library: whether libzfs_core may be used
    (ZREP_LIBRARY=no: not). stall: seconds without a byte after which a stream is ended (ZREP_STALL). user: who runs it
    (USER). ssh: the words that start ssh (SSH). program: how zrep is called on a peer (ZREP_PATH).
    """

    host: str = ""
    run_directory: str = "/var/run"
    hooks: str = "/etc/zrep/hooks.d"
    library: bool = True
    stall: float = 600.0
    user: str = ""
    ssh: str = "ssh"
    program: str = "zrep"


DEFAULT_SETTINGS = Settings()
