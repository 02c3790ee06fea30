"""How a surface is drawn, one row a mode: OpenGL programs, and what they need to know of each vertex."""

from __future__ import annotations

from dataclasses import dataclass

BACKDROP_VERTEX = """
attribute vec2 corner;
uniform vec2 extent;
uniform vec2 offset;
varying vec2 v_corner;
void main() { v_corner = (corner - offset) / extent; gl_Position = vec4(corner, 0.999, 1.0); }
"""
BACKDROP = """
uniform vec3 inner;
uniform vec3 outer;
varying vec2 v_corner;
void main() {
    float d = length(v_corner * vec2(0.8, 0.9) - vec2(0.0, 0.08));
    gl_FragColor = vec4(mix(inner, outer, smoothstep(0.05, 1.15, d)), 1.0);
}
"""

SKIN_VERTEX = """
uniform mat4 clip_from_head;
attribute vec3 position;
attribute vec2 texcoord;
varying vec2 v_texcoord;
void main() {
    v_texcoord = texcoord;
    gl_Position = clip_from_head * vec4(position, 1.0);
}
"""
SKIN = """
uniform sampler2D skin;
varying vec2 v_texcoord;
void main() { gl_FragColor = vec4(texture2D(skin, v_texcoord).rgb, 1.0); }
"""

NORMAL_VERTEX = """
uniform mat4 clip_from_head;
attribute vec3 position;
attribute vec3 normal;
varying vec3 v_normal;
void main() {
    v_normal = normal;
    gl_Position = clip_from_head * vec4(position, 1.0);
}
"""
# The back of a surface (seen through an open mouth) is lit and coloured as its own side.
FACING = """
varying vec3 v_normal;
vec3 facing_normal() { return normalize(gl_FrontFacing ? v_normal : -v_normal); }
"""
NORMALS = FACING + "void main() { gl_FragColor = vec4(0.5 + 0.5 * facing_normal(), 1.0); }"
GEOMETRY = (
    FACING
    + """
uniform vec3 clay;
uniform vec3 to_light;
uniform vec3 to_viewer;
void main() {
    vec3 n = facing_normal();
    float diffuse = max(dot(n, to_light), 0.0);
    float sky = 0.5 + 0.5 * n.y;
    float gloss = pow(max(dot(n, normalize(to_light + to_viewer)), 0.0), 28.0);
    gl_FragColor = vec4(clay * (0.20 + 0.16 * sky + 0.72 * diffuse) + vec3(0.10 * gloss), 1.0);
}
"""
)

FLAT_VERTEX = """
uniform mat4 clip_from_head;
attribute vec3 position;
void main() { gl_Position = clip_from_head * vec4(position, 1.0); }
"""
FILL = """
uniform vec3 fill;
void main() { gl_FragColor = vec4(fill, 1.0); }
"""
STROKE = """
uniform vec3 stroke;
void main() { gl_FragColor = vec4(stroke, 1.0); }
"""

HEAT_VERTEX = """
uniform mat4 clip_from_head;
attribute vec3 position;
attribute vec3 normal;
attribute float value;
varying vec3 v_normal;
varying float v_value;
void main() {
    v_normal = normal;
    v_value = value;
    gl_Position = clip_from_head * vec4(position, 1.0);
}
"""
# A little shading, to see where on the face a colour is; not so much that it reads as another one.
HEAT = (
    FACING
    + """
uniform sampler2D scale;
uniform vec3 to_viewer;
varying float v_value;
void main() {
    float at = (0.5 + 255.0 * clamp(v_value, 0.0, 1.0)) / 256.0;
    float shade = 0.5 + 0.5 * max(dot(facing_normal(), to_viewer), 0.0);
    gl_FragColor = vec4(shade * texture2D(scale, vec2(at, 0.5)).rgb, 1.0);
}
"""
)


@dataclass(frozen=True)
class Pass:
    """One way over the mesh."""

    vertex: str
    fragment: str
    attributes: tuple[str, ...] = ()  # beside the position: texcoord, normal, value
    uniforms: tuple[str, ...] = ()  # beside clip_from_head
    edges: bool = False  # the mesh's edges instead of its triangles
    behind: bool = False  # pushed back a little, so that edges lie over it


_LIT = Pass(NORMAL_VERTEX, GEOMETRY, ("normal",), ("clay", "to_light", "to_viewer"))
_HEAT = Pass(HEAT_VERTEX, HEAT, ("normal", "value"), ("scale", "to_viewer"))

# What a mode draws, one pass over the other.
PASSES: dict[str, tuple[Pass, ...]] = {
    "textured": (Pass(SKIN_VERTEX, SKIN, ("texcoord",), ("skin",)),),
    "geometry": (_LIT,),
    "wireframe": (
        Pass(FLAT_VERTEX, FILL, uniforms=("fill",), behind=True),
        Pass(FLAT_VERTEX, STROKE, uniforms=("stroke",), edges=True),
    ),
    "normals": (Pass(NORMAL_VERTEX, NORMALS, ("normal",)),),
    "error": (_HEAT,),
    "deviation": (_HEAT,),
}
WITHOUT_HEAT = PASSES["geometry"]  # what is drawn for want of values
