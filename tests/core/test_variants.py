"""The table of models: every row builds, and says what the method says of it."""

from __future__ import annotations

import pytest

from lipflow.nets.encoders import DRIVERS
from lipflow.objective import CYCLES, LATENT_LOSSES, Objective
from lipflow.priors import PRIORS, SIGMAS
from lipflow.variants import PARTS, PRESETS, VARIANTS, Variant

ALL = [pytest.param(v, id=v.name) for v in VARIANTS.values()]


@pytest.mark.parametrize("variant", ALL)
def test_rows_name_things_that_exist(variant: Variant) -> None:
    assert variant.driving is None or variant.driving in DRIVERS
    assert variant.prior in PRIORS
    assert variant.latent_loss in LATENT_LOSSES
    assert variant.cycle in CYCLES
    assert variant.sigma_q in SIGMAS
    assert set(variant.trains) <= set(PARTS)
    assert set(variant.decodes) <= {"q", "p"}
    assert variant.posterior in ("capture", "driving")
    assert variant.fit_prior in ("own", "standard-normal")
    assert VARIANTS[variant.name] is variant
    Objective(variant, variant.latent_loss, variant.cycle, 0.1)


@pytest.mark.parametrize("variant", ALL)
@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_variant_composes_every_preset(variant: Variant, preset: str) -> None:
    config = variant.avatar_config(PRESETS[preset].avatar)
    assert config.driving == variant.driving
    assert config.has_encoder == (variant.posterior == "capture")


def test_nine_models_three_ablations_and_three_additions_for_each_driver() -> None:
    models = [v for v in VARIANTS if v.count("-") < 3]
    assert len(models) == 9
    changes = ("no-cycle", "decode-p", "standard-normal", "jittered", "mc-kl", "literal")
    expected = {f"lip-flow-{driving}-{change}" for driving in DRIVERS for change in changes}
    assert set(VARIANTS) - set(models) == expected


def test_only_the_regressors_freeze_a_dam() -> None:
    assert {v.name for v in VARIANTS.values() if v.starts_from} == {"dam-reg-hmc", "dam-reg-kpt"}
    assert {v.starts_from for v in VARIANTS.values()} == {None, "dam"}


def test_titles_are_distinct() -> None:
    assert len({v.title for v in VARIANTS.values()}) == len(VARIANTS)
