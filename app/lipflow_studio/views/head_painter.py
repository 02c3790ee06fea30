"""Draws the head with OpenGL into a picture: no window of its own, buffers updated in place.

Why not a GL widget: beside one, Qt composes the whole window with OpenGL, which on a machine without a GPU costs more
than the head itself, for every label that changes. A picture of the head is read back in a millisecond.
"""

from __future__ import annotations

import numpy as np
from PySide6.QtGui import QImage, QOffscreenSurface, QOpenGLContext
from vispy import gloo
from vispy.gloo.context import FakeCanvas, set_current_canvas

from lipflow_studio.document import AvatarInfo, ByteArray, Picture
from lipflow_studio.orbit import Orbit
from lipflow_studio.theme import current

GL_RENDERER = 0x1F01
KEPT_TARGETS = 3
VERTEX_SHADER = """
uniform mat4 clip_from_head;
attribute vec3 position;
attribute vec2 texcoord;
varying vec2 v_texcoord;
void main() {
    v_texcoord = texcoord;
    gl_Position = clip_from_head * vec4(position, 1.0);
}
"""
FRAGMENT_SHADER = """
uniform sampler2D skin;
varying vec2 v_texcoord;
void main() { gl_FragColor = vec4(texture2D(skin, v_texcoord).rgb, 1.0); }
"""
BACKDROP_VERTEX_SHADER = """
attribute vec2 corner;
varying vec2 v_corner;
void main() { v_corner = corner; gl_Position = vec4(corner, 0.999, 1.0); }
"""
BACKDROP_FRAGMENT_SHADER = """
uniform vec3 inner;
uniform vec3 outer;
varying vec2 v_corner;
void main() {
    float d = length(v_corner * vec2(0.8, 0.9) - vec2(0.0, 0.08));
    gl_FragColor = vec4(mix(inner, outer, smoothstep(0.05, 1.15, d)), 1.0);
}
"""


class HeadPainter:
    """A textured mesh before a backdrop. Belongs to the thread that made it."""

    def __init__(self) -> None:
        """
        Raises:
            RuntimeError: if the machine gives no OpenGL context.
        """
        self._surface, self._context = QOffscreenSurface(), QOpenGLContext()
        self._surface.create()
        if not self._context.create() or not self._context.makeCurrent(self._surface):
            raise RuntimeError("no OpenGL context: install the system's OpenGL libraries (libgl1, libegl1) or a driver")
        self.name = str(self._context.functions().glGetString(GL_RENDERER))  # what draws
        self._canvas = FakeCanvas()
        self._backdrop = gloo.Program(BACKDROP_VERTEX_SHADER, BACKDROP_FRAGMENT_SHADER)
        self._backdrop["corner"] = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]], np.float32)
        self._program = gloo.Program(VERTEX_SHADER, FRAGMENT_SHADER)
        self._faces: gloo.IndexBuffer | None = None
        self._positions: gloo.VertexBuffer | None = None
        self._texture: gloo.Texture2D | None = None
        self._uploaded: ByteArray | None = None
        self._targets: dict[tuple[int, int], gloo.FrameBuffer] = {}

    @property
    def has_face(self) -> bool:
        return self._texture is not None

    def set_topology(self, info: AvatarInfo) -> None:
        """Make the buffers of an avatar; there is no face until its first picture."""
        self._enter()
        split = info.topology.split
        texcoord = np.column_stack([split.uv[:, 0], 1.0 - split.uv[:, 1]]).astype(np.float32)
        self._faces = gloo.IndexBuffer(split.faces.astype(np.uint32))
        self._positions = gloo.VertexBuffer(np.zeros((len(split.uv), 3), np.float32))
        self._program["position"] = self._positions
        self._program["texcoord"] = gloo.VertexBuffer(texcoord)
        self._texture, self._uploaded = None, None

    def set_picture(self, picture: Picture) -> None:
        """Write the new vertices, and the texture where it is another one, into the buffers that are there."""
        if self._positions is None:
            return
        self._enter()
        self._positions.set_data(picture.shape.positions)
        if picture.texture is None or picture.texture is self._uploaded:
            return
        if self._texture is None:
            self._texture = gloo.Texture2D(picture.texture, interpolation="linear", wrapping="clamp_to_edge")
            self._program["skin"] = self._texture
        else:
            self._texture.set_data(picture.texture)
        self._uploaded = picture.texture

    def draw(self, orbit: Orbit, width: int, height: int) -> QImage:
        """The head as ``orbit`` sees it."""
        self._enter()
        look = current()
        self._backdrop["inner"], self._backdrop["outer"] = _rgb(look.canvas_top), _rgb(look.canvas_bottom)
        with self._target(width, height) as target:
            gloo.set_viewport(0, 0, width, height)
            gloo.clear(color=_rgb(look.canvas_bottom), depth=True)
            gloo.set_state(depth_test=False, blend=False, cull_face=False)
            self._backdrop.draw("triangle_strip")
            if self._texture is not None:
                gloo.set_state(depth_test=True)
                self._program["clip_from_head"] = orbit.clip_from_head(width / height).T
                self._program.draw("triangles", self._faces)
            pixels = np.ascontiguousarray(target.read("color"))
        return QImage(pixels.data, width, height, 4 * width, QImage.Format.Format_RGBX8888).copy()

    def close(self) -> None:
        """Let the OpenGL context go."""
        self._context.doneCurrent()
        self._surface.destroy()

    def _enter(self) -> None:
        if not self._context.makeCurrent(self._surface):
            raise RuntimeError("the OpenGL context is lost")
        set_current_canvas(self._canvas)

    def _target(self, width: int, height: int) -> gloo.FrameBuffer:
        """A frame buffer of that size; the last few sizes are kept (quick and fine pictures take turns)."""
        size = (width, height)
        if size not in self._targets:
            while len(self._targets) >= KEPT_TARGETS:
                self._targets.pop(next(iter(self._targets))).delete()
            colour = gloo.Texture2D((height, width, 4))
            self._targets[size] = gloo.FrameBuffer(colour, gloo.RenderBuffer((height, width)))
        return self._targets[size]


def _rgb(colour: str) -> tuple[float, float, float]:
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))  # type: ignore[return-value]
