"""Entry point: short forms, the fast paths, and the one place where every way a run can end becomes an exit code."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from zrep import __version__
from zrep.cli.words import SHORT, meant
from zrep.core.errors import AGAIN, BugError, CutShortError, ZrepError

# Seconds between two looks of status --watch, where none are given.
USUAL_WATCH = 2
_GLOBAL_WITH_VALUE = ("-t", "--tag")
# What Python itself may have set LC_CTYPE to, where the locale is C or not installed.
_COERCED = ("C.UTF-8", "C.utf8", "UTF-8")
# Started by sshd: what they print to standard output is read by the other host's zrep.
_NOT_OF_PEOPLE = ("peer", "gate")
# How a run is told to end.
_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What only prints, unless it has the word beside it; any other command only with -n.
_PRINTS = {"list": "", "status": "", "history": "", "version": "", "doctor": "--fix", "allow": "--apply"}


def main() -> None:
    """Entry point of the program: exit with the code of what was done."""
    outputs = [_Output(getattr(sys, name)) for name in ("stdout", "stderr")]
    sys.stdout, sys.stderr = outputs
    code = run(sys.argv[1:])
    for output in outputs:
        output.flush()
    if why := outputs[0].lost:
        done = "; what it was to do is done" if code == 0 and changes_something(sys.argv[1:]) else ""
        print(f"zrep: not all of its output could be written ({why}){done}", file=outputs[1], flush=True)
    if code == 0 and any(output.lost for output in outputs):
        code = 1
    # Nothing is left to be done: taking the interpreter apart would cost a tenth of a run with nothing to do.
    os._exit(code)


class _Output:
    """A standard stream that never raises: what is being done goes on to its end whether or not anybody can be told.

    lost: why something could not be written, where that is not that whoever read it has gone (zrep list | head)."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream if stream is not None else open(os.devnull, "w")  # noqa: SIM115  # as long as we run
        self._over = False
        self.lost = ""
        if isinstance(self._stream, io.TextIOWrapper):
            self._stream.reconfigure(errors="backslashreplace")  # a name of another alphabet, in a plain locale

    @property
    def encoding(self) -> str:
        """What can be shown: ASCII in the locale C and in those of before UTF-8, where Python may write UTF-8 all the
        same: one that is not installed. Rich draws by it."""
        every, letters, usual = (os.environ.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG"))
        if usual and letters in _COERCED:
            letters = ""
        locale = every or letters or usual or "C"
        codes = locale.partition(".")[2].partition("@")[0].lower()
        if locale in ("C", "POSIX") or (codes and not codes.startswith("utf")):
            return "ascii"
        return self._stream.encoding

    def reconfigure(self, **options: Any) -> None:
        if isinstance(self._stream, io.TextIOWrapper):
            stream = self._stream
            self._try(lambda: stream.reconfigure(**options))

    def write(self, text: str) -> int:
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, work: Callable[[], object]) -> None:
        if self._over:
            return
        try:
            work()
        except (OSError, ValueError) as error:
            self._over = True
            self.lost = "" if isinstance(error, BrokenPipeError) else getattr(error, "strerror", "") or str(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def run(arguments: Sequence[str]) -> int:
    """One whole run; every way it can end becomes an exit code and at most one line on stderr."""
    try:
        return _run(arguments)
    except KeyboardInterrupt:  # once more, in the moment before that was no longer heard
        return _cut_short(CutShortError("interrupted", advice=AGAIN), arguments)


def _run(arguments: Sequence[str]) -> int:
    try:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupt)
        return _dispatch(_watch_seconds(_long_forms(list(arguments))))
    except CutShortError as error:
        return _cut_short(error, arguments)
    except KeyboardInterrupt:
        return _cut_short(CutShortError("interrupted", advice=AGAIN), arguments)
    except ZrepError as error:
        return _fail(error, arguments)
    except Exception as error:  # the last resort: a traceback must not reach a person unexplained
        return _bug(error)


def _cut_short(error: CutShortError, arguments: Sequence[str]) -> int:
    """The same for a run that was ended from outside: one that only looks has begun nothing. Whoever presses Ctrl-C
    again has the line all the same, and what is printed after it may be ended like anybody's."""
    for number in _ENDS:
        signal.signal(number, signal.SIG_IGN)
    if not changes_something(arguments):
        error.advice = ""
    code = _fail(error, arguments)
    for number in _ENDS:
        signal.signal(number, signal.SIG_DFL)
    return code


def _fail(error: ZrepError, arguments: Sequence[str]) -> int:
    """Say what ended the run, as the command line wants to hear it; its exit code."""
    words = _own(arguments)
    if _command(words) in _NOT_OF_PEOPLE:
        words = []
    if "--json" in words or ("-j" in words and not {"list", "status", "-l", "-s"}.isdisjoint(words)):
        from zrep.cli import document

        document.show(document.failed(error))
    elif "--nagios" in words:
        from zrep.cli.monitors import nagios_failed

        text, code = nagios_failed(error)
        print(text)
        return code
    else:
        from zrep.cli.output import complain

        complain(error)
    return error.exit_code


def _interrupt(number: int, frame: object) -> None:
    """A polite end is taken like Ctrl-C: what can still be undone is."""
    raise KeyboardInterrupt


def _dispatch(arguments: list[str]) -> int:
    if arguments in (["version"], ["--version"], ["-V"]):
        print(f"zrep {__version__}")
        return 0
    from zrep.cli.settings import load_defaults, read_settings

    if arguments[:1] == ["peer"]:
        # The helper on the other host starts with every run: it needs no command line parser.
        from zrep.wire.server import serve

        return serve(read_settings(allowed=load_defaults().filters))
    if arguments[:1] == ["gate"] and (code := _gate(arguments[1:])) is not None:
        return code
    defaults = load_defaults()
    for unknown in defaults.unknown if sys.stderr.isatty() else ():
        print(f"zrep: {unknown}", file=sys.stderr)
    settings = read_settings(allowed=defaults.filters)
    if (plain := _plain_sync(arguments)) is not None:
        # Every minute, on small machines: without the command line parser it starts in half the time.
        from zrep.cli.run import filesystems, sync

        tag, command, names = plain
        return sync(settings if tag is None else settings.of(tag), filesystems(names), pull=command == "refresh")
    from zrep.cli.parser import invoke

    return invoke(arguments, settings)


def _gate(words: list[str]) -> int | None:
    """A session of a peer behind a gate; None where its words are for the command line parser. What the peer may have
    brought along in the environment counts for nothing."""
    from zrep.cli.settings import SETTINGS, load_defaults, read_settings

    own = {name: os.environ.pop(name) for name in SETTINGS if name in os.environ}
    settings = read_settings(allowed=load_defaults().filters)
    last = False
    if "SSH_CONNECTION" in os.environ:
        # Before the rest of zrep is loaded: who opens connections without end is turned away for little.
        from zrep.host.slots import take_session

        last = take_session(settings, words)
    from zrep.wire.gate import gate_of, run

    gate = gate_of(words)
    if gate is None:
        os.environ |= own
        return None
    return run(gate, settings, last=last)


def _plain_sync(arguments: Sequence[str]) -> tuple[str | None, str, list[str]] | None:
    """What cron runs, where the parser has nothing to do: a tag or None, ``sync`` or ``refresh``, and names, without an
    option. None for every other command line."""
    tag, rest = (arguments[1], arguments[2:]) if arguments[:1] == ["-t"] and len(arguments) > 1 else (None, arguments)
    names = list(rest[1:])
    plain = names and rest[0] in ("sync", "refresh") and all(name and not name.startswith("-") for name in names)
    return (tag, rest[0], names) if plain else None


def _long_forms(arguments: list[str]) -> list[str]:
    """The first word that is not a global option may be a short form: ``zrep -t other -S all``."""
    index = _command_at(arguments)
    arguments = meant(arguments, index)
    if index == 0:
        arguments, index = _tag_first(arguments)
    if index < len(arguments):
        arguments[index] = SHORT.get(arguments[index], arguments[index])
    return arguments


def changes_something(arguments: Sequence[str]) -> bool:
    """Whether a command line, one that makes sense, is there for more than what it prints."""
    words = _own(_long_forms(list(arguments)))
    options = [word for word in words if word.startswith("-")]
    flags = {letter for option in options if not option.startswith("--") for letter in option}
    if flags & {"h", "n"} or {"--help", "--dry-run"} & set(options):
        return False
    command = _command(words)
    return command != "" and (command not in _PRINTS or _PRINTS[command] in options)


def _own(arguments: Sequence[str]) -> list[str]:
    """The words of a command line that are for zrep: what stands after -- is for another program."""
    return list(arguments[: arguments.index("--")] if "--" in arguments else arguments)


def _command(words: Sequence[str]) -> str:
    """The command of a command line; "" for none."""
    return next((word for word in words[_command_at(words) :] if not word.startswith("-")), "")


def _command_at(arguments: Sequence[str]) -> int:
    """Where the first word is that is no global option."""
    index = 0
    while index < len(arguments) and arguments[index] in _GLOBAL_WITH_VALUE:
        index += 2
    return index


def _tag_first(arguments: list[str]) -> tuple[list[str], int]:
    """The same with a tag that was given after the command before it, and where the command is then. No command has an
    option of that name."""
    for at, word in enumerate(arguments):
        if word == "--" or arguments[0] in _NOT_OF_PEOPLE:
            break
        if word in _GLOBAL_WITH_VALUE and at + 1 < len(arguments):
            return [*arguments[at : at + 2], *arguments[:at], *arguments[at + 2 :]], 2
    return arguments, 0


def _watch_seconds(arguments: list[str]) -> list[str]:
    """The seconds after --watch may be left out: its parser knows no such option."""
    if "--watch" not in arguments:
        return arguments
    at = arguments.index("--watch")
    given = arguments[at + 1 : at + 2] if arguments[at + 1 : at + 2] and arguments[at + 1].isdigit() else []
    return [*arguments[:at], f"--watch={given[0] if given else USUAL_WATCH}", *arguments[at + 1 + len(given) :]]


def _bug(error: Exception) -> int:
    """Say that zrep is wrong, and keep what its developers need to see: in a file where one can be made."""
    import tempfile
    import traceback

    report = f"zrep {__version__}\n{sys.version}\n{''.join(traceback.format_exception(error))}"
    try:
        descriptor, path = tempfile.mkstemp(prefix="zrep-bug-", suffix=".txt")
        with open(descriptor, "w") as file:
            file.write(report)
        advice = f"please report it with the file {path}"
    except OSError:
        print(report, end="", file=sys.stderr)
        advice = "please report it with the lines above"
    bug = BugError(f"a bug in zrep: {error!r}", advice=advice)
    print(f"zrep: {bug.line()}", file=sys.stderr)
    return bug.exit_code
