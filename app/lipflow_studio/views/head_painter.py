"""Draws the head with OpenGL into a picture: no window of its own, buffers updated in place.

Why not a GL widget: beside one, Qt composes the whole window with OpenGL, which on a machine without a GPU costs more
than the head itself, for every label that changes. A picture of the head is read back in a millisecond.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyqtgraph
from PySide6.QtGui import QImage, QOffscreenSurface, QOpenGLContext, QPainter
from vispy import gloo
from vispy.gloo.context import FakeCanvas, set_current_canvas

from lipflow.mesh import Topology, unique_pairs
from lipflow_studio.document import AvatarInfo, ByteArray, FloatArray, Picture
from lipflow_studio.heat import Heat
from lipflow_studio.look import Look
from lipflow_studio.normals import VertexNormals
from lipflow_studio.orbit import Orbit
from lipflow_studio.theme import current
from lipflow_studio.views.head_shaders import BACKDROP, BACKDROP_VERTEX, PASSES, WITHOUT_HEAT, Pass

GL_RENDERER = 0x1F01
KEPT_TARGETS = 3
CLAY = (0.80, 0.77, 0.74)
EDGE_WIDTH = 0.8  # pixels of the screen
Colour = tuple[float, float, float]

# The library below knows one present canvas for all threads.
_VISPY = threading.RLock()

# Behind the head, in the middle and towards the corners; the theme's own is not in it.
BACKDROPS: dict[str, tuple[Colour, Colour]] = {
    "black": ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    "grey": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "white": ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0)),
}


def scale_colours(name: str) -> ByteArray:
    """[256, 3] of a colour scale whose lightness grows evenly."""
    table: ByteArray = pyqtgraph.colormap.get(name).getLookupTable(0.0, 1.0, 256)[:, :3]
    return np.ascontiguousarray(table, dtype=np.uint8)


@dataclass(frozen=True)
class Part:
    """A rectangle of a picture, pixels. Its place may be between them: so pictures are taken to be averaged."""

    left: float
    top: float
    width: int
    height: int

    def within(self, width: int, height: int) -> tuple[tuple[float, float], tuple[float, float]]:
        """By what OpenGL's x and y of a picture of that size are multiplied, and what is added, to be the part's."""
        x, y = width / self.width, height / self.height
        return (x, y), (x - 2 * self.left / self.width - 1, 1 - y + 2 * self.top / self.height)


@dataclass(eq=False)
class _Mesh:
    """The buffers of one topology. Those that the present mode does not ask for are neither made nor filled."""

    topology: Topology
    positions: gloo.VertexBuffer
    faces: gloo.IndexBuffer
    edges: gloo.IndexBuffer | None = None
    normals: VertexNormals | None = None


class HeadPainter:
    """A mesh before a backdrop. Belongs to the thread that made it; others may draw with painters of their own."""

    def __init__(self, surface: QOffscreenSurface | None = None) -> None:
        """
        Args:
            surface: what the context is for, of whoever made it; without, one is made here. Some systems want that,
                and letting it go, to be done by the window's thread.

        Raises:
            RuntimeError: if the machine gives no OpenGL context.
        """
        self._surface, self._context = surface or QOffscreenSurface(), QOpenGLContext()
        self._is_own = surface is None
        if self._is_own:
            self._surface.create()
        if not self._context.create() or not self._context.makeCurrent(self._surface):
            raise RuntimeError("no OpenGL context: install the system's OpenGL libraries (libgl1, libegl1) or a driver")
        self.name = str(self._context.functions().glGetString(GL_RENDERER))  # what draws
        with _VISPY:
            self._canvas = FakeCanvas()  # the present one, from now on
            self._backdrop = gloo.Program(BACKDROP_VERTEX, BACKDROP)
            self._backdrop["corner"] = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]], np.float32)
        self._look = Look()
        self._heat: Heat | None = None
        self._vertices: FloatArray | None = None  # [V, 3] mm of the newest picture
        self._mesh: _Mesh | None = None
        self._attributes: dict[str, gloo.VertexBuffer] = {}
        self._filled: dict[str, object] = {}  # of each attribute's buffer: what it was made from
        self._programs: dict[Pass, gloo.Program] = {}
        self._texture: gloo.Texture2D | None = None
        self._scale: gloo.Texture2D | None = None
        self._scale_name = ""
        self._uploaded: ByteArray | None = None
        self._targets: dict[tuple[int, int], gloo.FrameBuffer] = {}
        self._backdrops: dict[tuple[int, int, Part, Colour, Colour], QImage] = {}

    @property
    def has_face(self) -> bool:
        return self._texture is not None

    def set_topology(self, info: AvatarInfo) -> None:
        """Make the buffers of an avatar; there is no face until its first picture."""
        split = info.topology.split
        with self._entered():
            positions = gloo.VertexBuffer(np.zeros((len(split.uv), 3), np.float32))
            self._mesh = _Mesh(info.topology, positions, gloo.IndexBuffer(split.faces.astype(np.uint32)))
            texcoord = np.column_stack([split.uv[:, 0], 1.0 - split.uv[:, 1]]).astype(np.float32)
            self._attributes, self._filled = {"texcoord": gloo.VertexBuffer(texcoord)}, {}
        self._programs = {}
        self._texture = self._uploaded = self._vertices = self._heat = None

    def set_picture(self, picture: Picture) -> None:
        """Write the new vertices, and the texture where it is another one, into the buffers that are there."""
        if self._mesh is None:
            return
        with self._entered():
            self._mesh.positions.set_data(picture.shape.positions)
            self._vertices = picture.shape.vertices
            if picture.texture is None or picture.texture is self._uploaded:
                return
            if self._texture is None:
                self._texture = gloo.Texture2D(picture.texture, interpolation="linear", wrapping="clamp_to_edge")
            else:
                self._texture.set_data(picture.texture)
            self._uploaded = picture.texture

    def set_look(self, look: Look) -> None:
        """What the surface shows, what is behind it, where the light comes from."""
        self._look = look

    def set_heat(self, heat: Heat | None) -> None:
        """The values of each vertex that modes of heat colour; without, such a mode shows the geometry."""
        self._heat = heat

    def draw(
        self,
        orbit: Orbit,
        width: int,
        height: int,
        *,
        scale: float = 1.0,
        transparent: bool = False,
        part: Part | None = None,
    ) -> QImage:
        """The head as ``orbit`` sees it.

        Args:
            scale: pixels of the picture for each of the screen.
            transparent: nothing behind the head, not even the background.
            part: which part of that picture is wanted; without, all of it.
        """
        part = part or Part(0.0, 0.0, width, height)
        with self._entered(), self._target(part.width, part.height) as target:
            gloo.set_viewport(0, 0, part.width, part.height)
            gloo.clear(color=(0.0, 0.0, 0.0, 0.0), depth=True)
            if self._mesh is not None and self._texture is not None:
                gloo.set_state(depth_test=True, blend=False, cull_face=False)
                extent, offset = part.within(width, height)
                matrix = orbit.clip_from_head(width / height)
                matrix[:2] = np.array(extent)[:, None] * matrix[:2] + np.outer(offset, matrix[3])
                for each in self._passes():
                    self._draw_pass(each, self._mesh, orbit, matrix.T, scale)
            head = _image(target.read("color"), QImage.Format.Format_RGBA8888_Premultiplied)
            if transparent:
                return head
            made = self._backdrop_of(width, height, part).copy()
        brush = QPainter(made)
        brush.drawImage(0, 0, head)
        brush.end()
        return made

    def close(self) -> None:
        """Let the OpenGL context go."""
        self._context.doneCurrent()
        if self._is_own:
            self._surface.destroy()

    # One pass over the mesh

    def _passes(self) -> tuple[Pass, ...]:
        passes = PASSES[self._look.mode]
        wants_heat = any("value" in each.attributes for each in passes)
        return WITHOUT_HEAT if wants_heat and self._heat is None else passes

    def _draw_pass(self, each: Pass, mesh: _Mesh, orbit: Orbit, matrix: FloatArray, scale: float) -> None:
        for name in each.attributes:
            self._fill(name, mesh)
        program = self._program(each, mesh)
        program["clip_from_head"] = matrix
        for name in each.uniforms:
            program[name] = UNIFORMS[name](self, orbit)
        if each.behind:
            gloo.set_state(polygon_offset_fill=True, polygon_offset=(1.0, 1.0))
        if not each.edges:
            program.draw("triangles", mesh.faces)
            if each.behind:
                gloo.set_state(polygon_offset_fill=False)
            return
        if mesh.edges is None:
            mesh.edges = gloo.IndexBuffer(_edges(mesh.topology))
        gloo.set_line_width(max(EDGE_WIDTH * scale, 1.0))
        program.draw("lines", mesh.edges)

    def _program(self, each: Pass, mesh: _Mesh) -> gloo.Program:
        if each not in self._programs:
            program = self._programs[each] = gloo.Program(each.vertex, each.fragment)
            program["position"] = mesh.positions
            for name in each.attributes:
                program[name] = self._attributes[name]
        return self._programs[each]

    def _fill(self, name: str, mesh: _Mesh) -> None:
        """Bring an attribute's buffer up to date."""
        source, make = ATTRIBUTES[name]
        of = source(self)
        if of is None or self._filled.get(name) is of:
            return
        data = np.ascontiguousarray(make(self, mesh).take(mesh.topology.split.vertex, axis=0))
        if name in self._attributes:
            self._attributes[name].set_data(data)
        else:
            self._attributes[name] = gloo.VertexBuffer(data)
        self._filled[name] = of

    def _make_normals(self, mesh: _Mesh) -> FloatArray:
        assert self._vertices is not None
        if mesh.normals is None:
            mesh.normals = VertexNormals(mesh.topology.faces, mesh.topology.vertex_count)
        return mesh.normals(self._vertices)

    def _make_values(self, mesh: _Mesh) -> FloatArray:
        assert self._heat is not None
        return np.asarray(self._heat.values / self._heat.top, dtype=np.float32)

    # What passes ask for

    def _background(self) -> tuple[Colour, Colour]:
        look = current()
        return BACKDROPS.get(self._look.background, (_rgb(look.canvas_top), _rgb(look.canvas_bottom)))

    def _backdrop_of(self, width: int, height: int, part: Part) -> QImage:
        """What is behind the head. The last few are kept: where the processor draws, it costs a third of the head."""
        inner, outer = self._background()
        wanted = (width, height, part, inner, outer)
        if wanted not in self._backdrops:
            while len(self._backdrops) >= KEPT_TARGETS:
                self._backdrops.pop(next(iter(self._backdrops)))
            with self._target(part.width, part.height) as target:
                gloo.set_state(depth_test=False, blend=False, cull_face=False)
                self._backdrop["inner"], self._backdrop["outer"] = inner, outer
                self._backdrop["extent"], self._backdrop["offset"] = part.within(width, height)
                self._backdrop.draw("triangle_strip")
                self._backdrops[wanted] = _image(target.read("color"), QImage.Format.Format_RGBX8888)
        return self._backdrops[wanted]

    def _to_light(self, orbit: Orbit) -> tuple[float, ...]:
        """The light goes with the viewer."""
        right, up = np.radians(self._look.light)
        x, y = orbit.axes
        away = np.sin(right) * np.cos(up) * x + np.sin(up) * y + np.cos(right) * np.cos(up) * orbit.backward
        return tuple(away.tolist())

    def _heat_scale(self) -> gloo.Texture2D:
        assert self._heat is not None
        if self._scale is None or self._scale_name != self._heat.colours:
            table = scale_colours(self._heat.colours)[None]
            self._scale = gloo.Texture2D(table, interpolation="linear", wrapping="clamp_to_edge")
            self._scale_name = self._heat.colours
        return self._scale

    @contextmanager
    def _entered(self) -> Iterator[None]:
        """In this painter's context, and nobody in another."""
        with _VISPY:
            if not self._context.makeCurrent(self._surface):
                raise RuntimeError("the OpenGL context is lost")
            set_current_canvas(self._canvas)
            yield

    def _target(self, width: int, height: int) -> gloo.FrameBuffer:
        """A frame buffer of that size; the last few sizes are kept (quick and fine pictures take turns)."""
        size = (width, height)
        if size not in self._targets:
            while len(self._targets) >= KEPT_TARGETS:
                self._targets.pop(next(iter(self._targets))).delete()
            colour = gloo.Texture2D((height, width, 4))
            self._targets[size] = gloo.FrameBuffer(colour, gloo.RenderBuffer((height, width)))
        return self._targets[size]


# What an attribute's buffer is made from, and how: [V, …] a vertex. Those that never change are not here.
ATTRIBUTES: dict[str, tuple[Callable[[HeadPainter], object], Callable[[HeadPainter, _Mesh], FloatArray]]] = {
    "texcoord": (lambda p: None, lambda p, mesh: mesh.topology.split.uv),
    "normal": (lambda p: p._vertices, HeadPainter._make_normals),
    "value": (lambda p: p._heat, HeadPainter._make_values),
}
UNIFORMS: dict[str, Callable[[HeadPainter, Orbit], object]] = {
    "skin": lambda p, orbit: p._texture,
    "scale": lambda p, orbit: p._heat_scale(),
    "clay": lambda p, orbit: CLAY,
    "fill": lambda p, orbit: _rgb(current().panel),
    "stroke": lambda p, orbit: _rgb(current().muted),
    "to_light": HeadPainter._to_light,
    "to_viewer": lambda p, orbit: tuple(orbit.backward.tolist()),
}


def _image(pixels: ByteArray, form: QImage.Format) -> QImage:
    """[H, W, 4] bytes as a picture of its own."""
    height, width, _ = pixels.shape
    data = np.ascontiguousarray(pixels)
    return QImage(data.data, width, height, 4 * width, form).copy()


def _edges(topology: Topology) -> FloatArray:
    """Each edge once, as pairs of ids [E, 2] into the mesh that is split along seams."""
    first = np.unique(topology.split.vertex, return_index=True)[1]  # any of a vertex's doubles is at its place
    place = np.zeros(topology.vertex_count, np.uint32)
    place[topology.split.vertex[first]] = first
    pairs = np.sort(topology.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    return np.ascontiguousarray(place[unique_pairs(pairs)[0]])


def _rgb(colour: str) -> Colour:
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))  # type: ignore[return-value]
