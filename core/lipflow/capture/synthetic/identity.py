"""Who the subject is: a deterministic, plausible mix of shape targets and a style of skin, hair and eyes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np

from lipflow.checks import InputError


@dataclass(frozen=True)
class Style:
    """Pigments and appearance that the texture is painted from."""

    melanin: float  # density of melanin, 0.3 (very fair) to 3 (very dark)
    haemoglobin: float  # density of haemoglobin, about 1
    freckles: float  # 0 none to 1 many
    # five points, inner to outer: mm beside and above the eyes' midpoint, for eyes 62 mm apart
    brow_shape: tuple[tuple[float, float], ...]
    brow_thickness: float  # mm, half the brow's height where it is fullest
    hairline: float  # mm above the eyes' midpoint on the midline, for eyes 62 mm apart
    stubble: float  # 0 none to 1 dense
    hair_colour: tuple[float, float, float]  # linear RGB
    age: float  # 0 young to 1 old: wrinkles at rest
    iris_colour: tuple[float, float, float]  # linear RGB
    lip_gloss: float  # 0 matt to 1 wet


@dataclass(frozen=True)
class Identity:
    """A subject: weights of the rig's identity targets, and a style."""

    seed: int
    targets: tuple[tuple[str, float], ...]  # (target name, weight), sorted by name
    style: Style
    lash_length: float = 1.0  # relative


@dataclass(frozen=True)
class _Cast:
    """What is decided before the details are drawn."""

    ethnicity: tuple[float, float, float]  # shares of _ETHNICITIES
    male: float  # 0 female to 1 male
    old: float  # 0 young to 1 old
    strength: float = 1.0  # how far the details stray from the macro mix


_ETHNICITIES = ("caucasian", "african", "asian")
# The first four are chosen by hand, as casting would; later seeds draw theirs.
_CAST: dict[int, _Cast] = {
    0: _Cast((0.54, 0.26, 0.20), male=0.06, old=0.12, strength=0.4),
    1: _Cast((0.75, 0.05, 0.20), male=0.95, old=0.30, strength=0.8),
    2: _Cast((0.05, 0.90, 0.05), male=0.10, old=0.15, strength=0.8),
    3: _Cast((0.10, 0.05, 0.85), male=0.80, old=0.10, strength=0.9),
}


@lru_cache(maxsize=1)
def _target_names() -> tuple[str, ...]:
    with (files("lipflow_assets") / "head_rig.npz").open("rb") as file, np.load(file, allow_pickle=False) as rig:
        return tuple(str(name) for name in rig["identity_names"])


def make_identity(seed: int) -> Identity:
    """The subject of a seed; the same seed always gives the same subject.

    Raises:
        InputError: if the seed is negative.
    """
    if seed < 0:
        raise InputError("subject seed", expected="0 or more", got=seed)
    rng = np.random.default_rng([seed, 0x5EED])
    for _ in range(64):
        cast = _CAST.get(seed) or _draw_cast(rng)
        targets = _details(rng, strength=cast.strength)
        for name, weight in _macro(cast).items():
            targets[name] = targets.get(name, 0.0) + weight
        if _plausible(targets):
            break
    return Identity(seed, tuple(sorted(targets.items())), _style(seed, rng, cast), lash_length=1.15 - 0.35 * cast.male)


def _draw_cast(rng: np.random.Generator) -> _Cast:
    share = rng.dirichlet([0.5, 0.5, 0.5])
    male = float(rng.choice([0.08, 0.92]))
    return _Cast((float(share[0]), float(share[1]), float(share[2])), male, float(rng.uniform(0, 0.5)))


def _macro(cast: _Cast) -> dict[str, float]:
    weights: dict[str, float] = {"mouth/mouth-angles-up": 0.25}  # at rest the base mesh looks sullen
    for gender, part in (("male", cast.male), ("female", 1 - cast.male)):
        for age, share in (("young", 1 - cast.old), ("old", cast.old)):
            weights[f"macrodetails/universal-{gender}-{age}-averagemuscle-averageweight"] = part * share
            for name, amount in zip(_ETHNICITIES, cast.ethnicity):
                weights[f"macrodetails/{name}-{gender}-{age}"] = part * share * amount
    return weights


# Targets that make caricatures or break the lips' and lids' contact even at small weights.
_AVOIDED = (
    "eyes/l-eye-epicanthus",
    "eyes/l-eye-push",
    "mouth/mouth-scale-depth",
    "head/head-age",
    "mouth/mouth-dimples",
)
_STRONG = (
    "head/head-oval", "head/head-square", "head/head-round", "head/head-rectangular", "head/head-diamond",
    "nose/nose-hump-incr", "nose/nose-scale-vert-incr", "nose/nose-point-up", "nose/nose-width2-incr",
    "nose/nose-volume-decr", "chin/chin-prominent-incr", "chin/chin-width-incr", "cheek/l-cheek-bones-incr",
    "mouth/mouth-lowerlip-volume-incr", "mouth/mouth-scale-horiz-incr", "cheek/l-cheek-volume-decr",
)  # fmt: skip


def _details(rng: np.random.Generator, *, strength: float) -> dict[str, float]:
    """Small weights on every target (left and right alike), a few strong ones, and a little asymmetry."""
    names = set(_target_names())
    sided = {n for n in names if n.split("/")[1].startswith("r-")}
    pairs = _opposites(sorted(n for n in names - sided if not n.startswith(("macrodetails/", "asym/"))))
    weights: dict[str, float] = {}

    def add(name: str, weight: float) -> None:
        for twin in dict.fromkeys((name, name.replace("/l-", "/r-"))):
            if twin in names and weight > 0.01:
                weights[twin] = weights.get(twin, 0.0) + weight

    for low, high in pairs:
        draw = float(np.clip(rng.normal(0, 0.17), -0.4, 0.4)) * strength
        if not low.startswith(_AVOIDED):
            add(high if draw > 0 else low, abs(draw))
    for name in rng.choice(_STRONG, size=3, replace=False):
        add(str(name), float(rng.uniform(0.3, 0.5)) * strength)
    asymmetric = sorted(n for n in names if n.startswith("asym/") and "ear" not in n)
    for name in rng.choice(asymmetric, size=int(rng.integers(3, 7)), replace=False):
        weights[str(name)] = float(rng.uniform(0.08, 0.22)) * strength
    return weights


_OPPOSITE = (
    ("-decr", "-incr"), ("-down", "-up"), ("-in", "-out"), ("-backward", "-forward"), ("-concave", "-convex"),
    ("-compress", "-uncompress"),
)  # fmt: skip


def _opposites(names: list[str]) -> list[tuple[str, str]]:
    """Targets in pairs of opposite sense; one without an opposite stands for both of its signs' sizes."""
    known, found = set(names), []
    for name in names:
        for low, high in _OPPOSITE:
            if name.endswith(low) and (other := name.removesuffix(low) + high) in known:
                found.append((name, other))
    return found


def _plausible(targets: dict[str, float]) -> bool:
    """Reject a face whose deviations add up in one region: their squares' sum stays within a healthy spread."""
    for folder in ("nose/", "mouth/", "eyes/", "chin/", "head/"):
        weights = [w for name, w in targets.items() if name.startswith(folder) and "/r-" not in name]
        if sum(w * w for w in weights) > 1.1 or max(weights, default=0) > 0.75:
            return False
    return True


_ARCHED = ((10.5, 14.5), (21.0, 18.5), (35.0, 21.5), (47.0, 18.5), (53.0, 13.5))
_STRAIGHT = ((10.5, 14.0), (21.0, 17.0), (34.0, 19.0), (46.0, 17.0), (53.0, 12.5))


def _style(seed: int, rng: np.random.Generator, cast: _Cast) -> Style:
    caucasian, african, asian = cast.ethnicity
    jitter = rng.normal(0, 1, 6)
    melanin = float(np.clip(0.55 * caucasian + 1.9 * african + 0.75 * asian + 0.06 * jitter[0], 0.4, 2.4))
    masculine = cast.male > 0.5
    dark = african + asian > 0.3 or jitter[1] > -0.3
    brow = np.asarray(_STRAIGHT if masculine else _ARCHED) + np.array([0.0, 0.6 * jitter[2]])
    return Style(
        melanin=melanin,
        haemoglobin=float(np.clip(1.0 + 0.07 * jitter[3], 0.8, 1.2)),
        freckles=float(np.clip(0.25 * caucasian + 0.1 * jitter[4], 0, 0.6)),
        brow_shape=tuple((float(x), float(y)) for x, y in brow),
        brow_thickness=4.4 if masculine else 3.7,
        hairline=float((70 if masculine else 74) + 1.5 * jitter[5]),
        stubble=0.7 if masculine and asian < 0.5 else (0.25 if masculine else 0.0),
        hair_colour=(0.020, 0.013, 0.009) if dark else (0.060, 0.034, 0.017),
        age=float(np.clip(0.05 + cast.old, 0, 1)),
        iris_colour=_IRIS[seed % len(_IRIS)] if seed in _CAST or not dark else _IRIS[0],
        lip_gloss=0.35 if masculine else 0.6,
    )


_IRIS = ((0.085, 0.045, 0.018), (0.060, 0.095, 0.115), (0.050, 0.024, 0.011), (0.040, 0.020, 0.010))
