"""What an administrator settles through the environment, as data: read once, at the start of a run (see zrep.cli)."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.names import DEFAULT_TAG, check_tag

# Where root allows filters, unless it is told otherwise.
FILTERS_FILE = "/etc/zrep/filters"


class Settings(Struct, frozen=True):
    """What a run is told by its environment; each default is what holds where nothing is said. What is kept as it was
    written is judged by the one command that uses it.

    host: this host's name, "" for the one the kernel knows (ZREP_HOST). run_directory: what holds zrep's directory of
    locks (ZREP_RUNDIR). hooks: the directory of hooks (ZREP_HOOKS). library: whether libzfs_core may be used
    (ZREP_LIBRARY=no: not). syslog: whether what happens to pairs is told to syslog (ZREP_SYSLOG=no: not). stall:
    seconds without a byte after which a stream is ended (ZREP_STALL). user: who runs it (USER). ssh: the words that
    start ssh, as written (SSH). program: how zrep is called on a peer (ZREP_PATH).

    tag: the pairs that a command works on (ZREPTAG); every_tag: nobody has named one, which to list, status and history
    means all; more_tags: those that somebody has named beside it. expire: whether sync lets go of surplus snapshots
    (ZREP_SKIP_EXPIRE: not). after: for how many seconds cron is not told of a trouble that may heal by itself
    (ZREP_AFTER). jobs: streams at once to each peer, as written (ZREP_JOBS). fence: the command that takeover -L runs
    first (ZREP_FENCE_CMD). For init: savecount, as written (ZREP_SAVE_COUNT), the name by which the peer reaches this
    host (ZREP_SRC_HOST), the flags of every send, None for those that fit (ZREP_SEND_FLAGS), and the filters of the
    stream at both ends (ZREP_OUTFILTER, ZREP_INFILTER); recursive: everything below goes with it (ZREP_R),
    all_snapshots: those of others travel too (ZREP_INC_FLAG=-I); not_read: the name of what the shell zrep took from
    here and -o says now, "" for none.

    filters: the file in which root allows filters, a line each (ZREP_FILTERS). allowed: those that the file of settings
    itself names, whatever the environment says.
    """

    host: str = ""
    run_directory: str = "/var/run"
    hooks: str = "/etc/zrep/hooks.d"
    library: bool = True
    stall: float = 600.0
    user: str = ""
    ssh: str = "ssh"
    program: str = "zrep"
    tag: str = DEFAULT_TAG
    expire: bool = True
    jobs: str = ""
    fence: str = ""
    savecount: str = ""
    src_host: str = ""
    send_flags: str | None = None
    outfilter: str = ""
    infilter: str = ""
    every_tag: bool = True
    filters: str = FILTERS_FILE
    allowed: tuple[str, ...] = ()
    syslog: bool = True
    after: int = 0
    recursive: bool = False
    all_snapshots: bool = False
    not_read: str = ""
    more_tags: tuple[str, ...] = ()

    def of(self, tag: str) -> Settings:
        """The same, of a run whose command line names the tag (-t). UsageError for what can be no tag."""
        return replace(self, tag=check_tag(tag), every_tag=False)

    def of_several(self, tags: str) -> Settings:
        """The same of one that takes several, with commas between them."""
        first, *more = dict.fromkeys(tags.split(","))
        return replace(self.of(first), more_tags=tuple(map(check_tag, more)))


DEFAULT_SETTINGS = Settings()
