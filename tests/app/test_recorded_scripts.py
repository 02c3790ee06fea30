"""The scripts that the repository keeps speak of commands, panels and avatars that there are."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lipflow_studio import script
from lipflow_studio.panels import PANELS
from lipflow_studio.session import Session

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
import gallery  # noqa: E402


def commands(steps: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for step in steps:
        yield from commands(step.get("steps", []))
        if "command" in step:
            yield step


def check(steps: Sequence[dict[str, Any]]) -> None:
    for step in commands(steps):
        if step["command"] == "desk.show_panel":
            assert step["args"][0] in {row.name for row in PANELS}
        if step["command"] == "open_headset_images":
            assert all((SCRIPTS.parent / path).is_file() for path in step["args"][0])


def test_the_soak_can_be_played() -> None:
    check(script.load(SCRIPTS / "soak.json", Session.known_commands()))


@pytest.mark.parametrize("shot", gallery.shots(Path("work")), ids=lambda shot: shot.name)
def test_the_gallery_can_be_played(shot: gallery.Shot, tmp_path: Path) -> None:
    (tmp_path / "shot.json").write_text(json.dumps(shot.steps))
    check(script.load(tmp_path / "shot.json", Session.known_commands()))
