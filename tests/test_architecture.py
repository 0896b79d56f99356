"""The house rules, read from the source: which room may import which, and what is kept out.

A room is an entry at the top of the package. Rooms stand on floors; imports go down only, those
within functions included.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import zspace

HOUSE = Path(zspace.__file__).parent
FLOORS = (
    {"system"},
    {"data"},
    {"models"},
    {"analysis"},
    {"runs"},
    {"report"},
    {"sharing"},
    {"training", "explorer"},
    {"studies", "estimators"},
    {"cli"},
)
FLOOR = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
OUTSIDE = {"__init__", "__main__", "_version"}  # no rooms: names, and the way in
BANNED = {"torchvision", "lpips", "timm", "torch_fidelity", "pickle", "dill", "cloudpickle"}
BANNED |= {"joblib", "shelve", "marshal"}
FILES = sorted(HOUSE.rglob("*.py"))
COMMANDS = [str(path.relative_to(HOUSE)) for path in sorted(HOUSE.glob("cli/commands/*.py"))]
TREES = {path: ast.parse(path.read_text(), str(path)) for path in FILES}


def room(path: Path) -> str:
    """The room that a file is in."""
    return path.relative_to(HOUSE).with_suffix("").parts[0]


def named(path: Path) -> str:
    return str(path.relative_to(HOUSE))


def imports(path: Path, nodes: Iterator[ast.AST] | None = None) -> Iterator[str]:
    """Full names of what a file imports, 'zspace.system.files' for a module of a room too."""
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
    return found - OUTSIDE - {room(path)}


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


@pytest.mark.parametrize("path", ROOMED, ids=named)
def test_imports_between_rooms_go_down_only(path):
    """An import through the root would hide an arrow: it counts as an unknown room here."""
    own = room(path)
    for other in rooms_imported(path):
        assert other in FLOOR, f"{named(path)} imports zspace.{other}, which is no room"
        assert FLOOR[other] < FLOOR[own], f"{named(path)} imports {other}, which is not below"


@pytest.mark.parametrize("path", FILES, ids=named)
def test_rooms_are_imported_by_name_only(path):
    """`import_module` of a room, which no reader of imports can follow, is the root's alone."""
    if path == HOUSE / "__init__.py":
        return
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            assert all(alias.name.split(".")[0] != "zspace" for alias in node.names)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            assert "zspace" not in ast.unparse(node)


def test_no_two_files_have_one_name():
    names = Counter(path.name for path in FILES if path.name != "__init__.py")
    assert [name for name, times in names.items() if times > 1] == []


@pytest.mark.parametrize("path", FILES, ids=named)
def test_banned_packages_are_not_imported(path):
    names = {name.split(".")[0] for name in imports(path)}
    assert not names & BANNED
    assert "matplotlib" not in names or path.parent.name == "figures"


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


@pytest.mark.parametrize(
    "name", ["cli/main.py", "cli/__init__.py", "__init__.py", "__main__.py", *COMMANDS]
)
def test_the_way_in_imports_nothing_heavy(name):
    path = HOUSE / name
    light = {"zspace._version", "zspace.system.errors", "zspace.cli.main"}
    kinds = (
        node for node in TREES[HOUSE / "cli/__init__.py"].body if isinstance(node, ast.Assign)
    )
    light |= {f"zspace.cli.{ast.unparse(kind.targets[0])}" for kind in kinds}
    light |= {f"zspace.system.{name}" for name in ("bars", "cores", "renamed", "signals")}
    light |= {"tyro", "zspace.cli.commands"}
    light |= {f"zspace.cli.commands.{Path(command).stem}" for command in COMMANDS}
    light |= set(sys.stdlib_module_names)
    for module in imports(path, at_import(TREES[path])):
        known = {module, module.rpartition(".")[0], module.split(".")[0]} - {"zspace"}
        assert known & light, f"{name} imports {module} when it is imported"


def test_help_and_version_load_no_heavy_package():
    """What keeps `import zspace` and `zspace --help` fast, without a clock."""
    code = """
import sys
before = set(sys.modules)
import zspace
new = {name for name in set(sys.modules) - before}
new -= {name for name in new if name.split(".")[0] in sys.stdlib_module_names}
assert new == {"zspace", "zspace._version"}, new
from zspace.cli.main import run
for args in (["--version"], ["--help"], ["sample", "--help"], ["nonsense"]):
    try:
        run(args)
    except SystemExit:
        pass
heavy = {"torch", "numpy", "matplotlib", "sklearn", "scipy", "PIL", "zuko", "safetensors"}
sys.exit(", ".join(sorted(heavy & set(sys.modules))) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr.splitlines()[-1]
    assert "usage: zspace" in done.stdout


WITHOUT_EXTRAS = """
import importlib, pkgutil, sys
extras = ["starlette", "uvicorn", "ray", "fsspec", "datasets", "pyarrow", "polars", "onnx"]
extras += ["onnxscript", "onnxruntime", "huggingface_hub", "tensorboard", "wandb", "mlflow"]
for extra in extras:
    sys.modules[extra] = None
import zspace
zspace.train, zspace.load, zspace.evaluate, zspace.export
late = {"matplotlib", "sklearn", "scipy", "pandas", "openTSNE", "torchmetrics", "zuko", "jinja2"}
assert not late & set(sys.modules), late & set(sys.modules)
served = {"zspace.explorer." + name for name in ("access", "app", "server", "shelf")}
for module in pkgutil.walk_packages(zspace.__path__, "zspace."):
    if module.name not in {"zspace.__main__", *served}:
        importlib.import_module(module.name)
"""


def test_all_but_the_server_works_without_extras():
    """The page can be exported, and all else done, where only the package itself is installed.

    Before that: `zspace.train` and the like load torch, but nothing that they do not need at once.
    """
    code = [sys.executable, "-c", WITHOUT_EXTRAS]
    done = subprocess.run(code, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


BEHIND = {"mlflow-skinny": "mlflow", "sqlalchemy": "mlflow", "alembic": "mlflow"}
"""Packages of extras -> what is asked for in their place; MLflow keeps runs in SQL."""


def test_every_package_of_an_extra_is_used():
    tomllib = pytest.importorskip("tomllib", reason="needs tomllib: Python 3.11 or later")
    project = tomllib.loads((HOUSE.parents[1] / "pyproject.toml").read_text())["project"]
    written = "\n".join(path.read_text() for path in FILES)
    for extra, needed in project["optional-dependencies"].items():
        for one in needed if extra not in ("dev", "docs") else ():
            package = re.split(r"[^\w.-]", one)[0]
            assert BEHIND.get(package, package) in written, f"{package} of extra {extra}"


PUBLIC = """
import importlib, pkgutil, sys, zspace
names = [name for name in zspace.__all__ if not name.startswith("_")]
before = {{name: getattr(zspace, name) for name in names}}
modules = [m.name for m in pkgutil.walk_packages(zspace.__path__, "zspace.")]
for module in {order}(modules):
    if not module.endswith("__main__"):
        importlib.import_module(module)
for name in names:
    value = getattr(zspace, name)
    assert value is before[name] and callable(value), (name, value)
    for _ in range(2):
        try:
            value("there-is-no-such-thing")
        except TypeError as error:
            assert "module" not in str(error), (name, error)
        except Exception:
            pass
"""


@pytest.mark.parametrize("order", ["list", "reversed"])
def test_no_module_hides_a_public_name(order, tmp_path):
    """Each is called twice after every module was imported, in two orders."""
    code = PUBLIC.format(order=order)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", FILES, ids=named)
def test_no_function_has_the_name_of_a_module_beside_it(path):
    beside = {other.stem for other in path.parent.glob("*.py")}
    beside |= {folder.name for folder in path.parent.iterdir() if folder.is_dir()}
    functions = {
        node.name
        for node in TREES[path].body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert not functions & beside


def test_every_public_name_is_there():
    for name in zspace.__all__:
        assert getattr(zspace, name) is not None
    with pytest.raises(AttributeError, match="tarin"):
        _ = zspace.tarin
