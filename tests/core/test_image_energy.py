"""Energies of renders against images."""

from __future__ import annotations

import pytest
import torch

from lipflow.capture.headset import hmc_tone
from lipflow.image_energy import headset_energy, image_energy, view_gains, visible_region


def headset_views(seed: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rendered intensities [2, 3, 6, 8], images [3, 6, 8], and where they are compared, in fractions at edges."""
    generator = torch.Generator().manual_seed(seed)
    gray, given, images = torch.rand(3, 2, 3, 6, 8, generator=generator, dtype=dtype)
    gray[:, :, 0, :3] = 0.0  # darker than the tone tells
    return gray, images[0], (2 * given - 0.5).clamp(0, 1)


def test_without_a_mask_the_rim_of_the_face_does_not_count():
    covered = torch.zeros(1, 2, 30, 128)
    covered[0, 0, 10:20, :50] = 1
    visible = visible_region(covered, None)
    assert visible[0, 1].sum() == 0
    assert visible[0, 0].sum() == visible[0, 0, 12:18, :48].sum() == 6 * 48  # the picture's border is no rim
    assert torch.equal(visible_region(covered, covered[0]), covered)


def test_the_image_energy_counts_patches_not_pixels():
    rendered, image = torch.full((1, 3, 16, 8), 0.6), torch.full((3, 16, 8), 0.5)
    energy = image_energy(rendered, image, torch.ones(1, 16, 8), noise=0.05, patch=4)
    assert energy.item() == pytest.approx(0.5 * (16 * 8 / 16) * (0.1 / 0.05) ** 2, rel=1e-4)
    assert image_energy(rendered, image, torch.zeros(1, 16, 8), 0.05, 4).item() == 0


def test_the_energy_of_headset_views_is_that_of_their_images_in_tone_and_scaled():
    gray, images, visible = headset_views(0)
    tone = hmc_tone(gray[:, :, None])
    gain = view_gains(tone, images, visible)
    energy, lit, error, gains = headset_energy(gray, images, visible, 0.05, 4)
    torch.testing.assert_close(gains, gain)
    torch.testing.assert_close(lit, gain[..., None, None] * tone)
    torch.testing.assert_close(error, (lit - images).abs() * visible)
    torch.testing.assert_close(energy, image_energy(lit[:, :, None], images[:, None], visible, 0.05, 4))
    plain, unscaled, *_ = headset_energy(gray, images, visible, 0.05, 4, compensate_gain=False)
    assert torch.equal(unscaled, tone)
    assert (plain > energy).all()


def test_gains_are_the_best_also_where_edges_are_smooth():
    gray, images, visible = headset_views(1)

    def energy(gain: torch.Tensor) -> torch.Tensor:
        return image_energy((gain[..., None, None] * gray)[:, :, None], images[:, None], visible, 0.05, 4)

    gain = view_gains(gray, images, visible)
    assert ((gain > 0.2) & (gain < 5)).all()
    assert (energy(gain) < energy(gain * 1.001)).all()
    assert (energy(gain) < energy(gain * 0.999)).all()


def test_a_view_in_a_batch_is_summed_as_closely_as_alone():
    gray, images = torch.rand(4, 3, 120, 160), torch.rand(3, 120, 160)
    visible = (torch.rand(4, 3, 120, 160) > 0.3).float()
    exact, *_ = headset_energy(gray.double(), images.double(), visible.double(), 0.05, 8)
    energy, *_ = headset_energy(gray, images, visible, 0.05, 8)
    torch.testing.assert_close(energy.double(), exact, rtol=1e-6, atol=0)
    alone, *_ = headset_energy(gray[2:3], images, visible[2:3], 0.05, 8)
    torch.testing.assert_close(alone[0].double(), exact[2], rtol=1e-6, atol=0)


def test_masks_may_be_of_another_precision_than_the_renders():
    gray, images, visible = headset_views(4, torch.float32)
    expected, *_ = headset_energy(gray, images, visible, 0.05, 4)
    energy, *_ = headset_energy(gray.requires_grad_(), images.double(), visible.double(), 0.05, 4)
    torch.testing.assert_close(energy.float(), expected)
    (slope,) = torch.autograd.grad(energy.sum(), gray)
    assert slope.dtype == torch.float32


def test_the_gradient_of_headset_energies_passes_gradcheck():
    gray, images, visible = headset_views(2)
    gray = gray.clamp_min(0.01).requires_grad_()  # at the darkest, the tone has a corner
    assert torch.autograd.gradcheck(lambda g: headset_energy(g, images, visible, 0.05, 4)[0], (gray,))


def test_nothing_pulls_at_what_is_darker_than_the_tone_tells():
    gray, images, visible = headset_views(3, torch.float32)
    gray.requires_grad_()
    (slope,) = torch.autograd.grad(headset_energy(gray, images, visible, 0.05, 4)[0].sum(), gray)
    assert (slope[:, :, 0, :3] == 0).all()
    assert torch.isfinite(slope).all()
    assert (slope[:, :, 1:] != 0).any()
