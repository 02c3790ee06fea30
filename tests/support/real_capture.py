"""The one real frame, arranged as a Multiface folder. It is not part of this project and never becomes so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "real-sample"
SEGMENT, NUMBER, CAMERA = "E057_Cheeks_Puffed", 21924, "400069"


def write_real_capture(root: Path) -> Path:
    """Arrange the sample under ``root``; skips the test where the sample is not here."""
    if not SAMPLE.is_dir():
        pytest.skip("needs the real captured frame, which is not part of this project")
    mesh, photo = root / "tracked_mesh" / SEGMENT, root / "images" / SEGMENT / CAMERA
    average = root / "unwrapped_uv_1024" / SEGMENT / "average"
    for folder in (mesh, photo, average):
        folder.mkdir(parents=True)
    shutil.copy(SAMPLE / "KRT", root / "KRT")
    shutil.copy(SAMPLE / "face_topology.obj", root / "face_topology.obj")
    shutil.copy(SAMPLE / "021924.bin", mesh / "021924.bin")
    shutil.copy(SAMPLE / "021924_transform_derived.txt", mesh / "021924_transform.txt")
    shutil.copy(SAMPLE / "021924.png", photo / "021924.png")
    shutil.copy(SAMPLE / "021924_avgtex.png", average / "021924.png")
    (root / "frame_list.txt").write_text(f"{SEGMENT} {NUMBER:06d}\n")
    return root
