"""How the head is drawn: what its surface shows, what is behind it, and where the light comes from."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lipflow.checks import InputError


@dataclass(frozen=True)
class Mode:
    """Something that the surface can show."""

    title: str
    tip: str
    keys: str = ""


MODES = {
    "textured": Mode("Textured", "The decoded texture, as this camera sees it", "Alt+1"),
    "geometry": Mode("Geometry", "The mesh under a light, without its texture", "Alt+2"),
    "wireframe": Mode("Wireframe", "The mesh's edges; hidden ones are not drawn", "Alt+3"),
    "normals": Mode("Normals", "Directions of the surface: red right, green up, blue forward", "Alt+4"),
    "error": Mode("Error", "Distance of each vertex to the capture frame's tracked mesh, mm", "Alt+5"),
    "deviation": Mode("Uncertainty", "Posterior standard deviation of each vertex, mm", "Alt+6"),
}
BACKGROUNDS = {"theme": "As the theme", "black": "Black", "grey": "Grey", "white": "White"}

Light = tuple[float, float]  # degrees to the viewer's right and up from straight ahead
LIGHTS: dict[str, tuple[str, Light]] = {
    "key": ("From the upper left", (-40.0, 35.0)),
    "front": ("From the viewer", (0.0, 0.0)),
    "left": ("From the left", (-75.0, 5.0)),
    "right": ("From the right", (75.0, 5.0)),
    "above": ("From above", (0.0, 75.0)),
    "below": ("From below", (0.0, -60.0)),
}
STEEPEST = 89.0  # degrees, of the light over or under the viewer


@dataclass(frozen=True)
class Look:
    """How the head is drawn."""

    mode: str = "textured"  # a key of MODES
    background: str = "theme"  # a key of BACKGROUNDS
    light: Light = LIGHTS["key"][1]  # for geometry; it goes with the viewer
    points: bool = False  # the keypoints are shown on the head

    def __post_init__(self) -> None:
        for name, known in (("mode", MODES), ("background", BACKGROUNDS)):
            value = getattr(self, name)
            if not isinstance(value, str) or value not in known:
                raise InputError(name, expected=" or ".join(known), got=repr(value))
        if not isinstance(self.points, bool):
            raise InputError("points", expected="true or false", got=repr(self.points))
        try:
            right, up = (float(angle) for angle in self.light)
        except (TypeError, ValueError) as error:
            raise InputError("light", expected="degrees to the right and up", got=repr(self.light)) from error
        if not (math.isfinite(right) and math.isfinite(up)):
            raise InputError("light", expected="degrees to the right and up", got=repr(self.light))
        inside = ((right + 180.0) % 360.0 - 180.0, min(max(up, -STEEPEST), STEEPEST))
        object.__setattr__(self, "light", inside)
