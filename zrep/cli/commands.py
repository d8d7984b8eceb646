"""The command line: signatures and help only. What a command does is in zrep.ops."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache, partial
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from zrep.cli import run as running
from zrep.cli import words
from zrep.cli.settings import number
from zrep.core.errors import AGAIN, CutShortError, RefusedError, UsageError
from zrep.core.names import stripped
from zrep.core.quantities import seconds
from zrep.core.settings import Settings
from zrep.ops.finding import roles_here


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

Filesystem = Annotated[
    str, typer.Argument(metavar="FS", help="Filesystem or volume on this host.", callback=words.one_dataset)
]
BandwidthLimit = Annotated[
    str,
    typer.Option("--bwlimit", metavar="RATE", help="Of its streams: 500K, 10M a second, by pv or mbuffer; or none."),
]
Compress = Annotated[
    str, typer.Option("--compress", metavar="PROGRAM", help="Its streams on the wire: zstd, lz4, gzip, pigz; or none.")
]
Filesystems = Annotated[list[str], typer.Argument(metavar="FS...|all", help="Filesystems here, or all.")]
ForceUnmount = Annotated[bool, typer.Option("--force-unmount", help="Go on although files of FS are open to write.")]
Alone = Annotated[bool, typer.Option("-L", help="The master is gone: take over alone, losing what it had not sent.")]
DryRun = Annotated[bool, typer.Option("-n", "--dry-run", help="Print each command with its host; change nothing.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say what was done, and what is worth knowing.")]
Quiet = Annotated[int, typer.Option("-q", metavar="SECONDS", min=0, help="Busy is no news when synced that recently.")]
After = Annotated[
    str,
    typer.Option(
        "--after", metavar="TIME", help="With all, from cron: a trouble is told when it lasts for longer: 10m."
    ),
]
MayBeEmpty = Annotated[bool, typer.Option("--may-be-empty", help="No pair under this tag is no mistake.")]
Json = Annotated[bool, typer.Option("--json", help="Results and errors as one JSON document.")]
Tabs = Annotated[bool, typer.Option("-H", help="Tab-separated, no heading, exact numbers: for scripts.")]
Exact = Annotated[bool, typer.Option("-p", help="Exact numbers and whole names.")]
Columns = Annotated[str, typer.Option("-o", metavar="FIELD,...", help="These fields, in this order.")]
Ascending = Annotated[str, typer.Option("-s", metavar="FIELD", help="Sort by a field.")]
Descending = Annotated[str, typer.Option("-S", metavar="FIELD", help="Sort by a field, descending.")]
RowsJson = Annotated[bool, typer.Option("-j", "--json", help="As one JSON document.")]
Colour = Annotated[str, typer.Option("--color", metavar="WHEN", help="auto, always or never.")]


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


@app.callback()
def _options(
    context: typer.Context,
    tag: Annotated[
        str | None, typer.Option("-t", "--tag", metavar="TAG", help="Another set of pairs: TAG for zrep (ZREPTAG).")
    ] = None,
) -> None:
    settings: Settings = context.obj
    if tag is not None:
        several = context.invoked_subcommand in ("list", "status", "history")
        context.obj = settings.of_several(tag) if several else settings.of(tag)


# --- commands ---


@app.command()
def init(
    context: typer.Context,
    filesystem: Annotated[str, typer.Argument(metavar="FS", help="Filesystem or volume on this host.")],
    host: Annotated[str, typer.Argument(metavar="HOST", help="The peer as ssh knows it, or localhost.")],
    target: Annotated[
        str,
        typer.Argument(metavar="DEST_FS", help="The replica to create there; it must not exist.", show_default=False),
    ] = "",
    pull: Annotated[
        bool, typer.Option("--pull", help="Run on the replica's host: HOST SRC_FS DEST_FS. Only it dials, ever.")
    ] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="DEST_FS is there, made by any program: go on from what both have.")
    ] = False,
    src_host: Annotated[str, typer.Option(metavar="NAME", help="The name by which HOST reaches this host.")] = "",
    savecount: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Snapshots each side keeps: 5, or what ZREP_SAVE_COUNT says."),
    ] = None,
    send_flags: Annotated[
        str | None, typer.Option(metavar="FLAGS", help="Flags of every zfs send of this pair, e.g. '-p -w'.")
    ] = None,
    bwlimit: BandwidthLimit = "",
    compress: Compress = "",
    all_snapshots: Annotated[
        bool, typer.Option("--all-snapshots", help="What others snapshot travels too, with the increments.")
    ] = False,
    recursive: Annotated[bool, typer.Option("-r", "--recursive", help="And everything below FS, as one tree.")] = False,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="With -r: leave out what is below FS and so called.")
    ] = None,
    strip: Annotated[
        str, typer.Option(metavar="PREFIX", help="DEST_FS is a root, and the replica below it FS without PREFIX.")
    ] = "",
    give: Annotated[
        list[str] | None, typer.Option("-o", metavar="NAME=VALUE", help="The replica's own value of a property.")
    ] = None,
    leave: Annotated[
        list[str] | None, typer.Option("-x", metavar="NAME", help="A property that does not follow to the replica.")
    ] = None,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """Replicate FS to HOST as DEST_FS from now on. Interrupted, it goes on where it was when run again.

    On the host of the replica: zrep init --pull HOST SRC_FS DEST_FS."""
    from zrep.ops.init import init
    from zrep.ops.init_way import Request

    if pull:
        host, filesystem, target = words.pulled(filesystem, host, target)
    else:
        filesystem = words.one_dataset(filesystem)
        host, target = words.peer(host, target)
    target = stripped(filesystem, strip, target) if strip else target
    kept = savecount or number("ZREP_SAVE_COUNT", context.obj.savecount, 1) or 0
    props = words.properties(give or (), leave or ())
    if adopt and give:
        raise UsageError(
            "-o is for a replica that init makes", evidence="--adopt", advice="zfs set it there, and -x NAME"
        )
    through = (_compressor(compress), _rate(bwlimit))
    recursive = recursive or context.obj.recursive
    request = Request(
        filesystem,
        host,
        target,
        src_host,
        kept,
        send_flags,
        recursive,
        pull,
        adopt,
        tuple(exclude or ()),
        props,
        *through,
        all_snapshots or context.obj.all_snapshots,
    )
    session = running.begin(context.obj, dry_run=dry_run, verbose=verbose, json=json)
    return running.run(session, lambda: init(session, request), request.name)


def _rate(text: str) -> int:
    from zrep.core.shape import rate

    found = 0 if text in ("", "none") else rate(text)
    if found is None:
        raise UsageError(f"--bwlimit is {text!r}", evidence="expected 500K, 10M or none")
    return found


def _compressor(text: str) -> str:
    from zrep.core.shape import COMPRESSORS, compressor

    found = "" if text in ("", "none") else compressor(text)
    if found is None:
        raise UsageError(f"--compress is {text!r}", evidence=f"expected {', '.join(COMPRESSORS)} or none")
    return found


@app.command()
def sync(
    context: typer.Context,
    filesystems: Filesystems,
    quiet: Quiet = 0,
    force: Annotated[
        bool, typer.Option("-f", help="Roll a replica that was changed by hand back to the base, losing the change.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option("-j", metavar="N", min=1, max=running.MOST_JOBS, help="Streams at once to a peer (ZREP_JOBS)."),
    ] = None,
    crash_consistent: Annotated[
        bool, typer.Option("--crash-consistent", help="A snapshot although a before-snapshot hook has failed.")
    ] = False,
    no_send: Annotated[bool, typer.Option("--no-send", hidden=True)] = False,
    no_snapshot: Annotated[bool, typer.Option("--no-snapshot", hidden=True)] = False,
    after: After = "",
    may_be_empty: MayBeEmpty = False,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """Bring replicas up to date. 'zrep sync all' belongs in cron, every minute; silent when all is well."""
    names = running.filesystems(filesystems)
    if force and not names:
        raise UsageError("-f wants its filesystems named", evidence="it throws data away")
    if no_send:
        from zrep.ops.shell_words import snap_only

        session = running.begin(context.obj, dry_run=dry_run, verbose=verbose, json=json)
        return running.run(session, lambda: snap_only(session, names))
    return running.sync(
        context.obj,
        names,
        quiet=quiet,
        take=not no_snapshot,
        force=force,
        jobs=jobs or 0,
        crash_consistent=crash_consistent,
        after=after,
        may_be_empty=may_be_empty,
        dry_run=dry_run,
        verbose=verbose,
        json=json,
    )


@app.command()
def refresh(
    context: typer.Context,
    filesystems: Filesystems,
    quiet: Quiet = 0,
    jobs: Annotated[
        int | None,
        typer.Option("-j", metavar="N", min=1, max=running.MOST_JOBS, help="Streams at once from a peer (ZREP_JOBS)."),
    ] = None,
    after: After = "",
    may_be_empty: MayBeEmpty = False,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """On the replica: fetch what is new from the master. Of a pair made with init --pull, sync all does so too."""
    return running.sync(
        context.obj,
        running.filesystems(filesystems),
        pull=True,
        quiet=quiet,
        jobs=jobs or 0,
        after=after,
        may_be_empty=may_be_empty,
        dry_run=dry_run,
        verbose=verbose,
        json=json,
    )


@app.command()
def failover(
    context: typer.Context,
    filesystem: Filesystem,
    force_unmount: ForceUnmount = False,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """On the master: make the peer the master, losing nothing. FS is read-only here afterwards."""
    from zrep.ops.failover import failover
    from zrep.ops.role_change import RoleChange

    session = running.begin(context.obj, dry_run=dry_run, verbose=verbose, json=json)
    return running.run(session, lambda: failover(session, filesystem, RoleChange(force_unmount)), filesystem)


@app.command()
def takeover(
    context: typer.Context,
    filesystem: Filesystem,
    local: Alone = False,
    force: Annotated[bool, typer.Option("-f", "--force", help="With -L: although the master answers.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With -L: agree to the loss without being asked.")] = False,
    fence_cmd: Annotated[
        str | None,
        typer.Option(metavar="CMD", help="With -L: run first; only if it ends 0, take over (ZREP_FENCE_CMD)."),
    ] = None,
    newest: Annotated[
        bool, typer.Option("--newest", help="With -L: each member of a tree keeps its newest, of whatever moment.")
    ] = False,
    force_unmount: ForceUnmount = False,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """On the replica: become the master. Planned and without loss; with -L after a disaster."""
    name = filesystem
    for option, given in (("--yes", yes), ("--force", force), ("--fence-cmd", fence_cmd), ("--newest", newest)):
        if given and not local:
            raise UsageError(f"{option} goes with -L", evidence="without it the master is asked")
    fence = context.obj.fence if fence_cmd is None else fence_cmd
    session = running.begin(context.obj, fence=fence, dry_run=dry_run, verbose=verbose, json=json)
    if not local:
        from zrep.ops.role_change import RoleChange
        from zrep.ops.takeover import takeover

        return running.run(session, lambda: takeover(session, name, RoleChange(force_unmount)), name)
    from zrep.ops.takeover_alone import forced_takeover

    agree = _agreement(yes, sys.stdin.isatty() and not json)
    return running.run(session, lambda: forced_takeover(session, name, agree, insist=force, newest=newest), name)


def _named(filesystems: list[str]) -> list[str]:
    """The filesystems of a command that wants each named."""
    return [words.one_dataset(name) for name in filesystems]


def _agreement(yes: bool, ask: bool) -> Callable[[str], bool]:
    """Agree as the command line does; ask: there is a person who can be asked."""

    def agree(loss: str) -> bool:
        if yes:
            return True
        if not ask:
            return False
        if typer.confirm(f"{loss}. Take over?"):
            return True
        raise RefusedError("you said no: nothing was changed")

    return agree


@app.command()
def rejoin(
    context: typer.Context,
    filesystem: Filesystem,
    force: Annotated[
        bool, typer.Option("-f", help="In a split brain: give this side's role up; its data stays in a split copy.")
    ] = False,
    peer: Annotated[
        bool, typer.Option("--peer", help="Run on the new master: the other half of FS becomes the replica.")
    ] = False,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """On an old master that returned: become the replica. What it wrote alone stays readable in a split copy."""
    from zrep.ops.across import rejoin_here, rejoin_there

    session = running.begin(context.obj, force=force, dry_run=dry_run, verbose=verbose, json=json)
    rejoin = rejoin_there if peer else rejoin_here
    return running.run(session, lambda: rejoin(session, filesystem), filesystem)


@app.command()
def rehearse(
    context: typer.Context,
    filesystem: Filesystem,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[-- CMD...]", help="Run in the clone; its failure is reported.")
    ] = None,
    suid_dev: Annotated[
        bool, typer.Option("--suid-dev", help="Let setuid programs and devices in the clone work.")
    ] = False,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """Prove that the replica can be used. What was received last is cloned, mounted aside, checked and removed."""
    from zrep.ops.rehearse import rehearse

    session = running.begin(context.obj, dry_run=dry_run, verbose=verbose, json=json)
    name = filesystem
    return running.run(session, lambda: rehearse(session, name, command or [], suid_dev=suid_dev), name)


@app.command()
def expire(
    context: typer.Context,
    filesystems: Annotated[list[str] | None, typer.Argument(metavar="[FS...|all]")] = None,
    local: Annotated[bool, typer.Option("-L", help="Only this side; the peer is not asked.")] = False,
    gone: Annotated[
        str, typer.Option(metavar="AGE", help="And what was set aside in trees longer ago: 12h, 30d.")
    ] = "",
    yes: Annotated[
        bool, typer.Option("--yes", help="Although it is more than a quarter of a filesystem's snapshots.")
    ] = False,
    may_be_empty: MayBeEmpty = False,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """Destroy surplus snapshots, each side by its own rules. -n says which, and why each other one stays."""
    from zrep.ops.expire import expire

    age = seconds(gone) if gone else None
    if gone and age is None:
        raise UsageError(f"{gone!r} is no age", evidence="expected 12h, 30d or the like")
    session = running.begin(context.obj, may_be_empty=may_be_empty, dry_run=dry_run, verbose=verbose, json=json)
    names = running.filesystems(filesystems or ["all"])
    return running.run(session, lambda: expire(session, names, local, age, many=yes))


@app.command(name="list")
def list_(
    context: typer.Context,
    filesystems: Annotated[list[str] | None, typer.Argument(metavar="[FS...]", help="Only these.")] = None,
    masters: Annotated[bool, typer.Option("-L", help="Masters only.")] = False,
    members: Annotated[bool, typer.Option("-r", help="The members of trees too.")] = False,
    snapshots: Annotated[bool, typer.Option("--snapshots", help="zrep's snapshots of each.")] = False,
    last_sent: Annotated[bool, typer.Option("--last-sent", hidden=True)] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Every property zrep keeps.")] = False,
    tabs: Tabs = False,
    exact: Exact = False,
    columns: Columns = "",
    ascending: Ascending = "",
    descending: Descending = "",
    json: RowsJson = False,
    colour: Colour = "auto",
) -> int:
    """What is replicated from and to this host. No peer is asked."""
    from zrep.cli import document, output, rows
    from zrep.ops import list as listed
    from zrep.ops.every_tag import each_tag, in_order

    names = running.filesystems(filesystems or ["all"])
    style = rows.style(columns, tabs, exact, ascending, descending, colour)
    session = running.begin(context.obj)
    if last_sent:
        from zrep.ops.shell_words import last_sent as found_last

        with running.closing(session):
            print("\n".join(found_last(session, names or list(roles_here(session)))))
        return 0
    with running.closing(session):
        parts = each_tag(session, names)
        if snapshots:
            made: dict[str, list[tuple[str, int | None, int]]] = {}
            for one, given in parts:
                for name, own in listed.snapshots(one, given).items():
                    made.setdefault(name, []).extend(own)
            if json:
                document.show(document.listed(session, snapshots=made))
            else:
                output.snapshots(made, tabs=tabs, now=session.now)
        elif verbose:
            kept: dict[str, dict[str, str]] = {}
            for one, given in parts:
                for name, values in listed.properties(one, given).items():
                    kept.setdefault(name, {}).update(values)
            if json:
                document.show(document.listed(session, properties=kept))
            else:
                output.properties(kept, tabs=tabs)
        else:
            found = in_order(listed.listing(one, masters, given, members=members) for one, given in parts)
            found = rows.arranged(found, style)
            if json:
                document.show(document.listed(session, pairs=found))
            else:
                rows.show(found, style, session.now)
    return 0


@app.command()
def status(
    context: typer.Context,
    filesystems: Annotated[list[str] | None, typer.Argument(metavar="[FS...]", help="Only these.")] = None,
    all_: Annotated[bool, typer.Option("-a", hidden=True)] = False,
    up_to_date: Annotated[bool, typer.Option("--up-to-date", hidden=True)] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", hidden=True)] = False,  # changes nothing
    members: Annotated[bool, typer.Option("-r", help="The members of trees too.")] = False,
    may_be_empty: MayBeEmpty = False,
    tabs: Tabs = False,
    exact: Exact = False,
    columns: Columns = "",
    ascending: Ascending = "",
    descending: Descending = "",
    json: RowsJson = False,
    colour: Colour = "auto",
    nagios: Annotated[bool, typer.Option("--nagios", help="As a plugin of Nagios: its output and exit codes.")] = False,
    warning: Annotated[str, typer.Option("-w", metavar="TIME", help="With --nagios: lag for a warning, as 5m.")] = "",
    critical: Annotated[str, typer.Option("-c", metavar="TIME", help="With --nagios: lag that is critical.")] = "",
    prometheus: Annotated[bool, typer.Option("--prometheus", help="As metrics in Prometheus's text format.")] = False,
    output: Annotated[
        str, typer.Option(metavar="FILE", help="With --prometheus or --html: a file, whole or not at all.")
    ] = "",
    html: Annotated[bool, typer.Option("--html", help="As a page for a browser or a mail.")] = False,
    watch: Annotated[
        str, typer.Option(metavar="[SECONDS]", help="Again and again, after 2 seconds or so many; q quits.")
    ] = "",
) -> int:
    """How each pair is, after asking the peers. For monitoring: -H, and the exit code (0 all well, 1, 3, 5)."""
    from zrep.cli import rows, status

    names = [] if all_ else running.filesystems(filesystems or ["all"])
    if up_to_date:
        from zrep.ops import shell_words

        session = running.begin(context.obj, verbose=verbose)
        return running.run(session, lambda: shell_words.up_to_date(session, names or list(roles_here(session))))
    style = rows.style(columns, tabs, exact, ascending, descending, colour)
    form = status.form(json, nagios, warning, critical, prometheus, output, watch, html)
    if form.watch:
        begin = partial(running.silent, context.obj, may_be_empty)
        return status.watch(begin, names, style, form, members=members)
    return status.show(running.begin(context.obj, may_be_empty=may_be_empty), names, style, form, members=members)


@app.command()
def history(
    context: typer.Context,
    filesystems: Annotated[list[str] | None, typer.Argument(metavar="[FS...]", help="Only these.")] = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="And what moved no role.")] = False,
    json: Json = False,
) -> int:
    """What was done to pairs, role changes first. As the pools of both sides remember it."""
    from zrep.cli import document, output
    from zrep.ops.every_tag import each_tag
    from zrep.ops.history import history, in_order

    names = running.filesystems(filesystems or ["all"])
    session = running.begin(context.obj, json=json)
    session.warn = cache(session.warn)  # a peer that is lost is so under every tag
    with running.closing(session):
        found = in_order(history(one, given) for one, given in each_tag(session, names))
        if json:
            document.show(document.happened(session, found))
        else:
            output.events(found, verbose=verbose)
    return 0


@app.command()
def pause(
    context: typer.Context,
    filesystems: Annotated[list[str], typer.Argument(metavar="FS...")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Kept with it and shown by status.")] = "",
    dry_run: DryRun = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """Let sync send nothing of filesystems until unpause."""
    from zrep.ops.pause import pause

    session = running.begin(context.obj, dry_run=dry_run, verbose=verbose, json=json)
    return running.run(session, lambda: pause(session, _named(filesystems), reason))


@app.command()
def unpause(
    context: typer.Context,
    filesystems: Annotated[list[str], typer.Argument(metavar="FS...")],
    dry_run: DryRun = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """End a pause."""
    from zrep.ops.pause import unpause

    session = running.begin(context.obj, dry_run=dry_run, verbose=verbose, json=json)
    return running.run(session, lambda: unpause(session, _named(filesystems)))


@app.command()
def changeconfig(
    context: typer.Context,
    filesystem: Filesystem,
    host: Annotated[str, typer.Argument(metavar="[HOST]", help="The peer's new name for ssh.")] = "",
    target: Annotated[str, typer.Argument(metavar="[PEER_FS]", help="The other half's new name there.")] = "",
    of_shell: Annotated[bool, typer.Option("-d", "-f", hidden=True)] = False,
    own_host: Annotated[str, typer.Option(metavar="NAME", help="The name by which the peer reaches this host.")] = "",
    savecount: Annotated[int | None, typer.Option(metavar="N", min=1, help="Snapshots this side keeps.")] = None,
    lease: Annotated[
        int | None,
        typer.Option(metavar="SECONDS", min=0, help="As master: read-only after so long without the peer; 0: never."),
    ] = None,
    minfree: Annotated[str, typer.Option(metavar="SIZE", help="Of this side's pool, to keep free: 2% or 10G.")] = "",
    keep: Annotated[
        str, typer.Option(metavar="RULES", help="And by this schedule: '24h 14d 8w 12m 5y'; none ends it.")
    ] = "",
    keep_foreign: Annotated[
        str, typer.Option(metavar="PATTERN,...", help="Snapshots of others that the rules are for too; none ends it.")
    ] = "",
    bwlimit: BandwidthLimit = "",
    compress: Compress = "",
    unsent: Annotated[
        str, typer.Option(metavar="WHAT", help="Not replicated yet: keep, or drop where the rules do not keep it.")
    ] = "",
    max_lag: Annotated[
        str, typer.Option(metavar="TIME", help="The replica is late when behind for longer: 15m, 2h; none: never.")
    ] = "",
    after: Annotated[
        str, typer.Option(metavar="TIME", help="A trouble is told when it lasts for longer: 10m; none: at once.")
    ] = "",
    recursive: Annotated[
        bool | None, typer.Option("-r/--no-recursive", help="Everything below FS with it, as one tree; or no more.")
    ] = None,
    moved: Annotated[
        bool, typer.Option("--moved", help="FS's pool was moved to this host for good; the peer is told too.")
    ] = False,
    exclude: Annotated[
        bool | None,
        typer.Option("--exclude/--include", help="FS and all below it out of the tree that it is in; or in it again."),
    ] = None,
    all_snapshots: Annotated[
        bool | None,
        typer.Option("--all-snapshots/--no-all-snapshots", help="As master: those of others travel too; or no more."),
    ] = None,
    give: Annotated[
        list[str] | None,
        typer.Option("-o", metavar="NAME=VALUE", help="The replica's own value of a property."),
    ] = None,
    leave: Annotated[
        list[str] | None,
        typer.Option("-x", metavar="NAME", help="A property that does not follow; none ends it."),
    ] = None,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """Change what this side knows of the pair. Run it on each side that is to know."""
    del of_shell  # which side it is on is found out
    from zrep.ops.changeconfig import Config, changeconfig

    host, target = words.new_peer(host, target)
    session = running.begin(context.obj, dry_run=dry_run, verbose=verbose, json=json)
    props = "none" if leave == ["none"] and not give else words.properties(give or (), leave or ())
    config = Config(
        peer_host=host,
        peer_fs=target,
        own_host=own_host,
        savecount=savecount or 0,
        keep=keep,
        keep_foreign=keep_foreign,
        unsent=unsent,
        compress=compress,
        bwlimit=bwlimit,
        lease=lease,
        minfree=minfree,
        max_lag=max_lag,
        after=after,
        recursive=recursive,
        moved=moved,
        props=props,
        exclude=exclude,
        all_snapshots=all_snapshots,
    )
    return running.run(session, lambda: changeconfig(session, filesystem, config), filesystem)


@app.command()
def doctor(
    context: typer.Context,
    filesystems: Annotated[list[str] | None, typer.Argument(metavar="[FS...]", help="Only these.")] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what is safe to mend.")] = False,
    may_be_empty: MayBeEmpty = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """Look at both hosts for what will hurt later."""
    from zrep.ops.doctor import doctor

    names = running.filesystems(filesystems or ["all"])
    session = running.begin(context.obj, may_be_empty=may_be_empty, verbose=verbose, json=json)
    return running.run(session, lambda: doctor(session, names, fix=fix))


@app.command()
def boot(
    context: typer.Context,
    asking: Annotated[
        bool, typer.Option("--ask", help="Ask their peers, and make the right masters writable.")
    ] = False,
    wait: Annotated[str, typer.Option(metavar="TIME", help="With --ask: for how long a peer is waited for.")] = "1m",
    open_then: Annotated[
        bool, typer.Option("--open", help="With --ask: those whose peer did not answer become writable too.")
    ] = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """At boot: masters are read-only until peers answer."""
    from zrep.ops import boot

    longest = seconds(wait)
    if longest is None:
        raise UsageError(f"--wait {wait!r} is no time", evidence="expected 90s, 2m, 1h")
    if open_then and not asking:
        raise UsageError("--open goes with --ask")
    begin = partial(running.begin, context.obj, may_be_empty=True, verbose=verbose, json=json)
    if not asking:
        session = begin()
        return running.run(session, lambda: boot.hold(session))
    session, outcomes = boot.ask(begin, longest, open_then=open_then)
    return running.run(session, lambda: outcomes)


@app.command()
def allow(
    context: typer.Context,
    user: Annotated[str, typer.Argument(metavar="USER", help="Who is to replicate FS without being root.")],
    filesystem: Filesystem,
    send: Annotated[bool, typer.Option("--send", help="Streams go from here.")] = False,
    receive: Annotated[bool, typer.Option("--receive", help="Streams come here.")] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Set it, instead of only printing the commands.")] = False,
    json: Json = False,
) -> int:
    """Print what lets a user replicate a filesystem."""
    from zrep.ops.allow import allow

    if send and receive:
        raise UsageError("--send or --receive: run it once for each")
    session = running.begin(context.obj, json=json)
    with running.closing(session):
        found = allow(session, user, filesystem, receive=receive if send or receive else None, apply=apply)
    if json:
        from zrep.cli import document

        document.show(document.allowed(session, found))
        return 0
    for line in found:
        print(line)
    return 0


@app.command()
def gate(
    tree: Annotated[list[str], typer.Option("--tree", metavar="FS", help="What the peer may work in; several.")] = [],  # noqa: ARG001, B006  # typer copies it
    send: Annotated[bool, typer.Option("--send", help="The peer may take streams from here.")] = False,  # noqa: ARG001
    receive: Annotated[bool, typer.Option("--receive", help="The peer may bring streams here.")] = False,  # noqa: ARG001
    keep: Annotated[bool, typer.Option("--keep", help="What has arrived stays, whatever the peer asks.")] = False,  # noqa: ARG001
) -> int:
    """For authorized_keys: all that a peer may do, and with what."""
    raise UsageError("a gate needs a --tree, and --send, --receive or both", advice="see FORCED COMMAND in zrep(8)")


@app.command()
def clear(
    context: typer.Context,
    filesystem: Filesystem,
    local: Annotated[bool, typer.Option("-L", help="Only this side; the peer is not asked.")] = False,
    keep_base: Annotated[
        bool, typer.Option("--keep-base", help="Leave the base on both sides, for a later init --adopt.")
    ] = False,
    of_shell: Annotated[bool, typer.Option("-f", hidden=True)] = False,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """End a pair on both sides. Properties, holds and snapshots of zrep's go, the data stays."""
    if keep_base and local:
        raise UsageError("--keep-base does not go with -L", evidence="what the base is, both sides say")
    del of_shell  # it asks nobody
    from zrep.ops.clear import clear

    session = running.begin(context.obj, dry_run=dry_run, verbose=verbose, json=json)
    return running.run(session, lambda: clear(session, filesystem, local, keep_base=keep_base), filesystem)


@app.command()
def version(json: Json = False) -> int:
    """Print the version."""
    from zrep import __version__

    if json:
        from zrep.cli import document

        document.show(document.versioned(__version__))
        return 0
    print(f"zrep {__version__}")
    return 0
