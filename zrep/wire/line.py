"""A command line that crosses ssh, word by word, and the one that starts the helper.

Whatever login shell reads it, csh and fish too: every word is in single quotes, which all of them take alike as long
as there is no quote, exclamation mark, backslash or line break in it. zrep's own words have none; names are checked.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from zrep.core.errors import RefusedError, UsageError
from zrep.core.names import STREAM_MARK

WORD = re.compile(r"'([^'!\\\n]*)'")
# Any PATH. What login files printed, with or without a line break at its end, is followed by the mark on a line of its
# own.
COMMAND = (
    "PATH=/usr/local/bin:$PATH:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH; "
    f'echo; echo {STREAM_MARK}; exec "$0" "$@"'
)
_BEGINNING = "sh -c "


def ssh_words(text: str) -> list[str]:
    """The words that start ssh, as SSH in the environment says them; UsageError when it cannot be read."""
    try:
        return shlex.split(text) or ["ssh"]
    except ValueError as error:
        raise UsageError(f"SSH is {text!r}", evidence=str(error)) from None


def helper(program: str) -> str:
    """The line that starts the helper."""
    return line_of([COMMAND, program, "peer"])


def line_of(words: Sequence[str]) -> str:
    """The line that has sh carry out a script, the first of the words, with the others. RefusedError for one that not
    every shell would pass on."""
    for word in words:
        if not WORD.fullmatch(f"'{word}'"):
            raise RefusedError("this cannot be passed through every shell", evidence=repr(word)[:120])
    return _BEGINNING + " ".join(f"'{word}'" for word in words)
