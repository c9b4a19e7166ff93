"""The house's rules that import-linter and ruff can't state, and import-linter's own.

Sizes have a soft target (300 lines a file, 40 a function) and the hard limit tested here.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "ecokart"
MODULES = {
    ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts): path
    for path in sorted(SOURCE.rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in MODULES.items()}

MOST_FILE_LINES = 350
MOST_FUNCTION_LINES = 60
GLANCE_STATEMENTS = 6
VAGUE = {"utils", "util", "helpers", "helper", "manager", "base", "common", "misc"}
ROUTES = {"api", "pages"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def test_imports_go_only_where_they_may() -> None:
    linted = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-logo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_only_settings_read_the_environment() -> None:
    readers = {
        f"{name}:{line}"
        for name, tree in TREES.items()
        if name != "ecokart.settings"
        for line in _environment_read(tree)
    }
    assert not readers


def test_a_feature_leaves_the_tables_of_others_alone() -> None:
    tables = {name: set(_tables(tree)) for name, tree in TREES.items()}
    borrowed = {
        f"{name}:{line} uses {module}.{attribute}"
        for name, tree in TREES.items()
        for module, attribute, line in _names_used(tree)
        if attribute in tables.get(module, ())
        and (owner := _feature(module))
        and _feature(name) not in {None, owner}
    }
    assert not borrowed


@pytest.mark.parametrize("name", MODULES)
def test_files_and_functions_are_short(name: str) -> None:
    lines = len(MODULES[name].read_text("utf-8").splitlines())
    assert lines <= MOST_FILE_LINES, f"{lines} lines: what is the second thing this file does?"
    long = {
        node.name: length
        for node in ast.walk(TREES[name])
        if isinstance(node, Function) and (length := _length(node)) > MOST_FUNCTION_LINES
    }
    assert not long


def test_names_say_what_is_inside() -> None:
    assert not {name for name in MODULES if VAGUE & set(name.split("."))}


@pytest.mark.parametrize("name", MODULES)
def test_what_is_public_says_what_it_promises(name: str) -> None:
    """Modules, classes, and functions of more than a glance. Routes say it by their paths and fields."""
    tree = TREES[name]
    silent = [
        f"{getattr(node, 'name', 'the module')}:{getattr(node, 'lineno', 1)}"
        for node in _public(tree, routes=name.rsplit(".", 1)[-1] in ROUTES)
        if not ast.get_docstring(node)
    ]
    assert not silent


def test_nothing_is_left_to_do() -> None:
    left = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")
    assert not list(_found(left))


def test_nothing_names_a_place_on_somebodys_machine() -> None:
    """Homes, and this checkout's own place where that isn't one of the usual folders."""
    usual = {"app", "builds", "mnt", "opt", "private", "srv", "tmp", "usr", "var", "workspace"}
    places = [r"(?:home|Users)/\w", "root/"]
    if len(ROOT.parts) > 2 and ROOT.parts[1] not in usual:
        places.append(re.escape(ROOT.parts[1]) + "/")
    assert not list(_found(re.compile(rf"(?<![\w.:/>-])/(?:{'|'.join(places)})")))


def test_nothing_names_where_to_download_from() -> None:
    """Whoever installs decides on the registry; hashes decide on what is installed."""
    files = r"https?://[^\s\"'<>)]+\.(?:whl|zip|tgz|tar\.\w+|deb|jar|exe|dmg)\b"
    registries = r"https?://[^\s/]*(?:pypi|pythonhosted|npmjs|artifact|nexus)[^\s/]*"
    options = r"--(?:extra-)?index-url[ =]|--find-links[ =]|--trusted-host[ =]"
    assert not list(_found(re.compile(f"{files}|{registries}|{options}")))


def _found(pattern: re.Pattern[str]) -> Iterator[str]:
    """`file:line` of every match in the tracked text files."""
    for path in _tracked():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if match := pattern.search(line):
                yield f"{path.relative_to(ROOT)}:{number}: {match[0]}"


def _tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout: there are no tracked files to look at")
    return [path for name in listed.stdout.split("\0") if (path := ROOT / name).is_file()]


def _environment_read(tree: ast.Module) -> Iterator[int]:
    """The lines that read the environment."""
    readers = {"environ", "environb", "getenv", "getenvb"}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="os"), attr=name) if name in readers:
                yield node.lineno
            case ast.ImportFrom(module="os", names=imported):
                if readers & {alias.name for alias in imported}:
                    yield node.lineno


def _tables(tree: ast.Module) -> Iterator[str]:
    """The names a module gives to its `Table(…)` declarations."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=called)):
                pass
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Call(func=called)):
                pass
            case _:
                continue
        if ast.unparse(called).split("[")[0].split(".")[-1] == "Table":
            yield name


def _names_used(tree: ast.Module) -> Iterator[tuple[str, str, int]]:
    """Every `from module import name`, and every `alias.name` of an imported module, with its line."""
    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), names=names):
                for alias in names:
                    modules[alias.asname or alias.name] = f"{module}.{alias.name}"
                    yield module, alias.name, node.lineno
            case ast.Import(names=names):
                modules |= {alias.asname or alias.name: alias.name for alias in names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            path = ast.unparse(node.value)
            yield modules.get(path, path), node.attr, node.lineno


def _feature(module: str) -> str | None:
    """`ecokart.features.cart.model` → `cart`."""
    for parent, child in pairwise(module.split(".")):
        if parent == "features":
            return child
    return None


def _length(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _public(tree: ast.Module, *, routes: bool) -> Iterator[ast.Module | ast.ClassDef | Function]:
    """What others may use and wouldn't understand at a glance."""
    if tree.body:
        yield tree
    for node in [] if routes else tree.body:
        match node:
            case ast.ClassDef(name=name) if not name.startswith("_"):
                yield node
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                statements = sum(isinstance(inner, ast.stmt) for inner in ast.walk(node)) - 1
                if statements > GLANCE_STATEMENTS and not name.startswith("_"):
                    yield node
