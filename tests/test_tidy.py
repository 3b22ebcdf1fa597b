"""Rules that no linter holds: sizes, headers, dead modules, and what must not be written anywhere."""

import ast
import re
from functools import cache
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("smbproto", "storage", "smbsrv", "smbclient", "cluster")
CODE = (*PACKAGES, "tests", "interop", "bench", "tools")
SKIPPED = {".git", "build", "demo", "dist", "__pycache__", ".mypy_cache", ".ruff_cache",
           ".pytest_cache", ".hypothesis"}
TEXT = {".py", ".md", ".toml", ".sh", ".txt", ".c", ".h", ".tsv", ".sql", ".yml", ".cfg", ""}
GENERATED = {"LICENSE"}

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 600
LINE_CHARACTERS_MAX = 110

ENTRY_POINTS = {"cluster.cli.entry",     # [project.scripts]
                "smbsrv.io.stream"}      # the driver that a simulation uses
# Written in parts, so that this file does not hold what it looks for.
UNFINISHED = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK")))
REGISTRIES = re.compile("|".join(re.escape(".".join(parts)) for parts in (
    ("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("deb", "debian", "org"), ("crates", "io"),
    ("security", "debian", "org"), ("ftp", "debian", "org"))))
PRIVATE_PATHS = re.compile(r"(?<![\w.}*-])/(work|root|home/\w+)/")


def skipped(path: Path) -> bool:
    return any(part in SKIPPED or part.startswith(".venv") or part.endswith(".egg-info")
               for part in path.relative_to(ROOT).parts)


@cache
def python_files(*tops: str) -> tuple[Path, ...]:
    return tuple(path for top in tops for path in sorted((ROOT / top).rglob("*.py")) if not skipped(path))


@cache
def text_files() -> tuple[Path, ...]:
    return tuple(p for p in sorted(ROOT.rglob("*")) if p.is_file() and not skipped(p)
                 and p.suffix in TEXT and p.name not in GENERATED)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def numbered(path: Path) -> list[tuple[int, str]]:
    return list(enumerate(path.read_text(errors="replace").splitlines(), 1))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_functions_are_short():
    """Functions <= 70 lines."""
    faults = [f"{name(path)}:{node.lineno} {node.name} has {node.end_lineno - node.lineno + 1} lines"
              for path in python_files(*CODE) for node in ast.walk(parsed(path))
              if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
              and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX]
    assert not faults, "\n".join(faults)


def test_files_are_short():
    """Files <= 600 lines."""
    faults = [f"{name(path)} has {count} lines" for path in python_files(*CODE)
              if (count := len(path.read_text().splitlines())) > FILE_LINES_MAX]
    assert not faults, "\n".join(faults)


def test_lines_are_short():
    """Lines <= 110 characters."""
    faults = [f"{name(path)}:{number} has {len(line)} characters" for path in python_files(*CODE)
              for number, line in numbered(path) if len(line) > LINE_CHARACTERS_MAX]
    assert not faults, "\n".join(faults)


def test_every_module_has_a_header():
    """Every module has its header."""
    faults = [name(path) for path in python_files(*CODE) if not ast.get_docstring(parsed(path))]
    assert not faults, "\n".join(faults)


def imported_modules(path: Path) -> set[str]:
    """Every dotted name a file imports, with `from a import b` as both `a` and `a.b`."""
    package = PurePosixPath(name(path)).parent.parts
    found: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def test_no_module_is_dead():
    """Every module is imported by another of the packages, or is an entry point; a test keeps none alive."""
    used = {found for path in python_files(*PACKAGES)
            for found in imported_modules(path) - {module_name(path)}} | ENTRY_POINTS
    faults = [name(path) for path in python_files(*PACKAGES)
              if path.name not in ("__init__.py", "__main__.py") and module_name(path) not in used]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(("what", "pattern"), [
    ("a mark of unfinished work", UNFINISHED),
    ("the host of a package registry", REGISTRIES),
    ("a path of one machine", PRIVATE_PATHS),
])
def test_the_repository_does_not_hold(what, pattern):
    """No unfinished work, no registry's host (packages come by name), no path of one's own machine."""
    faults = [f"{name(path)}:{number} {line.strip()[:80]}" for path in text_files()
              for number, line in numbered(path) if pattern.search(line)]
    assert not faults, f"{what}:\n" + "\n".join(faults)


def test_packages_declare_their_types():
    """Fully typed: each package ships py.typed."""
    assert [top for top in PACKAGES if not (ROOT / top / "py.typed").is_file()] == []
