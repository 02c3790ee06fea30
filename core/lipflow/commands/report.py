"""``lipflow report``: lay an evaluation's report out anew, and put its tables into a README."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from lipflow.checks import InputError
from lipflow.files import replacing

BEGIN, END = "<!-- results -->", "<!-- /results -->"


@dataclass(frozen=True)
class Report:
    """Lay out report.html anew from what `lipflow evaluate` wrote; nothing is fitted or measured again."""

    folder: tyro.conf.Positional[Path]
    """Folder that holds results.json and exhibits.npz."""
    readme: Path | None = None
    """A Markdown file: what stands between its lines <!-- results --> and <!-- /results --> becomes the tables."""
    tables: tuple[int, ...] = (2, 3)
    """Which tables go into the Markdown file."""

    def run(self) -> None:
        # matplotlib is loaded only where something is drawn
        from lipflow.evaluation.exhibits import FILE, Exhibits
        from lipflow.evaluation.report import RESULTS, markdown_table, read_results, save_report

        results = read_results(self.folder / RESULTS)
        written = [save_report(results, Exhibits.load(self.folder / FILE), self.folder)]
        if self.readme is not None:
            _insert(self.readme, markdown_table(results, self.tables))
            written.append(self.readme)
        sys.stdout.write("".join(f"{path}\n" for path in written))


def _insert(path: Path, block: str) -> None:
    """Replace what stands between the two markers."""
    text = path.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(END) < text.index(BEGIN):
        raise InputError(f"{path}", expected=f"one line {BEGIN} and below it one line {END}", got="others")
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    with replacing(path) as beside:
        beside.write_text(f"{head}{BEGIN}\n\n{block}\n{END}{tail}", encoding="utf-8")
