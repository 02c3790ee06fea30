"""Many fits at once give what one fit after the other gives."""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass, replace
from typing import Literal

import pytest
import torch

from lipflow.avatar import Avatar
from lipflow.camera import Camera
from lipflow.checks import InputError
from lipflow.evaluation.batch_fit import HeadsetImages, Photographs, fit_batch
from lipflow.fitting import FitConfig, fit
from lipflow.observations import Comparison, FrontalObservation, HmcObservation, Observation, render_views
from lipflow.rendering import make_renderer
from support.random_avatar import AVATARS, TINY_PHOTO, random_avatar, tiny_config

COUNT = 3
SHORT = FitConfig(optimiser="adam", iterations=6, learning_rate=0.2, tolerance=0.0)


@pytest.fixture(scope="module", params=["flow-hmc", "standard-normal"])
def avatar(request: pytest.FixtureRequest) -> Avatar:
    return random_avatar(tiny_config(*AVATARS[request.param]))


@pytest.fixture(scope="module")
def headset(avatar: Avatar) -> HeadsetImages:
    z = torch.randn(COUNT, avatar.config.latent, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        gray, covered = render_views(avatar, z, avatar.hmc_cameras, gray=True)
    images = (0.8 * gray[:, :, 0]).clamp(0, 1).sqrt()  # another exposure than the decoder's
    return HeadsetImages(images, covered, avatar.hmc_cameras)


@pytest.mark.parametrize(
    "config",
    [
        SHORT,
        replace(SHORT, start="zero"),
        replace(SHORT, space="u"),
        replace(SHORT, prior="standard-normal", prior_weight=3.0),
        replace(SHORT, prior="standard-normal", start="encoder"),
        replace(SHORT, likelihood=False),
        replace(SHORT, edges="hard"),
        replace(SHORT, optimiser="lbfgs"),
        replace(SHORT, optimiser="lbfgs", space="u", prior_weight=0.3),
        replace(SHORT, optimiser="lbfgs", likelihood=False, edges="hard"),
    ],
)
def test_headset_fits_are_those_of_single_frames(avatar: Avatar, headset: HeadsetImages, config: FitConfig) -> None:
    driving = headset.images if avatar.driving == "hmc" else None
    together = fit_batch(avatar, headset, driving, COUNT, config)
    for k in range(COUNT):
        observation = HmcObservation.for_avatar(avatar, headset.images[k], headset.masks[k])
        *_, alone = fit(avatar, observation, config)
        assert float(together.energy[k]) == pytest.approx(alone.energy, rel=1e-3, abs=1e-2)
        torch.testing.assert_close(together.z[k], torch.from_numpy(alone.z), rtol=0.01, atol=0.01)
        assert int(together.iterations[k]) == alone.iteration == config.iterations


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (replace(SHORT, start="sample"), "expected prior or encoder or zero, got sample"),
        (replace(SHORT, optimiser="lm"), "expected lbfgs or adam, got lm"),
    ],
)
def test_what_only_single_fits_can_is_refused(
    avatar: Avatar, headset: HeadsetImages, config: FitConfig, says: str
) -> None:
    driving = headset.images if avatar.driving == "hmc" else None
    with pytest.raises(InputError, match=says):
        fit_batch(avatar, headset, driving, COUNT, config)


@dataclass(frozen=True, eq=False)
class Pull(Observation):
    """A code that is seen itself, less and less closely: what can be fitted without a picture."""

    code: torch.Tensor  # [Z]
    sigma: torch.Tensor  # [Z]

    def driving(self, kind: str | None) -> torch.Tensor | None:
        return None

    def check(self, avatar: Avatar) -> None: ...

    def compare(self, avatar: Avatar, z: torch.Tensor) -> Comparison:
        return Comparison(0.5 * ((z - self.code) / self.sigma).square().sum(-1), {})


@dataclass(frozen=True, eq=False)
class Pulls:
    """Several of them."""

    of: tuple[Pull, ...]

    def energy(self, avatar: Avatar, z: torch.Tensor, rows: torch.Tensor, *, smooth: bool = False) -> torch.Tensor:
        return torch.cat([self.of[int(row)].compare(avatar, code[None]).energy for row, code in zip(rows, z)])


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_rows_that_converge_stop_while_the_others_go_on(optimiser: Literal["adam", "lbfgs"]) -> None:
    avatar = random_avatar(tiny_config(*AVATARS["standard-normal"]))
    near, far = torch.zeros(avatar.config.latent), torch.linspace(-30.0, 30.0, avatar.config.latent)
    sigma = torch.linspace(0.05, 2.0, avatar.config.latent)
    pulls = tuple(Pull(code, sigma) for code in (near + 0.01, far, near - 0.5))
    config = replace(SHORT, optimiser=optimiser, iterations=300, learning_rate=0.3, tolerance=1e-3)
    together = fit_batch(avatar, Pulls(pulls), None, len(pulls), config)
    assert int(together.iterations.min()) < int(together.iterations.max())
    for k, pull in enumerate(pulls):
        *_, alone = fit(avatar, pull, config)
        assert int(together.iterations[k]) == alone.iteration
        torch.testing.assert_close(together.z[k], torch.from_numpy(alone.z), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_what_was_fitted_to_is_let_go(optimiser: Literal["adam", "lbfgs"]) -> None:
    """Not only when Python looks for garbage, which knows nothing of how large images are."""
    avatar = random_avatar(tiny_config(*AVATARS["standard-normal"]))
    pulls = Pulls((Pull(torch.zeros(avatar.config.latent), torch.ones(avatar.config.latent)),))
    kept = weakref.ref(pulls)
    gc.disable()
    try:
        fit_batch(avatar, pulls, None, 1, replace(SHORT, optimiser=optimiser))
        del pulls
        assert kept() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_an_energy_that_is_not_finite_is_not_taken(optimiser: Literal["adam", "lbfgs"]) -> None:
    """Where a step leads nowhere, its row stays and goes on with smaller ones; the other rows do not notice."""
    avatar = random_avatar(tiny_config(*AVATARS["standard-normal"]))
    pull = Pull(torch.full((avatar.config.latent,), 3.0), torch.ones(avatar.config.latent))

    class Cliff(Pull):
        def compare(self, avatar: Avatar, z: torch.Tensor) -> Comparison:
            seen = super().compare(avatar, z)
            beyond = (z > 1.0).any(-1)
            return Comparison(torch.where(beyond, seen.energy * float("nan"), seen.energy), {})

    cliff = Cliff(pull.code, pull.sigma)
    config = replace(SHORT, optimiser=optimiser, iterations=60, likelihood=False)
    together = fit_batch(avatar, Pulls((pull, cliff)), None, 2, config)
    for k, observation in enumerate((pull, cliff)):
        *_, alone = fit(avatar, observation, config)
        torch.testing.assert_close(together.z[k], torch.from_numpy(alone.z), rtol=1e-3, atol=1e-3)
    assert (together.z[1] <= 1.0).all()


def test_photographs_are_fitted_each_from_its_own_camera(avatar: Avatar) -> None:
    z = torch.randn(COUNT, avatar.config.latent, generator=torch.Generator().manual_seed(1))
    cameras = Camera.stack(
        [Camera.look_at((x, 0.0, 900.0), (0.0, 0.0, 0.0), 3.2 * TINY_PHOTO[1], TINY_PHOTO) for x in (-80.0, 0.0, 60.0)]
    )
    renderer = make_renderer(avatar.topology)
    with torch.no_grad():
        decoded = avatar.decode(z, cameras.view)
        drawn = renderer.render(decoded.vertices, decoded.texture, cameras)
    photographs = Photographs(drawn.rgb.clamp(0, 1), drawn.mask, cameras)
    hmc = torch.full((COUNT, 3, *avatar.config.driver.size), 0.4)
    together = fit_batch(avatar, photographs, hmc if avatar.driving == "hmc" else None, COUNT, SHORT)
    for k in range(COUNT):
        driven_by = HmcObservation.for_avatar(avatar, hmc[k])
        observation = FrontalObservation(photographs.images[k], cameras[k], drawn.mask[k], driven_by)
        *_, alone = fit(avatar, observation, SHORT)
        torch.testing.assert_close(together.z[k], torch.from_numpy(alone.z), rtol=0.01, atol=0.01)


def test_a_view_that_is_absent_has_no_part_in_the_energy(avatar: Avatar, headset: HeadsetImages) -> None:
    masks = headset.masks.clone()
    masks[:, 2] = 0
    other = headset.images.clone()
    other[:, 2] = torch.rand_like(other[:, 2])
    rows = torch.arange(COUNT)
    z = torch.zeros(COUNT, avatar.config.latent)
    without = HeadsetImages(headset.images, masks, headset.cameras).energy(avatar, z, rows)
    changed = HeadsetImages(other, masks, headset.cameras).energy(avatar, z, rows)
    torch.testing.assert_close(without, changed)
    assert (without < headset.energy(avatar, z, rows)).all()
