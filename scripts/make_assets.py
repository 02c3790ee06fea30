"""Make again what ships in assets/lipflow_assets: the head rig, the embedded avatars and the demo's inputs.

Each part is made by the public commands of the library from the seeds below; ``--only`` names the parts to make. The
capture is only on the way (it is written under --work and not shipped). Whatever was made before is gone on with.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from lipflow.capture import open_capture
from lipflow.capture.base import Capture, FrameId
from lipflow.capture.headset import Headset, keypoint_camera
from lipflow.capture.images import write_image
from lipflow.capture.synthetic import rig_source
from lipflow.checkpoint import save_tensors
from lipflow.commands.capture import Synthesize
from lipflow.commands.train import AVATAR, CHECKPOINT, Train
from lipflow.embedded import assets_folder
from lipflow.observation_files import save_keypoints

VARIANTS = ("dam", "lip-kl-kpt", "lip-kl-hmc", "lip-flow-kpt", "lip-flow-hmc")  # that the studio compares
SUBJECT, FRAMES, CAMERAS, TEXTURE = 0, 1200, 12, 384
PHOTO = (384, 256)
HMC_NAMES = ("mouth", "left", "right")


def make_rig(work: Path, device: str) -> None:
    rig_source.main(["--download", "--out", str(assets_folder() / "head_rig.npz")])


def make_capture(work: Path, device: str) -> None:
    Synthesize(work / "capture", SUBJECT, FRAMES, CAMERAS, PHOTO, TEXTURE).run()


def make_avatars(work: Path, device: str) -> None:
    for variant in VARIANTS:
        train_avatar(work, device, variant)


def train_avatar(work: Path, device: str, variant: str) -> None:
    run = work / variant
    Train(work / "capture", run, variant, "studio", device=device, resume=(run / CHECKPOINT).exists()).run()
    target = assets_folder() / "avatars" / f"{variant}.safetensors"
    target.parent.mkdir(exist_ok=True)
    shutil.copy(run / AVATAR, target)


def make_demo(work: Path, device: str) -> None:
    """A strong moment of a held-out expression: its headset images, its keypoints, and the truth behind them."""
    capture = open_capture(work / "capture")
    moment = strongest(capture, capture.split["test"])
    demo = assets_folder() / "demo"
    demo.mkdir(exist_ok=True)
    seen = Headset(capture).images(moment, None, None)
    for name, image in zip(HMC_NAMES, seen.hmc):
        write_image(demo / f"{name}.png", (image.numpy() * 255).round().astype(np.uint8))
    vertices, landmarks = capture.vertices(moment), capture.landmarks
    if landmarks is None:
        raise RuntimeError("the synthetic capture has landmarks")
    points = keypoint_camera(capture).project_normalised(vertices[landmarks.index])
    save_keypoints(demo / "keypoints.json", points, torch.ones(len(points)), landmarks.names)
    truth = {"vertices": vertices, "average_texture": (capture.average_texture(moment) * 255).round().byte()}
    about = {"format": "lipflow-truth", "segment": moment.segment, "number": moment.number}
    save_tensors(demo / "truth.safetensors", truth, about)


def strongest(capture: Capture, moments: Sequence[FrameId]) -> FrameId:
    """The frame whose mesh is farthest from the mean."""
    mean = torch.from_numpy(capture.statistics.vertex_mean)
    return max(moments, key=lambda moment: float((capture.vertices(moment) - mean).norm(dim=-1).mean()))


PARTS: dict[str, Callable[[Path, str], None]] = {
    "rig": make_rig,
    "capture": make_capture,
    "avatars": make_avatars,
    "demo": make_demo,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to make")
    parser.add_argument("--work", type=Path, default=Path("out/assets"), help="folder for the capture and the runs")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to train")
    arguments = parser.parse_args()
    for name in arguments.only:
        sys.stderr.write(f"making {name}\n")
        PARTS[name](arguments.work, arguments.device)
    return 0


if __name__ == "__main__":
    sys.exit(main())
