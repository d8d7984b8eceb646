"""zrep version: its signature and help."""

from __future__ import annotations

from zrep.cli.options import Json


def version(json: Json = False) -> int:
    """Print the version."""
    from zrep import __version__

    if json:
        from zrep.cli import document

        document.show(document.versioned(__version__))
        return 0
    print(f"zrep {__version__}")
    return 0
