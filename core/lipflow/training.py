"""Training an avatar: a generator of snapshots that can be stopped and resumed to the same result."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lipflow.avatar import Avatar, AvatarConfig
from lipflow.capture.packed import Batch, PackedCapture
from lipflow.checkpoint import load_tensors, save_tensors, take
from lipflow.checks import InputError
from lipflow.distributed import ALONE, Ranks, gathered, shares, totals
from lipflow.objective import Objective, watched
from lipflow.rendering import Renderer, make_renderer
from lipflow.serial import config_hash, from_json, to_json
from lipflow.training_config import TrainConfig, one_cycle
from lipflow.training_start import build_avatar, provenance
from lipflow.validation import Snapshot, snapshot, spread, validate
from lipflow.variants import PARTS

FORMAT = "lipflow-training"
STORED_SAMPLES = 512  # codes of training frames that a finished avatar carries
_PACE_KEPT = 0.95  # of the moving average of a step's time, by which the remaining time is reckoned


@dataclass(frozen=True, eq=False)
class TrainState:
    """Where a training run stands; everything in it is a copy."""

    step: int  # steps done
    steps: int
    scalars: dict[str, float]  # losses, σq, σp, log |det|, gradient norm …, read every ``log_every`` steps
    validation: dict[str, float] | None  # on held-out expressions; None until the first time, or without such frames
    seconds: float  # spent training, over all sessions
    eta_s: float  # seconds to go
    snapshot: Snapshot | None  # a sample picture and codes, in some steps
    validated: bool  # whether ``validation`` is of this step


class Training:
    """One training run: a model of its own, its optimiser, and its place in the data.

    Iterate over ``run()``; stop whenever; ``save`` between two steps and ``resume`` later: the result is the same as
    without the stop, bit for bit on one machine with one number of threads.
    """

    def __init__(
        self,
        config: TrainConfig,
        packed: PackedCapture,
        device: torch.device | str = "cpu",
        *,
        base: Avatar | None = None,
        avatar: Avatar | None = None,
        renderer: Renderer | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        """Start a run.

        Args:
            config: what to train.
            packed: the capture, packed at the avatar's texture resolution.
            device: where the model trains.
            base: a trained "dam" avatar, for the variants that freeze one.
            avatar: the model to go on with, instead of a new one (``resume`` uses it).
            renderer: instead of the device's own.
            ranks: the processes that train it together; the first one's states have figures and pictures.

        Raises:
            InputError: if config, capture and base do not fit together.
        """
        self.config, self.packed, self.device, self.ranks = config, packed, torch.device(device), ranks
        self._rows = ranks.rows(config.batch)
        if self._rows.start == self._rows.stop:
            raise InputError("batch", expected=f"a row for each of {ranks.count} processes", got=config.batch)
        row = config.row()
        if packed.texture_size != config.sizes.texture:
            expected = f"textures packed at {config.sizes.texture}², the model's size"
            raise InputError("capture", expected=expected, got=f"{packed.texture_size}²")
        self._train_frames = packed.split("train")
        if len(self._train_frames) == 0:
            raise InputError("capture", expected="frames in the train split", got="none")
        self.objective = Objective(row, config.latent_loss or row.latent_loss, config.cycle or row.cycle, config.jitter)
        self.avatar = avatar if avatar is not None else build_avatar(config.sizes, row, packed, config.seed, base)
        self.avatar.to(self.device).train()
        for part in PARTS:
            module = getattr(self.avatar, part)
            if module is not None:
                module.requires_grad_(part in row.trains)
        ranks.start_alike(list(self.avatar.state_dict().values()))
        self._parameters = [p for p in self.avatar.parameters() if p.requires_grad]
        self._optimiser = torch.optim.Adam(self._parameters, lr=config.learning_rate, fused=True)
        self._renderer = renderer or make_renderer(packed.topology, device=self.device)
        self._generator = torch.Generator().manual_seed(config.seed)
        self._pending = torch.empty(0, dtype=torch.long)  # places in the train split, still to come in this epoch
        self._place = self._generator.get_state(), self._pending  # after the last whole step
        self.is_whole = True  # False while a step changes the model: what were saved then would be half of it
        self.step, self.seconds, self._pace = 0, 0.0, 0.0
        self._scalars: dict[str, float] = {}
        self._validation: dict[str, float] | None = None

    @property
    def validation(self) -> dict[str, float] | None:
        """The latest figures on held-out expressions; None before there are any, or without such frames."""
        return None if self._validation is None else dict(self._validation)

    # ---- running

    def run(self) -> Generator[TrainState, None, None]:
        """Train until ``config.steps``, yielding after every step.

        Raises:
            InputError: when the gradient stops being finite; the model is still that of the step before.
        """
        config = self.config
        while self.step < config.steps:
            began = time.perf_counter()
            self._train_step()
            last = self.step == config.steps
            first = self.ranks.is_first
            validated = first and (last or self.step % config.validation_steps == 0)
            if validated:
                self._validation = validate(self.avatar, self.packed, self._renderer, config.validation_frames)
            shot = None
            if first and (last or self.step % config.snapshot_every == 0 or self.step == 1):
                shot = snapshot(self.avatar, self.packed, self._renderer)
            spent = time.perf_counter() - began
            self.seconds += spent
            self._pace = spent if self._pace == 0 else _PACE_KEPT * self._pace + (1 - _PACE_KEPT) * spent
            yield TrainState(
                step=self.step,
                steps=config.steps,
                scalars=dict(self._scalars),
                validation=self.validation,
                seconds=self.seconds,
                eta_s=(config.steps - self.step) * self._pace,
                snapshot=shot,
                validated=validated,
            )

    def _train_step(self) -> None:
        config = self.config
        batch, rendered = self.next_batch(), self._rendered()
        terms = self.objective.terms(
            self.avatar,
            batch,
            self.driving_signal(batch),
            self.noise(),
            renderer=self._renderer if rendered != 0 else None,
            image_rows=rendered,
        )
        losses = shares(terms.losses, batch, self.avatar.texture_valid, rendered, self.ranks)
        loss = torch.stack([getattr(config, f"lambda_{name}") * term for name, term in losses.items()]).sum()
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.ranks.add_gradients(self._parameters)
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, config.clip)
        if not torch.isfinite(norm):
            got = f"{float(norm)} in step {self.step + 1}"
            raise InputError("training", expected="a finite gradient", got=got, mend="try a lower learning rate")
        rate = one_cycle(self.step, config.steps, config.learning_rate)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self.is_whole = False
        self._optimiser.step()
        self.step += 1
        self._place = self._generator.get_state(), self._pending
        self.is_whole = True
        if self.step % config.log_every == 0 or self.step in (1, config.steps):
            codes = gathered(terms.codes, config.batch, self.ranks)
            read = {**totals({**losses, "loss": loss}, self.ranks), **watched(codes), "gradient_norm": norm}
            self._scalars |= {name: float(value.detach()) for name, value in read.items()} | {"learning_rate": rate}

    def _rendered(self) -> int | None:
        """How many of this process's rows the step renders; None: all."""
        config = self.config
        if config.image_every == 0 or self.step % config.image_every or config.lambda_image == 0:
            return 0
        own = self._rows.stop - self._rows.start
        return min(max(config.image_rows - self._rows.start, 0), own) if config.image_rows else None

    def next_batch(self) -> Batch:
        """The next frames of the shuffled epoch, each under a camera of its own, on the device; this process's rows."""
        count = len(self._train_frames)
        while len(self._pending) < self.config.batch:
            self._pending = torch.cat([self._pending, torch.randperm(count, generator=self._generator)])
        chosen, self._pending = self._pending[: self.config.batch], self._pending[self.config.batch :]
        return self.packed.batch(
            self._train_frames[chosen.numpy()],
            device=self.device,
            augmentation=self.config.augmentation,
            generator=self._generator,
            part=self._rows,
        )

    def driving_signal(self, batch: Batch) -> Tensor | None:
        """What the driver sees of a batch in training: headset images, or keypoints with noise."""
        if self.avatar.driving == "kpt" and batch.keypoints is not None:
            shape = (self.config.batch, *batch.keypoints.shape[1:])
            noise = torch.randn(shape, generator=self._generator)[self._rows]
            return batch.keypoints + self.config.keypoint_noise * noise.to(batch.keypoints)
        return batch.hmc if self.avatar.driving == "hmc" else None

    def noise(self) -> Tensor:
        """What the step's samples are drawn with, [3, B, Z]."""
        shape = (3, self.config.batch, self.avatar.config.latent)
        return torch.randn(shape, generator=self._generator)[:, self._rows].to(self.device)

    # ---- results

    def finished_avatar(self) -> Avatar:
        """A frozen copy on the CPU with sample codes and the record of how it was trained."""
        avatar = self.avatar.for_inference().to("cpu")
        codes = spread(self._train_frames, STORED_SAMPLES)
        shot = snapshot(avatar, self.packed, None, frames=codes)
        avatar.set_samples(torch.from_numpy(shot.codes_q), torch.from_numpy(shot.codes_u), shot.segments)
        avatar.record = {
            "variant": self.config.variant,
            "seed": self.config.seed,
            "config": to_json(self.config),
            "config_hash": config_hash(self.config),
            "capture": self.packed.name,
            "frames": len(self._train_frames),
            "step": self.step,
            "seconds": round(self.seconds, 1),
            "scalars": dict(self._scalars),
            "validation": self._validation,
            **provenance(),
        }
        return avatar

    # ---- stopping and going on

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that the run's future depends on, as tensors and a JSON body."""
        tensors = {f"model/{name}": tensor for name, tensor in self.avatar.state_dict().items()}
        for k, parameter in enumerate(self._parameters):
            for name, tensor in self._optimiser.state.get(parameter, {}).items():
                tensors[f"adam/{k}/{name}"] = tensor
        tensors |= {"generator": self._place[0], "pending": self._place[1]}
        body = {
            "format": FORMAT,
            "version": 1,
            "config": to_json(self.config),
            "avatar": to_json(self.avatar.config),
            "capture": self.packed.hash,
            "step": self.step,
            "seconds": self.seconds,
            "scalars": self._scalars,
            "validation": self._validation,
        }
        return tensors, body

    def load_state_dict(self, tensors: dict[str, Tensor], body: dict[str, Any], what: str = "checkpoint") -> None:
        """Go on from ``state_dict``'s result.

        Raises:
            InputError: if it is another run's, or damaged.
        """
        if from_json(TrainConfig, body.get("config"), what=f"{what}, config") != self.config:
            raise InputError(what, expected="a run with this config", got="another run's")
        if body.get("capture") != self.packed.hash:
            mend = "begin anew in another folder: the capture is another, or frames were repaired and added since"
            raise InputError(what, expected="a run on this pack of the capture", got="one on another pack", mend=mend)
        step, seconds = body.get("step"), body.get("seconds")
        if type(step) is not int or not 0 <= step <= self.config.steps or not isinstance(seconds, int | float):
            raise InputError(what, expected=f"a step up to {self.config.steps}", got=repr(step))
        names = self.avatar.state_dict()
        model = {k: take(tensors, f"model/{k}", tuple(v.shape), v.dtype, what) for k, v in names.items()}
        begun = self._parameters if step > 0 else []  # Adam has no moments before its first step
        adam = {parameter: _adam_state(tensors, f"adam/{k}", parameter, what) for k, parameter in enumerate(begun)}
        pending = take(tensors, "pending", (None,), torch.long, what)
        if len(pending) and not 0 <= int(pending.min()) <= int(pending.max()) < len(self._train_frames):
            raise InputError(f"{what}, pending", expected="frames of the train split", got="others")
        state = take(tensors, "generator", tuple(self._generator.get_state().shape), torch.uint8, what)
        with torch.no_grad():
            self.avatar.load_state_dict(model)
            for parameter, values in adam.items():
                self._optimiser.state[parameter] = values
        self._generator.set_state(state)
        self._pending, self.step, self.seconds = pending, step, float(seconds)
        self._place = state, pending
        self._scalars = {str(k): float(v) for k, v in (body.get("scalars") or {}).items()}
        self._validation = body.get("validation")

    def save(self, path: Path | str) -> None:
        """Write a checkpoint, atomically; call it between two steps."""
        save_tensors(Path(path), *self.state_dict())

    @staticmethod
    def resume(
        path: Path | str, packed: PackedCapture, device: torch.device | str = "cpu", ranks: Ranks = ALONE
    ) -> Training:
        """Go on with a saved run.

        Raises:
            InputError: if the file is damaged or foreign, or the capture is another.
        """
        what = f"checkpoint {path}"
        tensors, body = load_tensors(Path(path), what="checkpoint", kind=FORMAT)
        config = from_json(TrainConfig, body.get("config"), what=f"{what}, config")
        sizes = from_json(AvatarConfig, body.get("avatar"), what=f"{what}, avatar")
        fresh = build_avatar(sizes, None, packed, config.seed, None)
        training = Training(config, packed, device, avatar=fresh, ranks=ranks)
        training.load_state_dict(tensors, body, what)
        return training


def _adam_state(tensors: dict[str, Tensor], prefix: str, parameter: Tensor, what: str) -> dict[str, Tensor]:
    """Both moments of a parameter, on its device and in its memory layout, and how many steps they are of."""
    state = {"step": take(tensors, f"{prefix}/step", (), torch.float32, what).to(parameter.device)}
    for name in ("exp_avg", "exp_avg_sq"):
        stored = take(tensors, f"{prefix}/{name}", tuple(parameter.shape), torch.float32, what)
        state[name] = torch.empty_like(parameter).copy_(stored)
    return state
