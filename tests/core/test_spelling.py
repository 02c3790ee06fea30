"""What users read is spelt the British way: grey, colour, centre. Names of a library's interface are as they are."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXTS = sorted(
    [ROOT / "README.md"]
    + [
        path
        for folder in ("app", "core", "docs")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".md", ".html")
    ]
)
# As a word of a sentence: not a part of a name, of a style sheet, or a value in quotes.
AMERICAN = re.compile(
    r"(?<![-\w.:'\"`])(gray|grayscale|color(ed|s)?|center(ed|s)?|behavior|neighbor(s)?)(?![-\w:=('\"`])", re.I
)
NAMES = re.compile(r"``[^`]*``|`[^`]*`|outside lower center")  # code in a text; a place of matplotlib


def sentences(path: Path) -> Iterator[tuple[int, str]]:
    """What there is to read in a file, with its line: of a program the strings and comments."""
    text = path.read_text()
    if path.suffix != ".py":
        yield from enumerate(text.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.STRING, tokenize.COMMENT):
            yield token.start[0], token.string


@pytest.mark.parametrize("suffix", [".py", ".md", ".html"])
def test_words_are_spelt_the_british_way(suffix: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {match.group()}"
        for path in TEXTS
        if path.suffix == suffix
        for line, text in sentences(path)
        for match in AMERICAN.finditer(NAMES.sub("", text))
    ]
    assert found == []
