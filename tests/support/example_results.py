"""An evaluation's results as ``results.json`` holds them, made up: for tests of what reports them."""

from __future__ import annotations

from typing import Any

import numpy as np

from lipflow.evaluation.exhibits import Curve, Exhibits, Panel, PlaneCodes, Strip
from lipflow.variants import VARIANTS

# Tables with the PSNR of each row, in dB above the reference's.
_TABLES: tuple[tuple[int, str, str, dict[str, float]], ...] = (
    (1, "hmc", "Codes of the training-time encoder, decoded", {
        "dam/decode-q": 0.1, "lip-kl-hmc/decode-q": -0.3, "lip-flow-hmc/decode-q": 0.0,
    }),
    (2, "hmc", "From headset images", {
        "mean-frame": -6.0, "dam/fit": -1.9, "dam-enc-hmc/decode-p": -1.2, "dam-reg-hmc/decode-p": -0.8,
        "dam-reg-hmc/fit": 0.02, "lip-kl-hmc/fit": 0.03, "lip-flow-hmc/fit": 0.0,
    }),
    (3, "kpt", "From keypoints", {
        "mean-frame": -7.0, "dam/fit": -1.0, "dam-enc-kpt/decode-p": -1.7, "dam-reg-kpt/decode-p": -0.9,
        "lip-kl-kpt/fit": -0.4, "lip-flow-kpt/fit": 0.0,
    }),
    (4, "hmc", "From a frontal view, headset images driving the prior", {
        "dam/fit": -1.0, "lip-kl-hmc/fit": -0.1, "lip-flow-hmc/fit": 0.0,
    }),
    (5, "hmc", "Ablation of LiP-Flow, from headset images", {
        "lip-flow-hmc/fit": 0.0, "lip-flow-hmc-no-cycle/fit": 0.05, "lip-flow-hmc-decode-p/fit": 0.4,
        "lip-flow-hmc/fit-no-start": -0.5, "lip-flow-hmc-mc-kl/fit": -0.2, "lip-flow-hmc-literal/fit": -0.6,
    }),
)  # fmt: skip


def example_results(seed: int = 0, *, tables: tuple[int, ...] = (1, 2, 3, 4, 5)) -> dict[str, Any]:
    """Results of two subjects and three seeds, with every part filled that an evaluation may fill."""
    rng = np.random.default_rng(seed)
    made = {"revision": "0123456789ab", "versions": {"torch": "2.13.0"}, "device": "cpu", "date": "2026-01-02"}
    made |= {"trained": "a1b2c3d4e5f6", "judged": "b2c3d4e5f6a7"}
    return {
        "format": "lipflow-evaluation",
        "version": 1,
        "made": made,
        "preset": "small",
        "subjects": ["subject-0", "subject-1"],
        "seeds": [0, 1, 2],
        "budget": {"steps": 2500, "batch": 8, "frames": 667, "resolution": 128},
        "runs": [run for variant in _variants(tables) for run in _runs(variant, rng)],
        "tables": [_table(table, rng) for table in _TABLES if table[0] in tables],
        "impoverishment": list(_impoverishment(rng)),
        "search": list(_search(tables, rng)),
        "calibration": list(_calibration(rng)),
        "clusters": None,
    }


def some_exhibits() -> Exhibits:
    """One of each kind, made up."""
    rng = np.random.default_rng(0)
    face = rng.integers(0, 255, (12, 8, 3), dtype=np.uint8)
    panels = (Panel("Target", None, face, None, None, None), Panel("DAM", "dam", face, face[..., 0], 28.25, 1.5))
    iterations = np.arange(5)
    lines = rng.uniform(1, 2, (2, 5)).astype(np.float32)
    codes, labels = rng.normal(size=(30, 2)).astype(np.float32), np.repeat([0, 1, 2], 10)
    share = np.array([0.5, 0.25], np.float32)
    first = ("subject-0", 0)
    names = ("EXP_a", "EXP_b", "EXP_c")
    return Exhibits(
        "abc",
        (Strip("subject-0", "EXP_a", 7, "left (dome_08)", 2, "hmc", panels),),
        (Curve(2, "hmc", "dam", "DAM", iterations, lines, lines, lines),),
        (
            PlaneCodes(*first, "lip-flow-hmc", "F", names, labels, codes, codes + 1, share, share, 0.1, 0.6, 0.2, 0.7),
            PlaneCodes(*first, "lip-kl-hmc", "K", names, labels, codes, codes, share, share, 0.3, 0.3, 0.4, 0.4),
        ),
    )  # fmt: skip


def interval(mean: float, half: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - half, "high": mean + half}


def _parts(name: str) -> tuple[str | None, str]:
    """Variant and method of a row's name."""
    variant, _, method = name.partition("/")
    return (variant, "fit" if method.startswith("fit") else method) if method else (None, name)


def _variants(tables: tuple[int, ...]) -> list[str]:
    return sorted({v for number, *_, rows in _TABLES if number in tables for name in rows if (v := _parts(name)[0])})


def _runs(variant: str, rng: np.random.Generator) -> list[dict[str, Any]]:
    return [
        {
            "subject": subject,
            "variant": variant,
            "title": VARIANTS[variant].title,
            "seed": run_seed,
            "config_hash": f"{rng.integers(16**12):012x}",
            "steps": 2500,
            "seconds": float(rng.uniform(400, 500)),
            "frames": 667,
            "scalars": {
                "sigma_q": float(rng.uniform(0.3, 1)),
                "sigma_p": float(rng.uniform(0.5, 1.2)),
                "log_abs_det": float(rng.normal(0, 20)),
                "nll": float(rng.uniform(200, 400)),
                "loss": 1.0,
            },
            "validation": {"reconstruction_psnr": float(rng.normal(30, 0.3)), "start_psnr": float(rng.normal(27, 0.3))},
        }
        for subject in ("subject-0", "subject-1")
        for run_seed in (0, 1, 2)
    ]


def _table(table: tuple[int, str, str, dict[str, float]], rng: np.random.Generator) -> dict[str, Any]:
    number, driving, title, rows = table
    return {
        "number": number,
        "title": title,
        "driving": driving,
        "rows": [_row(name, driving, offset, rng) for name, offset in rows.items()],
    }


def _row(name: str, driving: str, offset: float, rng: np.random.Generator) -> dict[str, Any]:
    variant, method = _parts(name)
    reference = name in (f"lip-flow-{driving}/fit", f"lip-flow-{driving}/decode-q")
    metrics = {"psnr": (offset, 0.15), "ssim": (0.01 * offset, 0.002), "geom": (-0.02 * offset, 0.004)}
    metrics["geom_mm"] = (-0.4 * offset, 0.06)
    base = {"psnr": 29.0, "ssim": 0.9, "geom": 0.2, "geom_mm": 1.5}
    title = "Mean frame" if variant is None else VARIANTS[variant].title
    config = {"optimiser": "adam", "learning_rate": 0.1, "iterations": 150, "prior_weight": 1.0}
    config |= {"space": "z", "start": "prior", "prior": "avatar"}
    return {
        "name": name,
        "title": title + (" + fit" if method == "fit" and "Reg." in title else "") + " − start" * ("no-start" in name),
        "variant": variant,
        "method": method,
        "reference": reference,
        "subjects": 2,
        "seeds": 3,
        "frames": 200,
        "expressions": 6,
        **{name: interval(base[name] + shift, 4 * half) for name, (shift, half) in metrics.items()},
        "ms_per_frame": float(rng.uniform(5, 900)),
        "paired": None if reference else {name: interval(*values) for name, values in metrics.items()},
        "fit": {s: config for s in ("subject-0", "subject-1")} if method == "fit" else None,
        "config_hashes": ["0123456789ab"],
    }


def _impoverishment(rng: np.random.Generator) -> list[dict[str, Any]]:
    levels = {("kpt", "landmarks"): (136, 68, 34, 17), ("kpt", "noise"): (0, 1, 2, 4), ("hmc", "views"): (3, 2, 1)}
    return [
        {
            "driving": driving,
            "axis": axis,
            "level": level,
            "row": f"{variant}/fit",
            "title": VARIANTS[variant].title,
            "psnr": interval(29 - k * slope + float(rng.normal(0, 0.05)), 0.3),
            "geom_mm": interval(1.2 + 0.3 * k * slope, 0.1),
        }
        for (driving, axis), steps in levels.items()
        for variant, slope in (("dam", 1.0), (f"lip-kl-{driving}", 0.5), (f"lip-flow-{driving}", 0.4))
        for k, level in enumerate(steps)
    ]


def _search(tables: tuple[int, ...], rng: np.random.Generator) -> list[dict[str, Any]]:
    found = []
    for number, *_, rows in _TABLES:
        for variant in sorted({v for v, method in map(_parts, rows) if v and method == "fit" and number in tables}):
            candidates = [
                {
                    "optimiser": "adam",
                    "learning_rate": rate,
                    "iterations": 100,
                    "prior_weight": weight,
                    "space": space,
                    "start": "prior",
                    "prior": "avatar",
                    "validation_psnr": float(rng.normal(28, 0.4)),
                }
                for rate in (0.05, 0.2)
                for weight in (0.1, 1.0)
                for space in ("z", "u")
            ]
            best = int(np.argmax([c["validation_psnr"] for c in candidates]))
            entry = {"variant": variant, "subject": "subject-0", "seed": 0, "table": number, "row": f"{variant}/fit"}
            found.append({**entry, "candidates": candidates, "chosen": best})
    return found


def _calibration(rng: np.random.Generator) -> list[dict[str, Any]]:
    nominal = [0.1, 0.3, 0.5, 0.7, 0.9]
    return [
        {
            "variant": variant,
            "title": f"{VARIANTS[variant].title}, codes alone",
            "kind": "codes",
            "nominal": nominal,
            "coverage": [interval(level**power, 0.05) for level in nominal],
            "n": 20,
            "histogram": [1.0] * 10,
            "ess": 12.0,
            "std_mm": 0.21,
            "error_mm": 0.47,
            "decoder_mm": None,
        }
        for variant, power in (("lip-kl-hmc", 1.8), ("lip-flow-hmc", 1.3))
    ]
