"""The report: one file that needs nothing else, honest about ties, whole whatever an evaluation left out."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from lipflow.checks import InputError
from lipflow.commands.report import BEGIN, END
from lipflow.commands.report import Report as ReportCommand
from lipflow.evaluation.drawing import LOOKS, look_of
from lipflow.evaluation.exhibits import FILE, Exhibits
from lipflow.evaluation.figures import calibration_figure
from lipflow.evaluation.protocols import TABLES
from lipflow.evaluation.report import markdown_table, render_report
from lipflow.evaluation.report_tables import table_row
from lipflow.evaluation.results_file import read_results
from lipflow.evaluation.standings import MEASURES, PAPER_ORDER, order_in_the_paper, standing, verdict
from lipflow.fitting import FitConfig
from lipflow.serial import to_json
from lipflow.variants import VARIANTS
from support.example_results import example_results, interval, some_exhibits

PSNR, GEOM_MM = MEASURES[0], MEASURES[3]
NOTHING = Exhibits("", (), (), ())


class _Page(HTMLParser):
    """Ids, references, and whether every element that is opened is closed."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name == "id" and value:
                self.ids.append(value)
            if name in ("href", "xlink:href", "src") and value:
                self.links.append(value)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def html() -> str:
    return render_report(example_results(), some_exhibits())


def test_the_report_needs_nothing_else(html: str) -> None:
    page = _Page(html)
    assert page.open == []
    assert not page.tags & {"script", "link", "iframe"}
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        assert link.startswith("data:image/png;base64,") or link[0] == "#", link[:80]
        assert link[0] != "#" or link[1:] in page.ids, link
    for reference in re.findall(r"url\(#([^)]*)\)", html):
        assert reference in page.ids
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)


def test_every_part_is_there(html: str) -> None:
    results = example_results()
    for run in results["runs"]:
        assert run["config_hash"] in html
    for table in results["tables"]:
        assert table["title"] in html
    for anchor in ("impoverishment", "latent", "sigma", "calibration", "search", "runs"):
        assert f'id="{anchor}"' in html
    for name in ("trained", "judged", "revision"):
        assert results["made"][name] in html
    assert "28.2 dB, 1.50 mm" in html  # of the strip's face
    assert '83%<span class="sub">too few</span>' in html.replace("% <", "%<")  # of intervals that should hold 90%
    assert '87%<span class="sub">as meant</span>' in html.replace("% <", "%<")


def test_figures_follow_the_theme_and_are_the_same_each_time(html: str) -> None:
    assert "prefers-color-scheme:dark" in html
    assert "var(--ink)" in html
    assert not re.search(r"#0(10203|40506|70809|a0b0c)", html)
    small = _small(example_results(tables=(3,)))
    assert render_report(small, some_exhibits()) == render_report(small, some_exhibits())


def _small(results: dict[str, Any]) -> dict[str, Any]:
    """Without the parts that an evaluation may leave out."""
    return {**results, "impoverishment": [], "search": [], "calibration": None}


def test_a_report_without_the_optional_parts() -> None:
    results = _small(example_results(tables=(2,))) | {"preset": None}
    results["budget"]["frames"] = [600, 667]
    for run in results["runs"]:
        run |= {"scalars": {}, "validation": {}}
    html = render_report(results, NOTHING)
    assert "600 or 667 frames" in html
    for anchor in ("impoverishment", "latent", "calibration", "search"):
        assert f'id="{anchor}"' not in html


def test_a_report_of_one_expression_has_no_intervals() -> None:
    """One expression alone tells no interval: means stand alone and nothing is better or worse."""
    results = example_results(tables=(2, 3))
    _blank(results["tables"], ("low", "high"))
    _blank(results["impoverishment"], ("low", "high"))
    _blank(results["calibration"], ("low", "high"))
    results["tables"][0]["rows"][1]["ssim"]["mean"] = None
    results["search"][0]["candidates"][0]["validation_psnr"] = None
    html = render_report(results, NOTHING)
    body = html[html.index('id="table-2-hmc"') : html.index('id="impoverishment"')]
    assert "▲" not in body
    assert "▼" not in body
    assert "<b>" not in body
    assert "29.03" in body
    assert "None" not in html
    assert "nan" not in re.sub(r"base64,[^\"]*", "", html).lower().split()
    assert "nan" not in markdown_table(results)


def _blank(value: Any, keys: tuple[str, ...]) -> None:
    for one in value if isinstance(value, list) else value.values() if isinstance(value, dict) else ():
        if isinstance(one, dict) and set(keys) <= set(one):
            one.update(dict.fromkeys(keys))
        _blank(one, keys)


def test_names_are_escaped() -> None:
    results = _small(example_results(tables=(2,)))
    for row in results["tables"][0]["rows"]:
        row["title"] += " <script>&"
    results["subjects"] = ["<b>"]
    html = render_report(results, NOTHING)
    assert "<script>" not in html
    assert "<b>," not in html


def test_a_prior_that_spread_to_its_cap_is_said() -> None:
    results = example_results()
    assert "its cap held it" not in render_report(results, NOTHING)
    for run in results["runs"]:
        if run["variant"] == "lip-flow-hmc":
            run["scalars"]["sigma_p"] = 140.0
    assert "LiP-Flow-HMC: σp 140 to 140, and the cap is 148" in render_report(results, NOTHING)


def test_the_posteriors_of_a_dam_stand_beside_those_of_the_input_it_is_fitted_to() -> None:
    entry = example_results()["calibration"][0]
    drawn = calibration_figure([{**entry, "variant": "lip-kl-kpt"}, {**entry, "variant": "dam"}])
    assert ">None<" not in drawn
    assert drawn.count(">From keypoints<") == 1


def test_foreign_results_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lipflow-evaluation 1"):
        render_report({"format": "other", "version": 1}, NOTHING)
    with pytest.raises(InputError, match="lipflow-evaluation 1"):
        markdown_table({**example_results(), "version": 2})
    (tmp_path / "results.json").write_text("[1, 2")
    with pytest.raises(InputError, match=r"results\.json"):
        read_results(tmp_path / "results.json")
    with pytest.raises(InputError, match="no such file"):
        read_results(tmp_path / "none.json")


# ---- who leads


def _row(title: str, psnr: float, difference: float | None, half: float = 0.1) -> dict[str, Any]:
    paired = (
        None if difference is None else {"psnr": interval(difference, half), "geom_mm": interval(-difference, half)}
    )
    own = {"psnr": interval(psnr, 1.0), "geom_mm": interval(40 - psnr, 1.0)}
    return {"title": title, "name": title, "variant": title, "reference": difference is None, "paired": paired, **own}


@pytest.mark.parametrize("measure", [PSNR, GEOM_MM], ids=lambda measure: measure.key)
def test_a_row_leads_alone_only_where_every_difference_excludes_zero(measure: Any) -> None:
    reference, near, far = _row("flow", 30.0, None), _row("kl", 29.95, -0.05), _row("dam", 29.0, -1.0)
    found = standing([far, near, reference], measure)
    assert found is not None
    assert found.best is reference
    assert found.tied == (near,)
    alone = standing([far, reference], measure)
    assert alone is not None
    assert alone.tied == ()


def test_floor_and_ceiling_lead_nothing() -> None:
    reference, ceiling = _row("flow", 30.0, None), {**_row("recorded", 34.0, 4.0), "variant": None}
    found = standing([ceiling, reference], PSNR)
    assert found is not None
    assert found.best is reference


def test_a_row_that_beats_the_reference_is_tied_with_its_like() -> None:
    reference = _row("flow", 30.0, None)
    best, second, third = _row("a", 30.5, 0.5), _row("b", 30.4, 0.4), _row("c", 30.2, 0.2)
    found = standing([reference, third, second, best], PSNR)
    assert found is not None
    assert found.best is best
    assert found.tied == (second,)


def test_verdicts_know_which_way_is_better() -> None:
    up, down, open_ = interval(0.5, 0.1), interval(-0.5, 0.1), interval(0.05, 0.1)
    assert [verdict(x, PSNR) for x in (up, down, open_, None)] == ["better", "worse", "tied", ""]
    assert [verdict(x, GEOM_MM) for x in (up, down)] == ["worse", "better"]
    assert verdict({"mean": 1.0, "low": None, "high": None}, PSNR) == ""


def test_bold_and_signs_in_the_page(html: str) -> None:
    """In the example Table 3 is led alone by LiP-Flow, Table 2 by three rows together."""
    cut = [html.index(f'id="table-{k}-{d}"') for k, d in ((2, "hmc"), (3, "kpt"), (4, "hmc"))]
    second, third = html[cut[0] : cut[1]], html[cut[1] : cut[2]]
    second, third = (part[: part.index("<figure>")] for part in (second, third))
    assert "<b>" not in second
    assert "tied with it: DAM-HMC Reg. + fit, LiP-Flow-HMC" in second
    assert "<b>29.00</b>" in third
    assert "▼ −1.00 [−1.15, −0.85]" in third
    assert "≈ +0.02 [−0.13, +0.17]" in second


def test_the_papers_order_names_rows_that_protocols_have() -> None:
    names = {(table.number, table.driving): {row.name for row in table.rows} for table in TABLES}
    for key, order in PAPER_ORDER.items():
        assert set(order) <= names[key]


def test_the_order_is_compared_over_common_rows() -> None:
    (table,) = (t for t in example_results()["tables"] if t["number"] == 2)
    found = order_in_the_paper(table)
    assert found is not None
    theirs, ours = ([row["name"] for row in rows] for rows in found)
    assert theirs[0] == "lip-flow-hmc/fit"
    assert ours[0] == "lip-kl-hmc/fit"
    assert sorted(theirs) == sorted(ours)
    assert "dam-reg-hmc/fit" not in theirs  # a row that the paper does not have
    assert order_in_the_paper({**table, "number": 5, "driving": "kpt"}) is None


def test_every_variant_has_a_look_and_both_drivings_the_same() -> None:
    for name in VARIANTS:
        assert look_of(name) in LOOKS.values(), name
    assert look_of("lip-kl-hmc") == look_of("lip-kl-kpt")
    assert len({(look.colour, look.marker) for look in LOOKS.values()}) == len(LOOKS)


def test_the_settings_of_a_fit_are_told_whatever_was_chosen() -> None:
    (table,) = (t for t in example_results(tables=(2,))["tables"] if t["driving"] == "hmc")
    row = next(row for row in table["rows"] if row["method"] == "fit")
    for optimiser, start, edges in product(("lm", "lbfgs", "adam"), ("prior", "encoder", "zero"), ("smooth", "hard")):
        config = FitConfig(optimiser=optimiser, start=start, edges=edges)
        (said,) = table_row({**row, "fit": {"subject-0": to_json(config)}}, dict.fromkeys(m.key for m in MEASURES))[
            "fit"
        ]
        assert "None" not in said
        assert (f"{edges} edges" in said) == (optimiser != "lm")  # which is for keypoints


# ---- the README's table, and the command


def test_the_markdown_table_says_what_results_say() -> None:
    results = example_results()
    lines = markdown_table(results, (3,)).splitlines()
    rows = {line.split("|")[1].strip(): line for line in lines if line.startswith("| ") and "±" not in line}
    assert sum(line.startswith("**Table") for line in lines) == 1
    (table,) = (t for t in results["tables"] if t["number"] == 3)
    assert len(rows) == len(table["rows"]) + 1
    assert "28.60 [28.00, 29.20]" in rows["LiP-KL-KPT (fitted)"]
    assert rows["LiP-KL-KPT (fitted)"].endswith("−0.40 [−0.55, −0.25] | worse |")
    assert rows["LiP-Flow-KPT (fitted)"].endswith("| reference |  |")
    assert {line.count("|") for line in lines if line.startswith("|")} == {7}


def test_no_two_tables_of_a_readme_have_one_name() -> None:
    """Table 1 is made with headset images and again with keypoints."""
    results = example_results(tables=(1, 3))
    results["tables"].append({**results["tables"][0], "driving": "kpt"})
    names = [line for line in markdown_table(results).splitlines() if line.startswith("**Table")]
    assert len(names) == 3
    assert len(set(names)) == 3


def test_the_command_lays_out_anew_and_fills_a_readme(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = _small(example_results(tables=(2, 3)))
    (tmp_path / "results.json").write_text(json.dumps(results))
    some_exhibits().save(tmp_path / FILE)
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    for _ in range(2):  # the second time changes nothing
        ReportCommand(tmp_path, readme=readme, tables=(2,)).run()
    text = readme.read_text()
    assert text == f"before\n\n{BEGIN}\n\n{markdown_table(results, (2,))}\n{END}\n\nafter\n"
    assert str(tmp_path / "report.html") in capsys.readouterr().out
    readme.write_text("no markers\n")
    with pytest.raises(InputError, match="results"):
        ReportCommand(tmp_path, readme=readme).run()
    assert readme.read_text() == "no markers\n"
    readme.write_bytes(f"caf\xe9\n{BEGIN}\n{END}\n".encode("latin-1"))
    with pytest.raises(InputError, match="expected text in UTF-8"):
        ReportCommand(tmp_path, readme=readme).run()


@pytest.mark.parametrize("tables", [(2, 4), (7,), ()])
def test_a_readme_keeps_its_tables_where_the_results_are_without_those_asked_for(
    tmp_path: Path, tables: tuple[int, ...]
) -> None:
    (tmp_path / "results.json").write_text(json.dumps(_small(example_results(tables=(2, 3)))))
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\nTable 2\n{END}\n")
    with pytest.raises(InputError, match="tables: expected some of 2, 3, got"):
        ReportCommand(tmp_path, readme=readme, tables=tables, exhibits=False).run()
    assert readme.read_text() == f"{BEGIN}\nTable 2\n{END}\n"
    assert not (tmp_path / "report.html").exists()


def test_a_readme_needs_no_exhibits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A clone has the results, and a report with pictures whose source it does not have: that report stays."""
    results = _small(example_results(tables=(2, 3)))
    (tmp_path / "results.json").write_text(json.dumps(results))
    (tmp_path / "report.html").write_text("with faces")
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n")
    ReportCommand(tmp_path, readme=readme, tables=(2,)).run()
    assert markdown_table(results, (2,)) in readme.read_text()
    assert (tmp_path / "report.html").read_text() == "with faces"
    said = capsys.readouterr()
    assert said.out == f"{readme}\n"
    assert said.err.count("\n") == 1
    assert "exhibits.npz" in said.err
    with pytest.raises(InputError, match=r"expected a file, got none there.*--no-exhibits"):
        ReportCommand(tmp_path).run()
    ReportCommand(tmp_path, exhibits=False).run()
    assert (tmp_path / "report.html").read_text() == render_report(results, NOTHING)
