"""Tables gathered from figures that are known, and the rows that they are made of."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lipflow.evaluation.evaluating import FORMAT, VERSION, RunEvaluation, label_of
from lipflow.evaluation.judging import Record
from lipflow.evaluation.protocols import TABLES, rows_of
from lipflow.evaluation.runs import Run
from lipflow.evaluation.tables import Measured, results
from lipflow.fitting import FitConfig
from lipflow.serial import to_json
from lipflow.training_config import TrainConfig
from lipflow.variants import VARIANTS

LEVEL = {"dam": 30.0, "lip-kl-hmc": 31.0, "lip-flow-hmc": 32.0, "mean-frame": 25.0}
EXPRESSIONS = ("frown", "smile", "surprise")


def evaluated(subject: str, variant: str, seed: int) -> tuple[Run, RunEvaluation]:
    run = Run(Path("nowhere"), subject, TrainConfig.of(variant, "tiny", seed=seed), f"hash-{variant}-{seed}", "a1b2")
    own = [row for row in rows_of(variant, (2,)).values() if row.source is not None]
    body: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "key": "",
        "made": {"revision": "c3d4"},
        "run": run.described({"step": 200, "frames": 7, "scalars": {"sigma_q": 1.0}}),
        "fits": {label_of(row): to_json(FitConfig(learning_rate=0.05)) for row in own},
        "search": [],
        "impoverishment": [],
    }
    return run, RunEvaluation(Path("nowhere"), body)


def records(subject: str, variant: str, seed: int | None, row: str, shift: float = 0.0) -> list[Record]:
    """Every frame of an expression is as hard as it is for all models."""
    made = []
    for place, expression in enumerate(EXPRESSIONS):
        for frame in range(4):
            for camera, aside in (("front", 0.0), ("left", -1.0), ("right", 1.0)):
                psnr = LEVEL[variant or "mean-frame"] + 2.0 * place + aside + shift
                figures = (psnr, 0.9, 0.1, 1.0)
                about = (subject, variant, seed, 2, row, "test", expression, frame, camera)
                made.append(Record(*about, *figures, ms=10.0, config_hash=f"hash-{variant}-{seed}" if variant else ""))
    return made


@pytest.fixture(scope="module")
def body() -> dict[str, Any]:
    subjects, seeds = ("ann", "bob"), (0, 1)
    variants = ("dam", "lip-kl-hmc", "lip-flow-hmc")
    evaluations = [evaluated(s, v, n) for s in subjects for v in variants for n in seeds]
    lines = [line for s in subjects for line in records(s, "", None, "mean-frame")]
    lines += [line for s in subjects for v in variants for n in seeds for line in records(s, v, n, f"{v}/fit", 0.1 * n)]
    return results(evaluations, lines, (1, 2, 3, 4, 5))


def test_means_are_over_views_frames_seeds_and_subjects(body: dict[str, Any]) -> None:
    (table,) = body["tables"]  # the others have no lines
    assert (table["number"], table["driving"]) == (2, "hmc")
    rows = {row["name"]: row for row in table["rows"]}
    assert list(rows) == ["mean-frame", "dam/fit", "lip-kl-hmc/fit", "lip-flow-hmc/fit"]
    assert rows["dam/fit"]["psnr"]["mean"] == pytest.approx(30 + 2 + 0.05)
    assert rows["mean-frame"]["psnr"]["mean"] == pytest.approx(25 + 2)
    counts = {name: rows["dam/fit"][name] for name in ("subjects", "seeds", "frames", "expressions")}
    assert counts == {"subjects": 2, "seeds": 2, "frames": 24, "expressions": 3}
    assert rows["mean-frame"]["seeds"] == 0
    assert rows["dam/fit"]["ms_per_frame"] == pytest.approx(10.0)
    assert rows["dam/fit"]["config_hashes"] == ["hash-dam-0", "hash-dam-1"]


def test_pairs_are_sure_where_the_rows_are_not(body: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in body["tables"][0]["rows"]}
    alone, difference = rows["lip-kl-hmc/fit"]["psnr"], rows["lip-kl-hmc/fit"]["paired"]["psnr"]
    assert alone["high"] - alone["low"] > 1.0
    assert difference == {name: pytest.approx(-1.0) for name in ("mean", "low", "high")}
    assert rows["lip-flow-hmc/fit"]["paired"] is None
    floor = rows["mean-frame"]["paired"]["psnr"]  # beside each seed of the reference
    assert floor["mean"] == pytest.approx(-7.05)
    assert floor["low"] < floor["high"]


def test_fits_are_told_by_subject(body: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in body["tables"][0]["rows"]}
    assert set(rows["lip-kl-hmc/fit"]["fit"]) == {"ann", "bob"}
    assert rows["lip-kl-hmc/fit"]["fit"]["ann"]["learning_rate"] == 0.05
    assert rows["mean-frame"]["fit"] is None


def test_the_body_is_plain_json(body: dict[str, Any]) -> None:
    again = json.loads(json.dumps(body, allow_nan=False))
    assert (again["format"], again["version"]) == ("lipflow-evaluation", 1)
    assert again["subjects"] == ["ann", "bob"]
    assert again["seeds"] == [0, 1]
    assert again["preset"] == "tiny"
    assert again["budget"] == {"steps": 200, "batch": 4, "frames": 7, "resolution": 32}
    assert again["runs"][0]["scalars"] == {"sigma_q": 1.0}
    assert (again["made"]["trained"], again["made"]["judged"]) == ("a1b2", "c3d4")


def test_a_table_compares_the_subjects_that_all_its_rows_have() -> None:
    runs = [("ann", "lip-kl-hmc"), ("ann", "lip-flow-hmc"), ("bob", "lip-flow-hmc")]
    lines = [line for s, v in runs for line in records(s, v, 0, f"{v}/fit", 5.0 if s == "bob" else 0.0)]
    body = results([evaluated(s, v, 0) for s, v in runs], lines, (2,))
    rows = {row["name"]: row for row in body["tables"][0]["rows"]}
    assert rows["lip-flow-hmc/fit"]["subjects"] == 1
    assert rows["lip-flow-hmc/fit"]["psnr"]["mean"] == pytest.approx(34.0)
    assert rows["lip-kl-hmc/fit"]["paired"]["psnr"]["mean"] == pytest.approx(-1.0)


def test_pairs_are_taken_where_both_have_the_seed_and_the_frame() -> None:
    def measured(cells: dict[tuple[int | None, int], float]) -> Measured:
        return Measured.of((seed, ("smile", frame), value) for (seed, frame), value in cells.items())

    reference = measured({(0, 1): 1.0, (0, 2): 2.0, (1, 1): 3.0, (1, 2): 4.0})
    own = measured({(1, 1): 13.0, (1, 2): 14.0, (2, 1): 99.0, (2, 2): 99.0, (1, 3): 99.0})
    difference = own.minus(reference)
    assert difference is not None
    np.testing.assert_allclose(difference.values, [[10.0, 10.0]])
    floor = measured({(None, 1): 0.0, (None, 2): 0.0}).minus(reference)
    assert floor is not None
    np.testing.assert_allclose(floor.values, [[-1.0, -2.0], [-3.0, -4.0]])
    assert measured({(7, 1): 0.0}).minus(reference) is None


def test_views_are_averaged_and_a_missing_one_left_out() -> None:
    frame = ("smile", 1)
    measured = Measured.of([(0, frame, 1.0), (0, frame, 3.0), (0, frame, math.nan), (1, frame, math.inf)])
    np.testing.assert_allclose(measured.values, [[2.0], [math.nan]])


# ---- the rows themselves, as the paper defines them


def row(number: int, driving: str, name: str) -> Any:
    (table,) = (table for table in TABLES if (table.number, table.driving) == (number, driving))
    (found,) = (row for row in table.rows if row.name == name)
    return found


def test_every_table_has_one_reference_and_rows_of_known_variants() -> None:
    for table in TABLES:
        assert table.reference.variant == f"lip-flow-{table.driving}"
        assert len({row.name for row in table.rows}) == len(table.rows)
        assert {row.variant for row in table.rows} - {None} <= set(VARIANTS)


def test_enc_and_reg_are_decoded_directly_and_the_others_fitted() -> None:
    for number, driving in ((2, "hmc"), (3, "kpt")):
        methods = {row.name: (row.method, row.source) for t in TABLES if t.number == number for row in t.rows}
        assert methods == {
            "mean-frame": ("mean-frame", None),
            "recorded": ("recorded", None),
            "dam/fit": ("fit", driving),
            f"dam-enc-{driving}/decode-p": ("decode-p", None),
            f"dam-reg-{driving}/decode-p": ("decode-p", None),
            f"dam-reg-{driving}/fit": ("fit", driving),
            f"lip-kl-{driving}/fit": ("fit", driving),
            f"lip-flow-{driving}/fit": ("fit", driving),
        }


def test_frontal_fits_of_a_b_c_are_under_the_standard_normal() -> None:
    priors = {row.variant: row.prior for t in TABLES if t.number == 4 for row in t.rows if row.name.endswith("fit-n01")}
    assert priors == dict.fromkeys(("dam-enc-hmc", "dam-reg-hmc", "dam-enc-kpt", "dam-reg-kpt"), "standard-normal")
    for name in ("lip-kl", "lip-flow"):
        assert row(4, "hmc", f"{name}-hmc/fit").prior == "avatar"
    assert row(4, "kpt", "dam/fit").source == "frontal"  # DAM's own prior is that normal
    guesses = {
        row.variant: row.guess for t in TABLES if t.number == 4 for row in t.rows if row.name.endswith("fit-n01")
    }
    assert set(guesses.values()) == {"encoder"}  # else all would be DAM's fit again, whose decoder (c) has frozen
    assert row(4, "hmc", "dam/fit").guess == row(2, "hmc", "dam/fit").guess == "prior"


def test_ablations_of_a_fit_leave_one_thing_out_of_the_chosen_one() -> None:
    chosen = FitConfig(learning_rate=0.2, prior_weight=3.0)
    start = row(5, "hmc", "lip-flow-hmc/fit-no-start")
    likelihood = row(5, "hmc", "lip-flow-hmc/fit-no-likelihood")
    both = row(5, "hmc", "lip-flow-hmc/fit-no-prior")
    assert {r.searched.key for r in (start, likelihood, both)} == {row(2, "hmc", "lip-flow-hmc/fit").key}
    assert (start.fitted(chosen).start, start.fitted(chosen).likelihood) == ("zero", True)
    assert (likelihood.fitted(chosen).start, likelihood.fitted(chosen).likelihood) == ("prior", False)
    assert (both.fitted(chosen).start, both.fitted(chosen).likelihood) == ("zero", False)
    assert both.fitted(chosen).learning_rate == 0.2


def test_q_is_decoded_where_there_is_one() -> None:
    methods = {row.variant: row.method for t in TABLES if t.number == 1 for row in t.rows}
    decoded_p = {variant for variant, method in methods.items() if method == "decode-p"}
    assert decoded_p == {"dam-enc-hmc", "dam-enc-kpt"}
