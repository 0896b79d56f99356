"""The house rules, read from the source: which room may import which, and how large things grow.

Floors go up from 0. A module imports what lies below it. On floor 1 rooms do not know each other
but for the doors named here; from floor 2 on, neighbours may be imported, though never in a cycle.
"""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import zspace

HOUSE = Path(zspace.__file__).parent
FLOORS = (
    {"errors", "types"},
    {
        "distributions", "bottlenecks", "priors", "likelihoods", "terms", "objective", "settings",
        "machine", "meter", "nets", "data", "images", "files", "quality", "perceptual",
        "signals", "inputs", "ranks", "seals", "lock", "storage",
    },
    {"model", "loop", "optimizers", "averages", "judge"},
    {"recipes", "tutors", "checkpoint", "records", "compiling"},
    {
        "job", "session", "runs", "training", "trainer", "explore", "progress", "snapshots",
        "together",
    },
    {
        "figures", "outputs", "study", "grid", "table", "report", "evaluate", "executors",
        "cluster",
    },
    {"cli", "verbs", "commands", "studies", "web"},
)  # fmt: skip
FLOOR = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
DOORS = {("types", "errors"), ("likelihoods", "distributions"), ("terms", "distributions")}
DOORS |= {("seals", "files"), ("lock", "files")}
DOORS |= {("images", "files"), ("machine", "settings"), ("machine", "ranks"), ("nets", "data")}
OUTSIDE = {"__init__", "__main__", "_version"}  # no rooms: names, and the way in
BANNED = {"torchvision", "lpips", "timm", "torch_fidelity", "pickle", "dill", "cloudpickle"}
BANNED |= {"joblib", "shelve", "marshal"}
FILES = sorted(HOUSE.rglob("*.py"))
VERBS = [str(path.relative_to(HOUSE)) for path in sorted(HOUSE.glob("verbs/*.py"))]
TREES = {path: ast.parse(path.read_text(), str(path)) for path in FILES}


def room(path: Path) -> str:
    """The room that a file is in: a module of the package, or a sub-package as a whole."""
    return path.relative_to(HOUSE).with_suffix("").parts[0]


def named(path: Path) -> str:
    return str(path.relative_to(HOUSE))


def imports(path: Path, nodes: Iterator[ast.AST] | None = None) -> Iterator[str]:
    """Full names of what a file imports, 'zspace.files' for `from zspace import files` too."""
    package = ["zspace", *path.relative_to(HOUSE).parts[:-1]]
    for node in nodes or ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def rooms_imported(path: Path) -> set[str]:
    parts = [name.split(".") for name in imports(path)]
    found = {name[1] for name in parts if name[0] == "zspace" and len(name) > 1}
    return found - OUTSIDE - {room(path)} - {"__version__"}


def at_import(tree: ast.Module) -> Iterator[ast.AST]:
    """The nodes that run when a module is imported: not in functions, not for type checkers."""
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
            continue
        yield node
        todo += ast.iter_child_nodes(node)


ROOMED = [path for path in FILES if room(path) not in OUTSIDE]


def test_every_room_has_a_floor():
    assert {room(path) for path in ROOMED} - set(FLOOR) == set()


@pytest.mark.parametrize("path", ROOMED, ids=named)
def test_imports_go_down_only(path):
    own = room(path)
    for other in rooms_imported(path):
        assert other in FLOOR, f"{own} imports {other}, which has no floor"
        allowed = FLOOR[other] < FLOOR[own] or (own, other) in DOORS
        beside = FLOOR[other] == FLOOR[own] >= 2
        assert allowed or beside, f"{own} (floor {FLOOR[own]}) imports {other}"


def test_imports_make_no_cycle():
    graph: dict[str, set[str]] = {}
    for path in ROOMED:
        graph.setdefault(room(path), set()).update(rooms_imported(path))
    list(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("path", FILES, ids=named)
def test_banned_packages_are_not_imported(path):
    names = {name.split(".")[0] for name in imports(path)}
    assert not names & BANNED
    assert "matplotlib" not in names or room(path) == "figures"


@pytest.mark.parametrize("path", FILES, ids=named)
def test_nothing_is_pickled(path):
    """numpy's `allow_pickle` is only ever False, also where it writes, which it does by default;
    torch.save pickles; torch.load reads published weights only, without running what they hold.
    """
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert isinstance(node.value, ast.Constant)
            assert node.value.value is False
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) != ("torch", "save")
            assert node.value.id != "pickle"
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            safe = {k.arg: ast.unparse(k.value) for k in node.keywords}
            assert safe.get("weights_only") == "True"
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("np.save"):
            assert any(keyword.arg == "allow_pickle" for keyword in node.keywords), named(path)


def test_the_loop_knows_no_recipe():
    assert "recipes" not in rooms_imported(HOUSE / "loop.py")


@pytest.mark.parametrize("name", ["cli.py", "__init__.py", "__main__.py", *VERBS])
def test_the_way_in_imports_nothing_heavy(name):
    path = HOUSE / name
    light = {"__future__", "zspace._version", "zspace.errors", "zspace.cli", "tyro", "collections"}
    light |= {"zspace.verbs", *(f"zspace.verbs.{Path(verb).stem}" for verb in VERBS)}
    light |= set(sys.stdlib_module_names)
    for module in imports(path, at_import(TREES[path])):
        known = {module, module.rpartition(".")[0], module.split(".")[0]} - {"zspace"}
        assert known & light, f"{name} imports {module} when it is imported"


def test_help_and_version_load_no_heavy_package():
    """What keeps `zspace --help` within half a second, without a clock."""
    code = """
import sys
from zspace.cli import main
for args in (["--version"], ["--help"], ["sample", "--help"], ["nonsense"]):
    try:
        main(args)
    except SystemExit:
        pass
import zspace
heavy = {"torch", "numpy", "matplotlib", "sklearn", "scipy", "PIL", "zuko", "safetensors"}
sys.exit(", ".join(sorted(heavy & set(sys.modules))) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr.splitlines()[-1]
    assert "usage: zspace" in done.stdout


@pytest.mark.parametrize("path", FILES, ids=named)
def test_files_and_functions_stay_short(path):
    assert len(path.read_text().splitlines()) <= 350
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            documented = len((ast.get_docstring(node) or "").splitlines())
            lines = node.end_lineno - node.lineno + 1 - documented  # a command's help is its doc
            assert lines <= 40, f"{named(path)}: {node.name} has {lines} lines"


def test_every_public_name_is_there():
    for name in zspace.__all__:
        assert getattr(zspace, name) is not None
    with pytest.raises(AttributeError, match="tarin"):
        _ = zspace.tarin
