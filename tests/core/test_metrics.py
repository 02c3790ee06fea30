"""Metrics against scikit-image and against cases worked by hand."""

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from lipflow.checks import InputError
from lipflow.evaluation import metrics


@pytest.fixture
def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    truth = torch.nn.functional.interpolate(torch.rand(2, 3, 8, 7, generator=generator), size=(48, 40), mode="bicubic")
    truth = truth.clamp(0, 1)
    return (truth + 0.1 * torch.randn(truth.shape, generator=generator)).clamp(0, 1), truth


def test_psnr_agrees_with_scikit_image_in_display_gamma(pictures):
    image, truth = pictures
    ours = metrics.psnr(image, truth, torch.ones(2, 48, 40))
    for k in range(2):
        theirs = peak_signal_noise_ratio(truth[k].sqrt().numpy(), image[k].sqrt().numpy(), data_range=1)
        assert ours[k].item() == pytest.approx(theirs, abs=1e-4)


def test_ssim_agrees_with_scikit_image(pictures):
    image, truth = pictures
    ours = metrics.ssim_map(image.double(), truth.double())
    for k in range(2):
        _, theirs = structural_similarity(
            truth[k].double().numpy(),
            image[k].double().numpy(),
            channel_axis=0,
            data_range=1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        inside = (slice(None), slice(5, -5), slice(5, -5))  # the borders are mirrored in another manner
        torch.testing.assert_close(ours[k][inside], torch.as_tensor(theirs)[inside], atol=1e-9, rtol=0)


def test_ssim_is_the_mean_of_its_map_over_the_mask(pictures):
    image, truth = pictures
    whole = torch.ones(2, 48, 40)
    expected = metrics.ssim_map(image.sqrt(), truth.sqrt()).mean((1, 2, 3))
    torch.testing.assert_close(metrics.ssim(image, truth, whole), expected)


@pytest.mark.parametrize("measure", [metrics.psnr, metrics.ssim])
def test_what_is_outside_the_mask_does_not_count(measure, pictures):
    image, truth = pictures
    mask = torch.zeros(2, 48, 40)
    mask[:, 10:30, 8:30] = 1
    spoilt = torch.where(mask[:, None] > 0, image, 1 - image)
    torch.testing.assert_close(measure(spoilt, truth, mask), measure(image, truth, mask))
    assert (measure(image, truth, torch.ones_like(mask)) != measure(image, truth, mask)).all()


def test_equal_pictures_are_perfect_and_an_empty_mask_is_no_number(pictures):
    _, truth = pictures
    mask = torch.stack([torch.ones(48, 40), torch.zeros(48, 40)])
    similarity, ratio = metrics.ssim(truth, truth, mask), metrics.psnr(truth, truth, mask)
    assert similarity[0].item() == pytest.approx(1)
    assert ratio[0].item() == float("inf")
    assert similarity[1].isnan()
    assert ratio[1].isnan()


def test_distances_of_meshes():
    truth = torch.zeros(1, 4, 3)
    vertices = truth.clone()
    vertices[0, 0] = torch.tensor([3.0, 4.0, 0.0])
    assert metrics.vertex_error_mm(vertices, truth).item() == pytest.approx(5 / 4)
    assert metrics.vertex_error_normalised(vertices, truth, 10.0).item() == pytest.approx(0.25 / 4)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(InputError, match="truth: expected"):
        metrics.psnr(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 9), torch.zeros(1, 8, 8))
    with pytest.raises(InputError, match="mask: expected"):
        metrics.ssim(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))
