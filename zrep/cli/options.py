"""The arguments and options that several commands share: each has one meaning and one line of help."""

from __future__ import annotations

from typing import Annotated

import typer

from zrep.cli import words

# What a command is for.
Filesystem = Annotated[
    str, typer.Argument(metavar="FS", help="Filesystem or volume on this host.", callback=words.one_dataset)
]
Filesystems = Annotated[list[str], typer.Argument(metavar="FS...|all", help="Filesystems here, or all.")]
NamedFilesystems = Annotated[list[str], typer.Argument(metavar="FS...")]
OnlyThese = Annotated[list[str] | None, typer.Argument(metavar="[FS...]", help="Only these.")]
MayBeEmpty = Annotated[bool, typer.Option("--may-be-empty", help="No pair under this tag is no mistake.")]
ThisSideOnly = Annotated[bool, typer.Option("-L", help="Only this side; the peer is not asked.")]

# How it is done, and what is said of it.
DryRun = Annotated[bool, typer.Option("-n", "--dry-run", help="Print each command with its host; change nothing.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say what was done, and what is worth knowing.")]
Json = Annotated[bool, typer.Option("--json", help="Results and errors as one JSON document.")]
ForceUnmount = Annotated[bool, typer.Option("--force-unmount", help="Go on although files of FS are open to write.")]

# What a pair's streams go through.
BandwidthLimit = Annotated[
    str,
    typer.Option("--bwlimit", metavar="RATE", help="Of its streams: 500K, 10M a second, by pv or mbuffer; or none."),
]
Compress = Annotated[
    str, typer.Option("--compress", metavar="PROGRAM", help="Its streams on the wire: zstd, lz4, gzip, pigz; or none.")
]

# Of sync and refresh.
Quiet = Annotated[int, typer.Option("-q", metavar="SECONDS", min=0, help="Busy is no news when synced that recently.")]
After = Annotated[
    str,
    typer.Option(
        "--after", metavar="TIME", help="With all, from cron: a trouble is told when it lasts for longer: 10m."
    ),
]

# Of list and status: which rows, and in what form.
Members = Annotated[bool, typer.Option("-r", help="The members of trees too.")]
Tabs = Annotated[bool, typer.Option("-H", help="Tab-separated, no heading, exact numbers: for scripts.")]
Exact = Annotated[bool, typer.Option("-p", help="Exact numbers and whole names.")]
Columns = Annotated[str, typer.Option("-o", metavar="FIELD,...", help="These fields, in this order.")]
Ascending = Annotated[str, typer.Option("-s", metavar="FIELD", help="Sort by a field.")]
Descending = Annotated[str, typer.Option("-S", metavar="FIELD", help="Sort by a field, descending.")]
RowsJson = Annotated[bool, typer.Option("-j", "--json", help="As one JSON document.")]
Colour = Annotated[str, typer.Option("--color", metavar="WHEN", help="auto, always or never.")]
