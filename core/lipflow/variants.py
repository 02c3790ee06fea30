"""The models that are compared, as rows of a table, and the sizes that they come in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from lipflow.avatar import AvatarConfig
from lipflow.nets.decoder import DecoderConfig
from lipflow.nets.encoders import DriverConfig, EncoderConfig

PARTS = ("encoder", "decoder", "driver", "prior")  # of an avatar, as attribute names


@dataclass(frozen=True)
class Variant:
    """One way to tie the driving signal to the avatar."""

    name: str  # as the command line takes it
    title: str  # as tables print it
    driving: str | None  # "hmc", "kpt", or None
    prior: str  # a key of PRIORS
    posterior: str = "capture"  # Q sees the "capture" (texture + mesh) or the "driving" signal instead
    latent_loss: str = "kl"  # a key of objective's LATENT_LOSSES
    decodes: tuple[str, ...] = ("q",)  # codes the decoder is trained with: Q's sample "q", the prior's sample "p"
    cycle: str = "none"  # the way of Q's sample to the decoder: a key of objective's CYCLES
    trains: tuple[str, ...] = PARTS  # the others stay as they are in the avatar that training starts from
    sigma_q: str = "multiface"  # how σq is made of Q's output: a key of SIGMAS
    fit_prior: str = "own"  # the prior of fits to frontal views: its "own", or "standard-normal"
    decoded_directly: bool = False  # the driving tables decode the prior's mean, without a fit

    @property
    def starts_from(self) -> str | None:
        """The variant whose avatar has to be trained first."""
        return None if set(self.trains) == set(PARTS) else "dam"

    def avatar_config(self, sizes: AvatarConfig) -> AvatarConfig:
        """``sizes`` with this variant's composition."""
        sees_capture = self.posterior == "capture"
        return replace(
            sizes,
            prior=self.prior,
            driving=self.driving,
            has_encoder=sees_capture,
            sigma_q=self.sigma_q,
            sigma_p=sizes.sigma_p if sees_capture else self.sigma_q,  # without an encoder P is Q
        )


def _driven(driving: str) -> Iterator[Variant]:
    upper = driving.upper()
    yield Variant(
        f"dam-enc-{driving}",
        f"DAM-{upper} Enc.",
        driving,
        "gaussian",
        posterior="driving",
        latent_loss="kl-standard",
        fit_prior="standard-normal",
        decoded_directly=True,
    )
    yield Variant(
        f"dam-reg-{driving}",
        f"DAM-{upper} Reg.",
        driving,
        "gaussian",
        latent_loss="nll",
        trains=("driver", "prior"),
        fit_prior="standard-normal",
        decoded_directly=True,
    )
    yield Variant(f"lip-kl-{driving}", f"LiP-KL-{upper}", driving, "gaussian", latent_loss="kl")
    full = Variant(
        f"lip-flow-{driving}",
        f"LiP-Flow-{upper}",
        driving,
        "flow",
        latent_loss="nll",
        cycle="literal",
        sigma_q="one",
    )
    yield full
    yield replace(full, name=f"{full.name}-no-cycle", title=f"{full.title} − flow cycle", cycle="none")
    yield replace(full, name=f"{full.name}-decode-p", title=f"{full.title} + decoding P", decodes=("q", "p"))
    yield replace(
        full,
        name=f"{full.name}-standard-normal",
        title=f"{full.title} to N(0, I)",
        prior="flow-standard-normal",
    )
    # Beyond the paper: a cycle that carries signal, and the two other ways to keep Q from contracting, or not.
    yield replace(full, name=f"{full.name}-jittered", title=f"{full.title}, jittered cycle", cycle="jittered")
    yield replace(
        full,
        name=f"{full.name}-mc-kl",
        title=f"{full.title} + entropy of Q",
        latent_loss="mc-kl",
        sigma_q="below-one",
    )
    yield replace(full, name=f"{full.name}-literal", title=f"{full.title}, σq learned", sigma_q="multiface")


VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (Variant("dam", "DAM", None, "standard-normal"), *_driven("hmc"), *_driven("kpt"))
}


@dataclass(frozen=True)
class Preset:
    """Sizes of a model, and of what it is trained on."""

    avatar: AvatarConfig  # sizes; a variant sets the composition
    photo: tuple[int, int]  # height, width of the dome photos in training
    steps: int  # of training
    batch: int
    image_every: int = 1  # the image loss is taken in every n-th step
    learning_rate: float = 5e-4  # the peak of the one-cycle schedule


PRESETS: dict[str, Preset] = {
    "tiny": Preset(
        AvatarConfig(
            texture=32,
            latent=16,
            context=32,
            couplings=2,
            flow_hidden=24,
            encoder=EncoderConfig(channels=(8, 12), texture_features=24, mesh_features=16, mesh_rank=8),
            decoder=DecoderConfig(code=24, view=4, seed=4, seed_channels=12, channels=(12, 8), shuffle=2, mesh_rank=8),
            driver=DriverConfig(size=(30, 40), channels=(4, 8, 8), blocks=1),
        ),
        photo=(48, 32),
        steps=200,
        batch=4,
        learning_rate=2e-3,
    ),
    "small": Preset(
        AvatarConfig(
            texture=128,
            context=128,
            flow_hidden=128,
            encoder=EncoderConfig(channels=(16, 24, 32, 48, 48), mesh_stride=5, mesh_rank=48),
            decoder=DecoderConfig(channels=(48, 32, 16), shuffle=2, mesh_rank=44),
            driver=DriverConfig(size=(120, 160)),
        ),
        photo=(192, 128),
        steps=1000,
        batch=8,
        image_every=4,
        learning_rate=2e-3,
    ),
    "studio": Preset(
        AvatarConfig(
            texture=384,
            encoder=EncoderConfig(mesh_stride=5, mesh_rank=48),
            decoder=DecoderConfig(seed=6, seed_channels=24, mesh_rank=44),
        ),
        photo=(384, 256),
        steps=4000,
        batch=8,
        image_every=2,
        learning_rate=1e-3,
    ),
    "paper": Preset(
        AvatarConfig(
            texture=1024,
            context=1024,
            flow_hidden=512,
            weight_norm=True,
            encoder=EncoderConfig(channels=(32, 64, 64, 128, 128, 256, 256), mesh_features=256),
            decoder=DecoderConfig(seed=8, seed_channels=256, channels=(128, 128, 64, 32, 16), shuffle=4),
            driver=DriverConfig(size=(480, 640), channels=(16, 32, 64, 64, 128, 128, 64)),
        ),
        photo=(1024, 667),
        steps=200000,
        batch=16,
        learning_rate=3e-4,
    ),
}
