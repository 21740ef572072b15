"""The house rules that a machine can check: floors, sizes, docstrings."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "qpsmtpd"
MAX_LINES = 300
MAX_FUNCTION = 50

OVERVIEW = (ROOT / "docs/overview.md").read_text()
LAYER = {
    name: int(layer)
    for layer, names in re.findall(r"^\| ([0-4]) \| ([^|]*) \|", OVERVIEW, re.MULTILINE)
    for name in re.findall(r"`([a-z_]+)/?`", names)
    if layer != "0" or name == "smtp"
}
"""The floor of each module, as the table of docs/overview.md has it; what has none is the side."""
SIDE = {"kit", "testing", "script", "__init__"}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield ".".join(("qpsmtpd", *path.relative_to(PACKAGE).with_suffix("").parts)), path


def floor_of(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports_of(tree: ast.Module, name: str) -> set[str]:
    """Name the modules of ours that are imported when the module is, those for type checkers left out."""
    found: set[str] = set()
    pending: list[ast.stmt] = list(tree.body)
    for node in pending:
        if isinstance(node, ast.If):
            if "TYPE_CHECKING" not in ast.dump(node.test):
                pending += node.body
            pending += node.orelse
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = name.split(".")[: -node.level] if node.level else []
            base = ".".join([*parts, *([node.module] if node.module else [])])
            found |= {base} if node.module else {f"{base}.{alias.name}" for alias in node.names}
    return {module for module in found if module.startswith("qpsmtpd")}


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def sources() -> list[Path]:
    return [*PACKAGE.rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]


class ImportTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.graph = {name: imports_of(parsed(path), name) for name, path in modules()}

    def test_every_module_has_its_floor(self) -> None:
        """A new module is given a floor in docs/overview.md."""
        floors = {floor_of(name) for name in self.graph}
        self.assertEqual(set(), floors - set(LAYER) - SIDE)
        self.assertEqual(set(), set(LAYER) - floors)

    def test_imports_point_down(self) -> None:
        """A module imports its own floor or one below; a kit module only what stands beside it or layer 0."""
        wrong = [
            (name, other)
            for name, others in self.graph.items()
            for other in others
            if floor_of(name) in LAYER
            and LAYER.get(floor_of(other), 5) > LAYER[floor_of(name)]
            and floor_of(other) != "kit"
        ]
        self.assertEqual([], wrong)

    def test_kit_stands_alone(self) -> None:
        """The kit imports itself and the language only."""
        wrong = [
            (name, other)
            for name, others in self.graph.items()
            for other in others
            if floor_of(name) == "kit" and floor_of(other) not in ("kit", "smtp")
        ]
        self.assertEqual([], wrong)

    def test_no_cycles(self) -> None:
        """No module imports itself by way of others."""
        left = {name: {o for o in others if o in self.graph} for name, others in self.graph.items()}
        while ends := {name for name, others in left.items() if not others}:
            left = {name: others - ends for name, others in left.items() if name not in ends}
        self.assertEqual({}, left)

    def test_language_is_standard_library(self) -> None:
        """Layer 0 needs nothing that has to be installed."""
        for path in (PACKAGE / "smtp").glob("*.py"):
            self.assertNotIn("twisted", path.read_text(), path)

    def test_reactor_is_handed_in(self) -> None:
        """Nobody imports the reactor when a module is imported."""
        for path in sources():
            for node in parsed(path).body:
                if isinstance(node, ast.ImportFrom) and node.module == "twisted.internet":
                    self.assertNotIn("reactor", [alias.name for alias in node.names], path)


class PatternTests(SynchronousTestCase):
    def test_no_possessive_groups(self) -> None:
        """A group that shall not give back is atomic, ``(?>(?:ab)*)``, and not possessive, ``(?:ab)*+``.

        Before Python 3.11.5 (cpython issue 106052) a possessive group keeps what it took of a last turn that
        failed: ``a.`` matched as a domain. Debian 12 has 3.11.2.
        """
        possessive = re.compile(r"\)(?:[*+?]|\{[0-9]*,?[0-9]*\})\+")
        self.assertTrue(all(possessive.search(bad) for bad in ("(a)*+", "(a)++", "(a)?+", "(a){1,}+")))
        found = [
            f"{path.relative_to(ROOT)}:{number}"
            for path in sources()
            for number, line in enumerate(path.read_text().splitlines(), 1)
            if possessive.search(line)
        ]
        self.assertEqual([], found)


class SizeTests(SynchronousTestCase):
    def test_files(self) -> None:
        """A file that outgrows 300 lines is split by subject."""
        sizes = {str(path.relative_to(ROOT)): path.read_text().count("\n") for path in sources()}
        self.assertEqual({}, {name: size for name, size in sizes.items() if size > MAX_LINES})

    def test_functions(self) -> None:
        """A function fits on a screen."""
        long = [
            (path.name, node.name)
            for path in sources()
            for node in functions(path)
            if (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION
        ]
        self.assertEqual([], long)


class DocstringTests(SynchronousTestCase):
    def test_modules(self) -> None:
        """Every module says what it is."""
        silent = [
            name for name, path in modules() if parsed(path).body and not ast.get_docstring(parsed(path))
        ]
        self.assertEqual([], silent)

    def test_public_names(self) -> None:
        """Every public class, function and method says what it does."""
        silent = [
            f"{name}.{node.name}"
            for name, path in modules()
            for node in public(parsed(path).body)
            if not ast.get_docstring(node)
        ]
        self.assertEqual([], silent)


def public(body: list[ast.stmt]) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name[0] == "_":
            continue
        if any(isinstance(d, ast.Name) and d.id == "overload" for d in node.decorator_list):
            continue
        yield node
        if isinstance(node, ast.ClassDef):
            yield from public(node.body)
