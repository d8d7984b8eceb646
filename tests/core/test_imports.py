"""Imports run one way, and processes are started in two places: zrep's own, and an administrator's."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import zrep

ROOT = Path(zrep.__file__).parent
# Each room, and the rooms it may look into: upwards, none.
ALLOWED = {
    "core": {"core"},
    "zfs": {"core", "zfs"},
    "host": {"core", "zfs", "host", ""},
    "wire": {"core", "zfs", "host", "wire"},
    "ops": {"core", "zfs", "host", "wire", "ops"},
}
STARTS_PROCESSES = {"host/child.py", "host/programs.py"}
# These talk to a child that child.start made for them: the constants and types, never a start.
MAY_NAME_SUBPROCESS = STARTS_PROCESSES | {
    "host/guard.py",
    "host/process.py",
    "wire/client.py",
    "wire/dial.py",
    "wire/gate.py",
}


def modules() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py"))


def imports(tree: ast.Module) -> Iterator[str]:
    """Full names of everything imported at run time; not what only a type checker sees."""
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            skipped |= {inner for statement in node.body for inner in ast.walk(statement)}
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports only"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    relative = path.relative_to(ROOT)
    allowed = ALLOWED.get(relative.parts[0])
    if allowed is None:
        return
    for name in imports(ast.parse(path.read_text())):
        parts = name.split(".")
        if parts[0] != "zrep":
            continue
        # "zrep.__version__" belongs to no layer.
        layer = parts[1] if (ROOT / parts[1]).is_dir() or (ROOT / f"{parts[1]}.py").exists() else ""
        assert layer in allowed or (layer == "" and "" in allowed), f"{relative} imports {name}"


def test_no_module_imports_itself_through_others() -> None:
    """graphlib.TopologicalSorter raises CycleError, with the circle, where there is one."""
    names = {".".join(("zrep", *path.relative_to(ROOT).with_suffix("").parts)): path for path in modules()}
    graph = {
        name: {parent for found in imports(ast.parse(path.read_text())) if (parent := _module(found, names))} - {name}
        for name, path in names.items()
    }
    assert len(tuple(TopologicalSorter(graph).static_order())) == len(names)


def _module(imported: str, names: Collection[str]) -> str:
    """The module of zrep that an imported name is, or is in; "" for none."""
    return next((name for name in (imported, imported.rpartition(".")[0]) if name in names), "")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_processes_are_started_in_two_places(path: Path) -> None:
    relative = str(path.relative_to(ROOT))
    tree = ast.parse(path.read_text())
    named = {name.split(".")[0] for name in imports(tree)}
    if relative not in MAY_NAME_SUBPROCESS:
        assert not named & {"subprocess", "multiprocessing", "pty"}, relative
    if relative in STARTS_PROCESSES:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            started = called.startswith(("subprocess.", "os.system", "os.popen", "os.spawn", "os.exec", "os.fork"))
            assert not started, f"{relative}: {called}"


def test_the_core_is_pure() -> None:
    for path in (ROOT / "core").glob("*.py"):
        named = {name.split(".")[0] for name in imports(ast.parse(path.read_text()))}
        assert not named & {"os", "sys", "time", "random", "secrets", "pathlib", "socket", "datetime"}, path.name
