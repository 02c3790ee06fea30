"""Fitting: every prior, every optimiser, both spaces; what is sent into a running fit; what must stay the same."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from lipflow.avatar import Avatar
from lipflow.checks import InputError
from lipflow.embedded import assets_folder, find_avatar
from lipflow.fitting import FitConfig, FitState, _replaced, fit, make_problem
from lipflow.landmark_fit import KeypointDifference
from lipflow.observation_files import load_hmc, load_keypoints
from lipflow.observations import FrontalObservation, HmcObservation, KeypointObservation, Observation
from lipflow.priors import gaussian_log_prob
from lipflow.solvers import LevenbergMarquardt
from lipflow.solvers.lbfgs import Descent, Lbfgs
from support.random_avatar import AVATARS, TINY_HMC, TINY_PHOTO, random_avatar, tiny_config

FAINT = 1e-6  # a prior weight that only decides where the data do not
LM = FitConfig(optimiser="lm", iterations=30, tolerance=1e-6)
ADAM = FitConfig(optimiser="adam", iterations=60, tolerance=0)
IMAGE_ADAM = replace(ADAM, learning_rate=0.15, prior_weight=0.01)
IMAGE_LBFGS = FitConfig(optimiser="lbfgs", iterations=40, tolerance=0, prior_weight=0.01)
_made: dict[str, Avatar] = {}


@pytest.fixture(params=list(AVATARS))
def avatar(request) -> Avatar:
    return made(request.param)


def made(name: str) -> Avatar:
    if name not in _made:
        _made[name] = random_avatar(tiny_config(*AVATARS[name]))
    return _made[name]


def config_for(avatar: Avatar, config: FitConfig) -> FitConfig:
    """The same, under N(0, I) where keypoints drive nothing."""
    return replace(config, prior="standard-normal") if avatar.driving == "hmc" else config


def code(seed: int) -> torch.Tensor:
    return torch.randn(16, generator=torch.Generator().manual_seed(seed))


def keypoints_of(avatar: Avatar, z: torch.Tensor, **options: object) -> KeypointObservation:
    points = avatar.keypoint_camera.project_normalised(avatar.decode_landmarks(z))
    return replace(KeypointObservation.for_avatar(avatar, points), **options)


def headset_of(avatar: Avatar, z: torch.Tensor, *, silhouette: bool = True) -> HmcObservation:
    blank = HmcObservation.for_avatar(avatar, torch.zeros(3, *TINY_HMC))
    images, masks = blank.render(avatar, z[None], silhouette=silhouette)
    return replace(blank, images=images[0].clamp(0, 1), masks=masks[0])


def frontal_of(avatar: Avatar, z: torch.Tensor, *, silhouette: bool = True) -> FrontalObservation:
    blank = FrontalObservation(torch.zeros(3, *TINY_PHOTO), avatar.keypoint_camera, driven_by=keypoints_of(avatar, z))
    image, mask = blank.render(avatar, z[None], silhouette=silhouette)
    return replace(blank, image=image[0].clamp(0, 1), mask=mask[0])


def run(avatar: Avatar, observation: Observation, config: FitConfig, **options: object) -> list[FitState]:
    return list(fit(avatar, observation, config, **options))


def landmark_error_mm(avatar: Avatar, state: FitState, z: torch.Tensor) -> float:
    return (avatar.decode_landmarks(torch.from_numpy(state.z)) - avatar.decode_landmarks(z)).norm(dim=-1).mean().item()


def mesh_error_mm(avatar: Avatar, state: FitState, z: torch.Tensor) -> float:
    return (avatar.decode_mesh(torch.from_numpy(state.z)) - avatar.decode_mesh(z)).norm(dim=-1).mean().item()


# ---- keypoints


@pytest.mark.parametrize("space", ["z", "u"])
def test_a_code_is_found_again_from_its_keypoints(avatar, space):
    z = code(1)
    config = config_for(avatar, replace(LM, space=space, prior_weight=FAINT))
    states = run(avatar, keypoints_of(avatar, z), config, z0=torch.zeros(16))
    assert landmark_error_mm(avatar, states[0], z) > 1
    assert landmark_error_mm(avatar, states[-1], z) < 0.02
    assert states[-1].converged


def test_the_energy_never_rises_and_adds_up(avatar):
    states = run(avatar, keypoints_of(avatar, code(1)), config_for(avatar, replace(LM, prior_weight=0.3)))
    energies = [state.energy for state in states]
    assert energies == sorted(energies, reverse=True)
    assert energies[-1] < energies[0]
    for state in states:
        assert state.energy == pytest.approx(state.data_energy - 0.3 * state.log_likelihood, rel=1e-4)


@pytest.mark.parametrize(("ahead", "leaves"), [(LevenbergMarquardt.AHEAD, True), (0, False)])
def test_where_no_length_of_a_step_helps_full_steps_are_taken_and_kept_if_they_end_below(monkeypatch, ahead, leaves):
    """As at z = 0, where trained rectifiers bend all at once."""
    monkeypatch.setattr(LevenbergMarquardt, "AHEAD", ahead)
    monkeypatch.setattr(LevenbergMarquardt, "_attempt", lambda solver, model, step, promised: False)
    avatar = made("gaussian-kpt")
    states = run(avatar, keypoints_of(avatar, code(1)), replace(LM, iterations=3), z0=torch.zeros(16))
    assert (states[-1].energy < states[0].energy) is leaves
    assert states[-1].converged is not leaves


def test_a_fit_from_zero_under_a_standard_normal_finds_the_face():
    avatar = Avatar.load(find_avatar("lip-flow-kpt"))
    seen = load_keypoints(assets_folder() / "demo" / "keypoints.json", avatar.landmarks.names)
    observation = KeypointObservation.for_avatar(avatar, seen.points)
    states = run(avatar, observation, replace(LM, iterations=40, tolerance=1e-3, prior="standard-normal"))
    assert states[-1].data_energy < 0.01 * states[0].data_energy


@pytest.mark.parametrize("space", ["z", "u"])
def test_both_optimisers_find_the_same_minimum(avatar, space):
    """Up to the kinks of the networks' rectifiers, where a gradient does not vanish at the minimum."""
    observation = keypoints_of(avatar, code(2), noise=2.0)
    lm = run(avatar, observation, config_for(avatar, replace(LM, space=space, iterations=60, tolerance=1e-9)))[-1]
    adam = replace(ADAM, space=space, iterations=250, learning_rate=0.06)
    slow = run(avatar, observation, config_for(avatar, adam), z0=lm.z)[-1]
    assert slow.energy == pytest.approx(lm.energy, abs=0.1)
    from_start = run(avatar, observation, config_for(avatar, adam))[-1]
    assert from_start.energy == pytest.approx(lm.energy, abs=0.3)


@pytest.mark.parametrize("name", ["standard-normal", "gaussian-kpt"])
@pytest.mark.parametrize("config", [LM, replace(ADAM, iterations=250, learning_rate=0.06)])
def test_under_a_gaussian_fits_in_z_and_in_u_seek_the_same_code(name, config):
    """Its P and Q are one space; u is whitened, which changes an optimiser's way at most."""
    avatar = made(name)
    observation = keypoints_of(avatar, code(2), noise=2.0)
    z, u = (run(avatar, observation, replace(config, space=space))[-1] for space in ("z", "u"))
    assert z.energy == pytest.approx(u.energy, abs=0.1)
    assert mesh_error_mm(avatar, z, torch.from_numpy(u.z)) < 0.1


@pytest.mark.parametrize("space", ["z", "u"])
def test_the_gradients_of_all_solvers_are_those_of_the_energy(avatar, space):
    """Finite differences in float64 of energy(z) − λ log p(z), or of u's density, along random directions."""
    exact = random_avatar(tiny_config(*AVATARS[next(n for n, a in _made.items() if a is avatar)])).double()
    observation = keypoints_of(exact, code(1).double(), weights=torch.ones(136).double())
    config = config_for(exact, replace(LM, prior_weight=0.7, space=space))
    problem = make_problem(exact, observation, config)
    z, direction = code(5).double(), torch.nn.functional.normalize(code(6).double(), dim=0)
    if exact.driving == "hmc":
        problem.prior.double()
        problem.mu, problem.log_sigma = problem.mu.double(), problem.log_sigma.double()

    def energy(at: torch.Tensor) -> float:
        u, log_abs_det = problem.prior.to_prior(at[None], problem.context)
        log_p = gaussian_log_prob(u, problem.mu, problem.log_sigma) + (log_abs_det if space == "z" else 0.0)
        return (observation.energy(exact, at[None]) - 0.7 * log_p).item()

    def slope(toward: torch.Tensor, back: torch.Tensor) -> float:
        return (energy(toward) - energy(back)) / 2e-6

    along_z = slope(z + 1e-6 * direction, z - 1e-6 * direction)
    w = problem.whiten(z[None])[0][0]
    along_w = slope(*(problem.unwhiten((w + step * direction)[None])[0] for step in (1e-6, -1e-6)))
    solver = LevenbergMarquardt(problem, z, config)
    points = solver.point, problem.evaluate(z)[0], problem.evaluate_whitened(w)[0]
    gradients = solver.gradient(), problem.evaluate(z)[1], problem.evaluate_whitened(w)[1]
    for point, gradient, expected in zip(points, gradients, (along_z, along_z, along_w)):
        assert point.energy == pytest.approx(energy(z))
        assert (gradient @ direction).item() == pytest.approx(expected, rel=1e-4)


def test_a_pinned_keypoint_is_met_more_closely():
    avatar, z = made("gaussian-kpt"), code(1)
    points = keypoints_of(avatar, z).keypoints.clone()
    points[9] += 0.05
    errors = []
    for weight in (1.0, 1000.0):
        weights = torch.ones(136)
        weights[9] = weight
        state = run(avatar, KeypointObservation.for_avatar(avatar, points, weights), LM)[-1]
        errors.append(np.linalg.norm(state.extras["projected"][9] - points[9].numpy()))
    assert errors[1] < 0.3 * errors[0]


def test_without_likelihood_only_the_data_count(avatar):
    observation = keypoints_of(avatar, code(1))
    off = run(avatar, observation, config_for(avatar, replace(LM, likelihood=False)))
    zero = run(avatar, observation, config_for(avatar, replace(LM, prior_weight=0.0)))
    assert off[-1].energy == off[-1].data_energy < 1e-2
    np.testing.assert_array_equal(off[-1].z, zero[-1].z)
    assert np.isfinite(off[-1].log_likelihood)


def test_the_prior_decides_what_the_data_do_not_show():
    """All keypoints ignored: the fit ends at the most likely code, u at μ when the density is taken in u."""
    avatar, z = made("flow-kpt"), code(1)
    observation = keypoints_of(avatar, z, weights=torch.zeros(136))
    problem = make_problem(avatar, observation, LM)
    end = run(avatar, observation, replace(LM, space="u"), z0=code(3))[-1]
    np.testing.assert_allclose(end.u, problem.mu.numpy(), atol=0.02)
    mode = run(avatar, observation, LM, z0=code(3))[-1]
    assert mode.log_likelihood > end.log_likelihood


# ---- images


@pytest.mark.parametrize(("space", "edges"), [("z", "smooth"), ("z", "hard"), ("u", "hard")])
# A random flow whitens poorly, and whitened codes are what L-BFGS goes by.
@pytest.mark.parametrize(("config", "left"), [(IMAGE_ADAM, 0.15), (IMAGE_LBFGS, 0.35)], ids=["adam", "lbfgs"])
def test_a_headset_fit_finds_the_whole_face(space, edges, config, left):
    avatar, z = made("flow-hmc"), code(1)
    observation = headset_of(avatar, z, silhouette=edges == "smooth")
    states = run(avatar, observation, replace(config, space=space, edges=edges), z0=z + 0.7 * code(2))
    assert states[-1].energy < states[0].energy
    assert states[-1].data_energy < left * states[0].data_energy
    assert mesh_error_mm(avatar, states[-1], z) < 0.5 * mesh_error_mm(avatar, states[0], z)
    assert np.abs(states[-1].extras["error"]).mean() < 0.5 * np.abs(states[0].extras["error"]).mean()


def test_a_headset_fit_without_masks_does_not_mistake_the_background_for_the_face():
    avatar, z = made("flow-hmc"), code(1)
    observation = headset_of(avatar, z)
    light = torch.where(observation.masks > 0, observation.images, 1.0)
    states = run(avatar, replace(observation, images=light, masks=None), IMAGE_ADAM, z0=z + 0.3 * code(2))
    assert mesh_error_mm(avatar, states[-1], z) < 0.8 * mesh_error_mm(avatar, states[0], z)


@pytest.mark.parametrize(("name", "config"), [("flow-kpt", IMAGE_ADAM), ("gaussian-kpt", IMAGE_LBFGS)])
def test_a_frontal_fit_lowers_the_error_under_a_prior_driven_by_keypoints(name, config):
    avatar, z = made(name), code(1)
    states = run(avatar, frontal_of(avatar, z), config)
    assert states[-1].data_energy < 0.1 * states[0].data_energy
    np.testing.assert_allclose(states[0].z, run(avatar, keypoints_of(avatar, z), LM)[0].z, atol=1e-5)


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_a_fit_stops_when_nothing_is_gained(optimiser):
    avatar, z = made("gaussian-kpt"), code(1)
    config = replace(ADAM, optimiser=optimiser, iterations=3000, tolerance=1e-3)
    states = run(avatar, keypoints_of(avatar, z), config)
    assert states[-1].converged
    assert states[-1].iteration < 3000


def test_a_fit_ends_with_the_best_code_that_it_saw():
    avatar, z = made("gaussian-kpt"), code(1)
    wild = replace(
        ADAM, learning_rate=3.0, iterations=12, tolerance=0.0
    )  # steps so long that the energy goes up and down
    energies = [state.energy for state in run(avatar, keypoints_of(avatar, z), wild, z0=z)]
    assert energies[-2] > min(energies)
    assert energies[-1] == min(energies)


def test_a_headset_fit_whose_energy_rises_goes_on_from_its_best_code():
    avatar = Avatar.load(find_avatar("lip-flow-hmc"))
    images = load_hmc([assets_folder() / "demo" / f"{n}.png" for n in ("mouth", "left", "right")], (240, 320))
    observation = HmcObservation.for_avatar(avatar, images)
    energies = [s.energy for s in run(avatar, observation, FitConfig(optimiser="adam", iterations=45, tolerance=1e-3))]
    assert min(energies) < 0.6 * energies[0]
    assert max(energies[-15:]) < 1.1 * min(energies)


def test_lbfgs_reaches_in_half_of_the_evaluations_what_adam_does():
    avatar = Avatar.load(find_avatar("lip-flow-hmc"))
    images = load_hmc([assets_folder() / "demo" / f"{n}.png" for n in ("mouth", "left", "right")], (240, 320))
    observation = HmcObservation.for_avatar(avatar, images)
    adam = run(avatar, observation, FitConfig(optimiser="adam", iterations=40, tolerance=0))
    lbfgs = run(avatar, observation, FitConfig(optimiser="lbfgs", iterations=20, tolerance=0))
    assert lbfgs[-1].energy < adam[-1].energy


def test_of_a_converged_headset_fit_the_prior_can_still_be_taken_away():
    """Renders are rough where triangles are narrow: L-BFGS must not be caught there."""
    avatar = Avatar.load(find_avatar("lip-flow-hmc"))
    images = load_hmc([assets_folder() / "demo" / f"{n}.png" for n in ("mouth", "left", "right")], (240, 320))
    observation = HmcObservation.for_avatar(avatar, images)
    sure = FitConfig(optimiser="lbfgs", iterations=60)
    end = run(avatar, observation, sure)[-1]
    free = run(avatar, observation, replace(sure, likelihood=False, iterations=30), z0=end.z)
    assert free[-1].energy < 0.95 * free[0].energy


def test_lbfgs_leaves_a_pit_that_no_short_step_leads_out_of():
    start = np.full((1, 10), 1.0)

    def bowl_with_a_pit(x: np.ndarray, _: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (x**2).sum(-1) + 3 - 9 * (x == start).all(-1), 2 * x

    descent = Descent(bowl_with_a_pit, start, tolerance=1e-3)
    assert descent.best_energy[0] == 4
    for _ in range(Descent.WINDOW):
        descent.step(np.zeros(1, dtype=int))
    assert descent.best_energy[0] == pytest.approx(3, abs=0.01)


def test_a_fit_that_is_sent_something_goes_on_from_its_best_code():
    avatar = made("flow-hmc")
    problem = make_problem(avatar, headset_of(avatar, code(1)), IMAGE_LBFGS)
    solver = Lbfgs(problem, code(3), IMAGE_LBFGS)
    start = solver.point
    for _ in range(15):
        solver.step()
    best = solver.point
    assert best.energy < 0.9 * start.energy
    solver.point = start  # as after a step that was taken as it came
    changed = replace(IMAGE_LBFGS, prior_weight=0.011)
    assert (
        _replaced(solver, make_problem(avatar, problem.observation, changed), changed).point.energy < 1.1 * best.energy
    )


def test_lbfgs_starts_at_the_very_code_that_it_is_given():
    avatar, z = made("flow-hmc"), code(3)
    start = next(fit(avatar, headset_of(avatar, code(1)), FitConfig(optimiser="lbfgs"), z0=z))
    np.testing.assert_array_equal(start.z, z.numpy())


@pytest.mark.parametrize("space", ["z", "u"])
def test_lbfgs_ends_where_levenberg_marquardt_does_and_with_the_best_code_that_it_saw(avatar, space):
    observation, sure = keypoints_of(avatar, code(1)), config_for(avatar, replace(LM, space=space))
    states = run(avatar, observation, replace(sure, optimiser="lbfgs", iterations=400, tolerance=1e-6))
    energies = [state.energy for state in states]
    assert energies[-1] == min(energies)
    assert energies[-1] == pytest.approx(run(avatar, observation, sure)[-1].energy, rel=0.02, abs=0.2)


def test_the_energy_follows_its_gradient_with_smooth_edges_and_hardly_with_hard_ones():
    """Slopes along random ways from the guess at the demo's images, beside differences of the energy."""
    avatar = Avatar.load(find_avatar("lip-flow-hmc"))
    images = load_hmc([assets_folder() / "demo" / f"{n}.png" for n in ("mouth", "left", "right")], (240, 320))
    observation = HmcObservation.for_avatar(avatar, images)
    ways = torch.randn(8, avatar.config.latent, generator=torch.Generator().manual_seed(0))
    ways = 0.3 * torch.nn.functional.normalize(ways, dim=-1)
    off = {}
    for edges in ("smooth", "hard"):
        problem = make_problem(avatar, observation, FitConfig(edges=edges))
        x = problem.prior.start(problem.context).detach().requires_grad_(True)  # [1, Z]
        (gradient,) = torch.autograd.grad(problem.compare(x).energy.sum(), x)
        with torch.no_grad():
            ahead, behind = (torch.cat([problem.compare(x + s * way).energy for way in ways]) for s in (1, -1))
        off[edges] = float(((ahead - behind) / 2 - ways @ gradient[0]).norm())
    assert off["smooth"] < 0.4 * off["hard"]


def test_of_images_as_a_sensor_sees_them_smooth_edges_find_the_face_more_closely():
    avatar, z = made("flow-hmc"), code(1)
    observation = headset_of(avatar, z)
    ends = [run(avatar, observation, replace(IMAGE_ADAM, edges=e), z0=z + 0.7 * code(2)) for e in ("smooth", "hard")]
    smooth, hard = (mesh_error_mm(avatar, states[-1], z) for states in ends)
    assert smooth < 0.7 * hard


def test_pictures_come_when_asked_for():
    avatar, z = made("flow-hmc"), code(1)
    observation = headset_of(avatar, z)
    rare = run(avatar, observation, replace(ADAM, iterations=5))
    assert [("render" in state.extras) for state in rare] == [True, False, False, False, False, True]
    assert all(state.extras["gain"].shape == (3,) for state in rare)
    often = run(avatar, observation, replace(ADAM, iterations=4, pictures_every=2))
    assert [("render" in state.extras) for state in often] == [True, False, True, False, True]
    assert often[0].extras["render"].shape == often[0].extras["error"].shape == (3, *TINY_HMC)


# ---- the generator


@pytest.mark.parametrize("name", ["flow-kpt", "gaussian-kpt", "standard-normal"])
def test_under_a_standard_normal_a_fit_may_still_start_where_the_avatars_prior_thinks(name):
    avatar = made(name)
    observation = keypoints_of(avatar, code(1))
    config = replace(LM, start="encoder", prior="standard-normal")
    context = avatar.context(observation.driving(avatar.driving)) if avatar.driving else None
    first = next(fit(avatar, observation, config))
    np.testing.assert_allclose(first.z, avatar.prior.start(context)[0].numpy(), atol=1e-6)
    assert first.log_likelihood == pytest.approx(
        float(-0.5 * (first.z.astype(float) ** 2 + np.log(2 * np.pi)).sum()), rel=1e-4
    )


def test_the_first_state_is_the_start(avatar):
    observation = keypoints_of(avatar, code(1))
    problem = make_problem(avatar, observation, config_for(avatar, LM))
    expected = {
        "prior": problem.prior.start(problem.context)[0],
        "zero": torch.zeros(16),
        "sample": problem.prior.sample(problem.context, 1, generator=torch.Generator().manual_seed(7))[0, 0],
    }
    for start, z in expected.items():
        first = next(fit(avatar, observation, config_for(avatar, replace(LM, start=start)), seed=7))
        np.testing.assert_allclose(first.z, z.numpy(), atol=1e-6)
        assert first.iteration == 0
    given = next(fit(avatar, observation, config_for(avatar, LM), z0=code(8).numpy()))
    np.testing.assert_array_equal(given.z, code(8).numpy())


@pytest.mark.parametrize("config", [LM, ADAM])
def test_the_same_arguments_give_the_same_states(avatar, config):
    config = config_for(avatar, replace(config, start="sample", iterations=5))
    first, second = (run(avatar, keypoints_of(avatar, code(1)), config, seed=3) for _ in range(2))
    assert [s.energy for s in first] == [s.energy for s in second]
    np.testing.assert_array_equal(first[-1].z, second[-1].z)
    other = run(avatar, keypoints_of(avatar, code(1)), config, seed=4)
    assert first[0].energy != other[0].energy


@pytest.mark.parametrize("config", [LM, ADAM])
def test_another_observation_goes_on_from_the_same_code(avatar, config):
    config = config_for(avatar, replace(config, learning_rate=0.2))
    one, two = keypoints_of(avatar, code(1)), keypoints_of(avatar, code(1) + 0.1 * code(2))
    running = fit(avatar, one, config, z0=code(3))
    for _ in range(4):
        before = next(running)
    after = running.send(two)
    assert after.iteration == before.iteration + 1
    from_scratch = next(fit(avatar, two, config))
    assert after.energy < 0.5 * from_scratch.energy
    alone = run(avatar, two, config)[-1]
    assert list(running)[-1].energy < alone.energy + 0.1 * abs(alone.energy) + 0.5


def test_a_code_that_another_observation_overtakes_is_not_differentiated_at(monkeypatch):
    avatar = made("flow-kpt")
    near, far = keypoints_of(avatar, code(1)), keypoints_of(avatar, code(2))
    calls = []
    factors = KeypointDifference.factors
    monkeypatch.setattr(KeypointDifference, "factors", lambda *args: calls.append(args) or factors(*args))
    states = fit(avatar, near, LM)
    next(states)
    assert not calls
    for sent in (far, near, far):
        states.send(sent)
    assert len(calls) == 3


def test_adams_moments_survive_another_observation():
    avatar = made("gaussian-kpt")
    observation = keypoints_of(avatar, code(1))
    config = replace(ADAM, iterations=1000)
    undisturbed, swapped = fit(avatar, observation, config), fit(avatar, observation, config)
    for _ in range(4):
        next(undisturbed), next(swapped)
    np.testing.assert_allclose(swapped.send(observation).z, next(undisturbed).z, atol=1e-5)


def test_the_count_begins_anew_with_what_is_sent():
    avatar = made("gaussian-kpt")
    observation = keypoints_of(avatar, code(1))
    running = fit(avatar, observation, replace(ADAM, iterations=3))
    for _ in range(3):
        next(running)
    assert running.send(observation).iteration == 3
    rest = list(running)
    assert [state.iteration for state in rest] == [4, 5]


def test_a_fit_that_has_ended_can_be_woken_before_it_returns():
    avatar = made("gaussian-kpt")
    running = fit(avatar, keypoints_of(avatar, code(1)), LM)
    state = next(running)
    while not state.converged:
        state = next(running)
    woken = running.send(keypoints_of(avatar, code(2)))
    assert not woken.converged or woken.data_energy != state.data_energy
    with pytest.raises(StopIteration) as ended:
        while True:
            next(running)
    assert isinstance(ended.value.value, FitState)


def test_another_configuration_goes_on_from_the_same_code():
    avatar = made("flow-kpt")
    observation = keypoints_of(avatar, code(1))
    running = fit(avatar, observation, ADAM)
    for _ in range(5):
        before = next(running)
    heavier = running.send(replace(ADAM, prior_weight=50.0))
    assert np.linalg.norm(heavier.z - before.z) < 1
    assert heavier.energy == pytest.approx(heavier.data_energy - 50 * heavier.log_likelihood, rel=1e-4)
    newton = running.send(LM)
    assert newton.data_energy < heavier.data_energy


def test_gradients_are_on_again_between_states():
    running = fit(made("flow-kpt"), keypoints_of(made("flow-kpt"), code(1)), LM)
    for _ in range(3):
        next(running)
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()


def test_states_are_copies():
    running = fit(made("flow-kpt"), keypoints_of(made("flow-kpt"), code(1)), ADAM)
    first = next(running)
    kept = first.z.copy()
    for _ in range(3):
        next(running).z[:] = np.nan
    np.testing.assert_array_equal(first.z, kept)
    assert np.isfinite(next(running).energy)


def test_a_fit_leaves_the_avatar_as_it_was():
    avatar = made("flow-hmc")
    before = {name: tensor.clone() for name, tensor in avatar.state_dict().items()}
    run(avatar, headset_of(avatar, code(1)), replace(ADAM, iterations=2))
    assert all(torch.equal(tensor, before[name]) for name, tensor in avatar.state_dict().items())
    assert all(parameter.grad is None for parameter in avatar.parameters())


@pytest.mark.parametrize("config", [LM, ADAM, IMAGE_LBFGS], ids=lambda config: config.optimiser)
def test_a_fit_that_is_let_go_leaves_nothing_behind(config):
    """Not even until Python looks for garbage, which knows nothing of how large images are."""
    observation = keypoints_of(made("flow-kpt"), code(1))
    kept, running = weakref.ref(observation), fit(made("flow-kpt"), observation, config)
    next(running), next(running)
    gc.disable()
    try:
        del observation, running
        assert kept() is None
    finally:
        gc.enable()


# ---- bad input


def test_an_avatar_driven_by_something_else_says_what_to_do():
    with pytest.raises(InputError, match="headset images, which drive this avatar's prior, got KeypointObservation"):
        next(fit(made("flow-hmc"), keypoints_of(made("flow-hmc"), code(1)), LM))
    assert next(fit(made("standard-normal"), headset_of(made("standard-normal"), code(1)), ADAM)).iteration == 0


def test_levenberg_marquardt_wants_keypoints():
    with pytest.raises(InputError, match="expected keypoints, got HmcObservation; choose L-BFGS or Adam"):
        next(fit(made("flow-hmc"), headset_of(made("flow-hmc"), code(1)), LM))


@pytest.mark.parametrize("z0", [torch.zeros(15), torch.full((16,), float("nan")), torch.zeros(1, 16)])
def test_a_bad_start_is_refused(z0):
    avatar = made("gaussian-kpt")
    with pytest.raises(InputError, match="z0: expected"):
        next(fit(avatar, keypoints_of(avatar, code(1)), LM, z0=z0))


def test_a_start_without_a_finite_energy_is_refused():
    avatar = made("gaussian-kpt")
    with pytest.raises(InputError, match="a finite energy at the start"):
        next(fit(avatar, keypoints_of(avatar, code(1)), LM, z0=torch.full((16,), 3e38)))


def looking_away(observation: FrontalObservation) -> FrontalObservation:
    camera = observation.camera
    return replace(observation, camera=replace(camera, t=camera.t * -1), mask=None)


@pytest.mark.parametrize("sent", [False, True])
def test_an_image_in_which_nothing_of_the_face_is_seen_is_refused(sent):
    avatar, z = made("flow-kpt"), code(1)
    good = frontal_of(avatar, z)
    for blind in (looking_away(good), replace(good, mask=torch.zeros(TINY_PHOTO))):
        running = fit(avatar, good if sent else blind, ADAM)
        if sent:
            next(running)
        with pytest.raises(InputError, match="some of the face inside the image, got none of it; check the camera"):
            running.send(blind if sent else None)


def test_of_headset_images_one_camera_that_sees_the_face_is_enough():
    avatar = made("flow-hmc")
    seen = headset_of(avatar, code(1))
    mouth = seen.masks * torch.tensor([1.0, 0.0, 0.0])[:, None, None]
    assert np.isfinite(next(fit(avatar, replace(seen, masks=mouth), ADAM)).energy)
    with pytest.raises(InputError, match="some of the face inside the image"):
        next(fit(avatar, replace(seen, masks=torch.zeros_like(mouth)), ADAM))


def test_a_bad_observation_sent_in_ends_nothing_but_itself():
    """The error comes out of send; the caller goes on with a new fit from the last state."""
    avatar = made("flow-kpt")
    running = fit(avatar, keypoints_of(avatar, code(1)), LM)
    state = next(running)
    with pytest.raises(InputError, match="expected keypoints"):
        running.send(frontal_of(avatar, code(1)))
    assert run(avatar, keypoints_of(avatar, code(1)), LM, z0=state.z)[-1].converged


@pytest.mark.parametrize(
    "options",
    [
        {"iterations": 0},
        {"learning_rate": float("nan")},
        {"prior_weight": -1.0},
        {"tolerance": float("inf")},
        {"pictures_every": -1},
        {"optimiser": "sgd"},
        {"space": "w"},
        {"start": "mean"},
        {"prior": "none"},
    ],
)
def test_a_bad_configuration_is_refused(options):
    with pytest.raises(InputError, match="expected"):
        FitConfig(**options)


def test_each_observation_has_a_configuration_that_suits_it():
    assert FitConfig.for_observation(keypoints_of(made("flow-kpt"), code(1))).optimiser == "lm"
    assert FitConfig.for_observation(headset_of(made("flow-hmc"), code(1))).optimiser == "lbfgs"
