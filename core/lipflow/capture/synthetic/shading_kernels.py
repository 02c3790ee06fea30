"""Compiled loops of the shading: normals, depth maps for occlusion, diffuse and view-dependent light.

Every kernel runs on one core and holds no lock, so that frames can be shaded in several threads at once; sums are in a
fixed order, so that the bytes of a capture do not depend on the number of threads.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def vertex_normals(vertices: Any, faces: Any, out: Any) -> None:
    """Area-weighted unit normals [V, 3] of ``vertices`` [V, 3]."""
    out[:] = 0.0
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for k in range(3):
            i = faces[f, k]
            out[i, 0] += nx
            out[i, 1] += ny
            out[i, 2] += nz
    for i in range(out.shape[0]):
        length = np.sqrt(out[i, 0] ** 2 + out[i, 1] ** 2 + out[i, 2] ** 2) + 1e-12
        out[i, 0] /= length
        out[i, 1] /= length
        out[i, 2] /= length


@numba.njit(cache=True, nogil=True)
def depth_map(points: Any, faces: Any, out: Any) -> None:
    """Largest height over each cell of an orthographic map [S, S]: ``points`` [V, 3] = column, row, height."""
    size = out.shape[0]
    out[:] = -1e9
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        x0, y0, x1, y1, x2, y2 = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-9:
            continue
        left, right = max(0, int(np.ceil(min(x0, x1, x2)))), min(size - 1, int(np.floor(max(x0, x1, x2))))
        top, bottom = max(0, int(np.ceil(min(y0, y1, y2)))), min(size - 1, int(np.floor(max(y0, y1, y2))))
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                u = ((x1 - column) * (y2 - row) - (x2 - column) * (y1 - row)) / area
                v = ((x2 - column) * (y0 - row) - (x0 - column) * (y2 - row)) / area
                w = 1.0 - u - v
                if u >= 0.0 and v >= 0.0 and w >= 0.0:
                    height = u * points[a, 2] + v * points[b, 2] + w * points[c, 2]
                    out[row, column] = max(out[row, column], height)


@numba.njit(cache=True, nogil=True, inline="always")
def _lit(map_: Any, x: float, y: float, height: float, bias: float, softness: float) -> float:
    """Share of light that reaches a point: four cells around it, each a soft comparison of heights."""
    size = map_.shape[0]
    column, row = int(np.floor(x)), int(np.floor(y))
    if column < 0 or row < 0 or column >= size - 1 or row >= size - 1:
        return 1.0
    a, b = x - column, y - row
    total = 0.0
    for j in range(2):
        for i in range(2):
            above = map_[row + j, column + i] - height - bias
            t = min(max(1.0 - above / softness, 0.0), 1.0)
            total += t * (a if i else 1.0 - a) * (b if j else 1.0 - b)
    return total


@numba.njit(cache=True, nogil=True)
def occlusion(
    vertices: Any, normals: Any, faces: Any, axes: Any, centre: Any, radius: float, size: int, open_: Any, bent: Any
) -> None:
    """How open the sky is at each vertex [V], and the mean direction of what is open [V, 3].

    For each direction, a depth map of the head along it: ``axes`` [D, 3, 3], rows = right, up, direction.
    """
    scale = 0.5 * size / radius
    map_ = np.empty((size, size), np.float32)
    points = np.empty((vertices.shape[0], 3), np.float32)
    weight = np.zeros(vertices.shape[0], np.float32)
    open_[:] = 0.0
    bent[:] = 0.0
    for d in range(axes.shape[0]):
        for i in range(vertices.shape[0]):
            x, y, z = vertices[i, 0] - centre[0], vertices[i, 1] - centre[1], vertices[i, 2] - centre[2]
            points[i, 0] = 0.5 * size + scale * (axes[d, 0, 0] * x + axes[d, 0, 1] * y + axes[d, 0, 2] * z)
            points[i, 1] = 0.5 * size + scale * (axes[d, 1, 0] * x + axes[d, 1, 1] * y + axes[d, 1, 2] * z)
            points[i, 2] = axes[d, 2, 0] * x + axes[d, 2, 1] * y + axes[d, 2, 2] * z
        depth_map(points, faces, map_)
        for i in range(vertices.shape[0]):
            n0, n1, n2 = normals[i, 0], normals[i, 1], normals[i, 2]
            cosine = n0 * axes[d, 2, 0] + n1 * axes[d, 2, 1] + n2 * axes[d, 2, 2]
            if cosine <= 0.0:
                continue
            weight[i] += cosine
            lift = 1.5
            x = points[i, 0] + lift * scale * (axes[d, 0, 0] * n0 + axes[d, 0, 1] * n1 + axes[d, 0, 2] * n2)
            y = points[i, 1] + lift * scale * (axes[d, 1, 0] * n0 + axes[d, 1, 1] * n1 + axes[d, 1, 2] * n2)
            lit = cosine * _lit(map_, x, y, points[i, 2] + lift * cosine, 1.0, 3.0)
            open_[i] += lit
            for k in range(3):
                bent[i, k] += lit * axes[d, 2, k]
    for i in range(vertices.shape[0]):
        open_[i] /= max(weight[i], 1e-6)
        length = np.sqrt(bent[i, 0] ** 2 + bent[i, 1] ** 2 + bent[i, 2] ** 2)
        for k in range(3):
            bent[i, k] = bent[i, k] / length if length > 1e-6 else normals[i, k]


@numba.njit(cache=True, nogil=True)
def place_texels(
    vertices: Any, normals: Any, open_: Any, bent: Any, faces: Any, uv: Any, uv_faces: Any,
    triangle: Any, barycentric: Any, slope: Any, position: Any, normal: Any, sky_normal: Any, sky_open: Any,
) -> None:  # fmt: skip
    """Position, normal bent by the height map, and sky of the N covered texels.

    ``slope`` [N, 2] = derivative of the height (mm) by u and v. The bump is Mikkelsen's surface gradient (2010) with
    the posed triangle's own derivatives, so that relief follows the skin as it stretches.
    """
    for n in range(triangle.shape[0]):
        f = triangle[n]
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        wa, wb, wc = barycentric[n, 0], barycentric[n, 1], barycentric[n, 2]
        nx = wa * normals[a, 0] + wb * normals[b, 0] + wc * normals[c, 0]
        ny = wa * normals[a, 1] + wb * normals[b, 1] + wc * normals[c, 1]
        nz = wa * normals[a, 2] + wb * normals[b, 2] + wc * normals[c, 2]
        length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-12
        nx, ny, nz = nx / length, ny / length, nz / length
        for k in range(3):
            position[n, k] = wa * vertices[a, k] + wb * vertices[b, k] + wc * vertices[c, k]
        sky_open[n] = wa * open_[a] + wb * open_[b] + wc * open_[c]

        u0, v0 = uv[uv_faces[f, 0], 0], uv[uv_faces[f, 0], 1]
        du1, dv1 = uv[uv_faces[f, 1], 0] - u0, uv[uv_faces[f, 1], 1] - v0
        du2, dv2 = uv[uv_faces[f, 2], 0] - u0, uv[uv_faces[f, 2], 1] - v0
        area = du1 * dv2 - du2 * dv1
        mx, my, mz = nx, ny, nz
        if abs(area) > 1e-12:
            e1x, e1y, e1z = (
                vertices[b, 0] - vertices[a, 0],
                vertices[b, 1] - vertices[a, 1],
                vertices[b, 2] - vertices[a, 2],
            )
            e2x, e2y, e2z = (
                vertices[c, 0] - vertices[a, 0],
                vertices[c, 1] - vertices[a, 1],
                vertices[c, 2] - vertices[a, 2],
            )
            pux, puy, puz = (
                (e1x * dv2 - e2x * dv1) / area,
                (e1y * dv2 - e2y * dv1) / area,
                (e1z * dv2 - e2z * dv1) / area,
            )
            pvx, pvy, pvz = (
                (e2x * du1 - e1x * du2) / area,
                (e2y * du1 - e1y * du2) / area,
                (e2z * du1 - e1z * du2) / area,
            )
            # n · (Pu × Pv), and the gradient h_u (Pv × n) + h_v (n × Pu) over it.
            det = nx * (puy * pvz - puz * pvy) + ny * (puz * pvx - pux * pvz) + nz * (pux * pvy - puy * pvx)
            hu, hv = slope[n, 0], slope[n, 1]
            gx = hu * (pvy * nz - pvz * ny) + hv * (ny * puz - nz * puy)
            gy = hu * (pvz * nx - pvx * nz) + hv * (nz * pux - nx * puz)
            gz = hu * (pvx * ny - pvy * nx) + hv * (nx * puy - ny * pux)
            if abs(det) > 1e-3:
                gx, gy, gz = gx / det, gy / det, gz / det
                steep = np.sqrt(gx * gx + gy * gy + gz * gz)
                limit = 1.0 / max(1.0, steep / 0.9)
                mx, my, mz = nx - limit * gx, ny - limit * gy, nz - limit * gz
                length = np.sqrt(mx * mx + my * my + mz * mz) + 1e-12
                mx, my, mz = mx / length, my / length, mz / length
        normal[n, 0], normal[n, 1], normal[n, 2] = mx, my, mz
        sx = wa * bent[a, 0] + wb * bent[b, 0] + wc * bent[c, 0] + mx
        sy = wa * bent[a, 1] + wb * bent[b, 1] + wc * bent[c, 1] + my
        sz = wa * bent[a, 2] + wb * bent[b, 2] + wc * bent[c, 2] + mz
        length = np.sqrt(sx * sx + sy * sy + sz * sz) + 1e-12
        sky_normal[n, 0], sky_normal[n, 1], sky_normal[n, 2] = sx / length, sy / length, sz / length


@numba.njit(cache=True, nogil=True)
def shadows(
    position: Any, normal: Any, reach: Any, vertices: Any, faces: Any, axes: Any, centre: Any, radius: float,
    size: int, bias: float, softness: float, out: Any,
) -> None:  # fmt: skip
    """Share of each light [L] that reaches each texel, [N, L]: depth maps, softened over taps around each texel.

    ``reach`` [N] mm is half the penumbra. The taps lie on the texel's tangent plane, so that wide ones do not shade the
    surface by itself.
    """
    scale = 0.5 * size / radius
    map_ = np.empty((size, size), np.float32)
    points = np.empty((vertices.shape[0], 3), np.float32)
    across = np.cos(1.0471975512 * np.arange(6))
    along = np.sin(1.0471975512 * np.arange(6))
    for light in range(axes.shape[0]):
        axis = axes[light]
        for i in range(vertices.shape[0]):
            x, y, z = vertices[i, 0] - centre[0], vertices[i, 1] - centre[1], vertices[i, 2] - centre[2]
            points[i, 0] = 0.5 * size + scale * (axis[0, 0] * x + axis[0, 1] * y + axis[0, 2] * z)
            points[i, 1] = 0.5 * size + scale * (axis[1, 0] * x + axis[1, 1] * y + axis[1, 2] * z)
            points[i, 2] = axis[2, 0] * x + axis[2, 1] * y + axis[2, 2] * z
        depth_map(points, faces, map_)
        for n in range(position.shape[0]):
            nz = axis[2, 0] * normal[n, 0] + axis[2, 1] * normal[n, 1] + axis[2, 2] * normal[n, 2]
            if nz < -0.35:  # turned away further than light wraps
                out[n, light] = 0.0
                continue
            nx = axis[0, 0] * normal[n, 0] + axis[0, 1] * normal[n, 1] + axis[0, 2] * normal[n, 2]
            ny = axis[1, 0] * normal[n, 0] + axis[1, 1] * normal[n, 1] + axis[1, 2] * normal[n, 2]
            lift = 0.8
            x = position[n, 0] + lift * normal[n, 0] - centre[0]
            y = position[n, 1] + lift * normal[n, 1] - centre[1]
            z = position[n, 2] + lift * normal[n, 2] - centre[2]
            height = axis[2, 0] * x + axis[2, 1] * y + axis[2, 2] * z
            column = 0.5 * size + scale * (axis[0, 0] * x + axis[0, 1] * y + axis[0, 2] * z)
            row = 0.5 * size + scale * (axis[1, 0] * x + axis[1, 1] * y + axis[1, 2] * z)
            steep = -1.0 / max(nz, 0.35) if nz > 0.0 else 0.0
            lit = 2.0 * _lit(map_, column, row, height, bias, softness)
            for tap in range(6):
                away = reach[n] if tap % 2 == 0 else 0.6 * reach[n]
                dx, dy = away * across[tap], away * along[tap]
                plane = height + steep * (nx * dx + ny * dy)
                lit += _lit(map_, column + scale * dx, row + scale * dy, plane, bias, softness)
            out[n, light] = lit / 8.0


@numba.njit(cache=True, nogil=True)
def lid_shade(position: Any, texels: Any, margin: Any, sky_open: Any, lit: Any) -> None:
    """Darken an eyeball's ``texels`` near the lids' ``margin`` [M, 3], which is finer than the depth maps see.

    The upper lid with its lashes shades further than the lower one, which mostly shades the corner of the fold.
    """
    for i in range(texels.shape[0]):
        n = texels[i]
        above, below = 1e9, 1e9
        for m in range(margin.shape[0]):
            dx, dy, dz = margin[m, 0] - position[n, 0], margin[m, 1] - position[n, 1], margin[m, 2] - position[n, 2]
            d = dx * dx + dy * dy + dz * dz
            if dy > 0.0:
                above = min(above, d)
            else:
                below = min(below, d)
        shade = (1.0 - 0.70 * np.exp(-above / 11.0)) * (1.0 - 0.45 * np.exp(-below / 2.2))
        sky_open[n] *= shade
        for j in range(lit.shape[1]):
            lit[n, j] *= shade


@numba.njit(cache=True, nogil=True)
def diffuse(
    albedo: Any, normal: Any, sky_normal: Any, sky_open: Any, softness: Any, lit: Any,
    lights: Any, colours: Any, sky: Any, wrap: Any, out: Any,
) -> None:  # fmt: skip
    """Light that leaves each texel alike to all sides, [N, 3].

    ``sky`` [3, 3]: rows = constant, along y, along z of the sky's radiance by colour. Light wraps round the terminator
    by ``wrap`` [3] a channel times the texel's ``softness``, a cheap stand-in for scattering under the skin. Occlusion
    brightens with the albedo as light bounces within a hollow (Jimenez et al. 2016, cubic fit).
    """
    for n in range(albedo.shape[0]):
        ao = max(sky_open[n], 0.09)
        for k in range(3):
            a = albedo[n, k]
            bounced = ((ao * (2.0404 * a - 0.3324) + (-4.7951 * a + 0.6417)) * ao + (2.7552 * a + 0.6903)) * ao
            light = max(ao, bounced) * (sky[0, k] + sky[1, k] * sky_normal[n, 1] + sky[2, k] * sky_normal[n, 2])
            w = wrap[k] * softness[n]
            for j in range(lights.shape[0]):
                cosine = normal[n, 0] * lights[j, 0] + normal[n, 1] * lights[j, 1] + normal[n, 2] * lights[j, 2]
                bent = max(cosine + w, 0.0) / (1.0 + w) ** 1.5
                shade = lit[n, j]
                # The penumbra is redder than the light: red travels furthest under the skin.
                shade = shade + softness[n] * wrap[k] * 1.1 * shade * (1.0 - shade)
                light += colours[j, k] * bent * shade
            out[n, k] = a * max(light, 0.0)


@numba.njit(cache=True, nogil=True)
def specular(
    eye: Any, position: Any, normal: Any, sky_open: Any, lit: Any, strength: Any, roughness: Any, mirror: Any,
    lights: Any, colours: Any, sky: Any, exposure: float, base: Any, out: Any,
) -> None:  # fmt: skip
    """What a camera at ``eye`` [3] sees of each texel, [N, 3] within [0, 1]: ``base`` and the reflections.

    Skin: two GGX lobes (0.65 broad, 0.35 sharp) with Smith's joint shadowing. ``mirror`` texels (the wet eye) reflect
    the lights as soft boxes and the sky around them. A soft shoulder keeps highlights from clipping.
    """
    for n in range(position.shape[0]):
        vx, vy, vz = eye[0] - position[n, 0], eye[1] - position[n, 1], eye[2] - position[n, 2]
        length = np.sqrt(vx * vx + vy * vy + vz * vz) + 1e-12
        vx, vy, vz = vx / length, vy / length, vz / length
        nx, ny, nz = normal[n, 0], normal[n, 1], normal[n, 2]
        facing = nx * vx + ny * vy + nz * vz
        nv = max(facing, 0.04)
        rough = roughness[n]
        power = strength[n]
        rx, ry, rz = 2 * facing * nx - vx, 2 * facing * ny - vy, 2 * facing * nz - vz
        grazing = 0.028 + 0.972 * (1.0 - nv) ** 5 * (1.0 - rough)
        ao = sky_open[n]
        glow = power * grazing * ao * np.sqrt(ao) * 0.55
        red = glow * max(sky[0, 0] + sky[1, 0] * ry + sky[2, 0] * rz, 0.0)
        green = glow * max(sky[0, 1] + sky[1, 1] * ry + sky[2, 1] * rz, 0.0)
        blue = glow * max(sky[0, 2] + sky[1, 2] * ry + sky[2, 2] * rz, 0.0)
        for j in range(lights.shape[0]):
            lx, ly, lz = lights[j, 0], lights[j, 1], lights[j, 2]
            if mirror[n] > 0.0:
                along = rx * lx + ry * ly + rz * lz
                t = min(max((along - 0.95) / 0.045, 0.0), 1.0)
                box = 2.6 * mirror[n] * t * t * (3.0 - 2.0 * t) * lit[n, j]
                red += box * colours[j, 0]
                green += box * colours[j, 1]
                blue += box * colours[j, 2]
            nl = nx * lx + ny * ly + nz * lz
            if nl <= 0.0 or lit[n, j] <= 0.0:
                continue
            hx, hy, hz = lx + vx, ly + vy, lz + vz
            length = np.sqrt(hx * hx + hy * hy + hz * hz) + 1e-12
            nh = max((nx * hx + ny * hy + nz * hz) / length, 0.0)
            vh = max((vx * hx + vy * hy + vz * hz) / length, 0.0)
            lobes = 0.0
            for lobe in range(2):
                alpha = rough if lobe == 0 else 0.55 * rough
                a2 = alpha * alpha * alpha * alpha
                d = nh * nh * (a2 - 1.0) + 1.0
                k = (alpha + 1.0) ** 2 / 8.0
                g = 0.25 / ((nl * (1.0 - k) + k) * (nv * (1.0 - k) + k))
                lobes += (0.65 if lobe == 0 else 0.35) * a2 / (np.pi * d * d) * g
            shine = power * lobes * (0.028 + 0.972 * (1.0 - vh) ** 5) * nl * lit[n, j] * np.pi
            red += shine * colours[j, 0]
            green += shine * colours[j, 1]
            blue += shine * colours[j, 2]
        out[n, 0] = _shoulder(exposure * (base[n, 0] + red))
        out[n, 1] = _shoulder(exposure * (base[n, 1] + green))
        out[n, 2] = _shoulder(exposure * (base[n, 2] + blue))


@numba.njit(cache=True, nogil=True, inline="always")
def _shoulder(x: float) -> float:
    """Linear up to 0.7, then bending towards 1."""
    if x < 0.7:
        return x
    return 1.0 - 0.3 * np.exp(-(x - 0.7) / 0.3)
