"""The parser of the command line: which commands there are, the option before them, and how a line that makes no sense
is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from zrep.cli.commands import (
    allow,
    boot,
    changeconfig,
    clear,
    doctor,
    expire,
    failover,
    gate,
    history,
    init,
    pause,
    rehearse,
    rejoin,
    status,
    sync,
    takeover,
    version,
)
from zrep.cli.commands import list as list_
from zrep.core.errors import AGAIN, CutShortError, UsageError
from zrep.core.settings import Settings

# In the order of zrep --help.
COMMANDS: dict[str, Callable[..., int]] = {
    "init": init.init,
    "sync": sync.sync,
    "refresh": sync.refresh,
    "failover": failover.failover,
    "takeover": takeover.takeover,
    "rejoin": rejoin.rejoin,
    "rehearse": rehearse.rehearse,
    "expire": expire.expire,
    "list": list_.list_,
    "status": status.status,
    "history": history.history,
    "pause": pause.pause,
    "unpause": pause.unpause,
    "changeconfig": changeconfig.changeconfig,
    "doctor": doctor.doctor,
    "boot": boot.boot,
    "allow": allow.allow,
    "gate": gate.gate,
    "clear": clear.clear,
    "version": version.version,
}
# Those that look under several tags, where no tag or several are named.
_OF_SEVERAL_TAGS = ("list", "status", "history")


class _Commands(TyperGroup):
    """Ctrl-C in any of them is told: typer would end with its exit code, and say nothing."""

    def invoke(self, context: Any) -> Any:
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            raise CutShortError("interrupted", advice=AGAIN) from None


app = typer.Typer(
    name="zrep",
    cls=_Commands,
    help="Keep ZFS filesystems running on a second host: replicate them, and move the master role between hosts.",
    epilog="Exit codes: 0 done, 1 failed (try again), 2 usage, 3 refused (a person must decide), 4 busy, "
    "5 peer unreachable, 70 a bug. See zrep(8).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
)


@app.callback()
def _options(
    context: typer.Context,
    tag: Annotated[
        str | None, typer.Option("-t", "--tag", metavar="TAG", help="Another set of pairs: TAG for zrep (ZREPTAG).")
    ] = None,
) -> None:
    settings: Settings = context.obj
    if tag is not None:
        several = context.invoked_subcommand in _OF_SEVERAL_TAGS
        context.obj = settings.of_several(tag) if several else settings.of(tag)


for _name, _command in COMMANDS.items():
    app.command(_name)(_command)


def invoke(arguments: list[str], settings: Settings) -> int:
    """Parse and run; the exit code. UsageError for a command line that makes no sense."""
    usage_error: Any = typer.BadParameter.__base__  # typer does not export the parser's own base of usage errors
    try:
        result = app(arguments, prog_name="zrep", standalone_mode=False, obj=settings)
    except usage_error as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message())
            return 2
        command = getattr(error, "ctx", None)
        path = command.command_path if command else "zrep"
        advice = f"{path} --help"
        if getattr(error, "option_name", "") == "-s" and not {"list", "-l"}.isdisjoint(arguments):
            advice = "zrep list --snapshots for zrep's snapshots; -s FIELD to sort"
        raise UsageError(error.format_message().rstrip("."), advice=advice) from None
    except typer.Abort:
        raise KeyboardInterrupt from None
    return result if isinstance(result, int) else 0
