"""The library knows nothing of the studio, of Qt or of OpenGL."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

CORE = Path(__file__).parents[2] / "core" / "lipflow"
FORBIDDEN = {"PySide6", "shiboken6", "vispy", "pyqtgraph", "superqt", "lipflow_studio"}
FILES = sorted(CORE.rglob("*.py"))


def imported(source: str) -> set[str]:
    """The top packages that a module imports anywhere."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CORE)))
def test_core_imports_neither_qt_nor_the_studio(path: Path) -> None:
    assert not imported(path.read_text()) & FORBIDDEN


def test_the_check_sees_imports_inside_functions() -> None:
    assert imported("def f():\n    from PySide6.QtCore import QObject\n    import vispy.app") == {"PySide6", "vispy"}


def test_there_is_something_to_check() -> None:
    assert len(FILES) > 10


@pytest.mark.parametrize("folder", [CORE, CORE / "evaluation"], ids=lambda folder: folder.name)
def test_a_map_names_everything_that_is_there(folder: Path) -> None:
    shown = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    there = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    named = {name for name in there if f"``{name}``" in shown}
    assert there - named == {"__init__", *(name for name in there if name.startswith("export_"))}
