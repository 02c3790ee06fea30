"""``lipflow report``: lay an evaluation's report out anew, and put its tables into a README."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from lipflow.checks import InputError
from lipflow.evaluation.results_file import RESULTS, read_results
from lipflow.files import replacing

BEGIN, END = "<!-- results -->", "<!-- /results -->"


@dataclass(frozen=True)
class Report:
    """Lay out report.html anew from what `lipflow evaluate` wrote; nothing is fitted or measured again."""

    folder: tyro.conf.Positional[Path]
    """Folder that holds results.json, and exhibits.npz for the report's faces, fitting curves and latent planes."""
    readme: Path | None = None
    """A Markdown file: what stands between its lines <!-- results --> and <!-- /results --> becomes the tables."""
    tables: tuple[int, ...] = (2, 3)
    """Which tables go into the Markdown file."""
    exhibits: bool = True
    """Whether report.html shows what exhibits.npz holds."""

    def run(self) -> None:
        # matplotlib is loaded only where something is drawn
        from lipflow.evaluation.exhibits import FILE, Exhibits
        from lipflow.evaluation.report import REPORT, markdown_table, save_report

        results = read_results(self.folder / RESULTS)
        block = None if self.readme is None else markdown_table(results, self.tables)  # refused before it is laid out
        written: list[Path] = []
        if self.exhibits and self.readme is not None and not (self.folder / FILE).exists():
            left = "its faces, curves and latent planes; --no-exhibits lays it out without them"
            sys.stderr.write(f"{self.folder / REPORT}: left as it is, since there is no {FILE} with {left}\n")
        else:
            exhibits = Exhibits.load(self.folder / FILE) if self.exhibits else Exhibits("", (), (), ())
            written.append(save_report(results, exhibits, self.folder))
        if self.readme is not None and block is not None:
            _insert(self.readme, block)
            written.append(self.readme)
        sys.stdout.write("".join(f"{path}\n" for path in written))


def _insert(path: Path, block: str) -> None:
    """Replace what stands between the two markers."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}", expected="text in UTF-8", got=error) from error
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(END) < text.index(BEGIN):
        raise InputError(f"{path}", expected=f"one line {BEGIN} and below it one line {END}", got="others")
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    with replacing(path) as beside:
        beside.write_text(f"{head}{BEGIN}\n\n{block}\n{END}{tail}", encoding="utf-8")
