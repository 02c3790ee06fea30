"""The backward pass on the CPU: from the image's gradient to vertices and texture.

Triangles are taken in groups by their place in the TEXTURE, so that one shared gradient texture can be filled in
parallel: a group writes only to its own band of texture rows and the next one. Even groups run at once, then odd
ones, then the few triangles that span more. Within a group the order is fixed: results do not depend on the number
of threads or on chance.

Arrays are described in ``cpu_kernels``; corner_grads f64 [B, F, 3, 3] holds the gradient of each triangle's corners
in homogeneous pixels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import prange

from lipflow.rendering.cpu_kernels import SETUP_CHUNKS, texel
from lipflow.rendering.threads import helper, kernel

MOST_GROUPS = 32


def group_by_texture_rows(corner_uv: npt.NDArray[np.float32], T: int) -> tuple[npt.NDArray[np.int32], ...]:
    """Sort triangles into groups of texture rows.

    Returns:
        order [F]: triangles, group by group; starts [groups + 2]: each group's first place in ``order``, the last
        group being the triangles that span more than a band of rows and its neighbour.
    """
    rows = np.clip(corner_uv[:, :, 1].astype(np.float64) * T - 0.5, 0, T - 1)
    first, last = np.floor(rows.min(1)).astype(np.int64), np.floor(rows.max(1)).astype(np.int64) + 1
    # A row more on both sides: the lookup's float32 rounding may step over a whole number.
    first, last = np.maximum(first - 1, 0), np.minimum(last + 1, T - 1)
    typical_span = int(np.quantile(last - first, 0.98)) + 1 if len(rows) else T
    groups = int(np.clip(T // typical_span, 1, MOST_GROUPS))
    band = -(-T // groups)
    group = np.where(last < (first // band + 2) * band, first // band, groups)
    order = np.argsort(group, kind="stable").astype(np.int32)
    starts = np.searchsorted(group[order], np.arange(groups + 2)).astype(np.int32)
    return order, starts


@helper
def _triangle(t, index, box, plane, uv, texture, grad_rgb, grad_depth, with_depth, grad_texture, with_texture, out):  # type: ignore[no-untyped-def]
    """Gradients of one triangle's pixels: adds to ``grad_texture``, writes its planes' gradient to out f64 [9]."""
    T, channels, one = texture.shape[0], texture.shape[2], np.float32(1.0)
    sx, sy, s0, ux, uy, u0 = plane[0], plane[1], plane[2], plane[3], plane[4], plane[5]
    vx, vy, v0, x0, y0 = plane[6], plane[7], plane[8], plane[9], plane[10]
    u_first, v_first = uv[0, 0], uv[0, 1]
    gsx = gsy = gs0 = gux = guy = gu0 = gvx = gvy = gv0 = 0.0
    for y in range(box[2], box[3] + 1):
        dy = np.float32(y) - y0
        s_row, u_row, v_row = sy * dy + s0, uy * dy + u0, vy * dy + v0
        for x in range(box[0], box[1] + 1):
            if index[y, x] != t:
                continue
            dx = np.float32(x) - x0
            z = one / (sx * dx + s_row)
            u, v = (ux * dx + u_row) * z, (vx * dx + v_row) * z  # from the first corner's
            i, j, i1, j1, fu, fv, inside_u, inside_v = texel(u_first + u, v_first + v, T)
            w00, w01, w10, w11 = (one - fu) * (one - fv), fu * (one - fv), (one - fu) * fv, fu * fv
            gu = gv = np.float32(0.0)
            for ch in range(channels):
                g = grad_rgb[y, x, ch]
                t00, t01 = texture[i, j, ch], texture[i, j1, ch]
                t10, t11 = texture[i1, j, ch], texture[i1, j1, ch]
                gu += g * ((t01 - t00) * (one - fv) + (t11 - t10) * fv)
                gv += g * ((t10 - t00) * (one - fu) + (t11 - t01) * fu)
                if with_texture:
                    grad_texture[i, j, ch] += g * w00
                    grad_texture[i, j1, ch] += g * w01
                    grad_texture[i1, j, ch] += g * w10
                    grad_texture[i1, j1, ch] += g * w11
            gu *= inside_u * np.float32(T) * z
            gv *= inside_v * np.float32(T) * z
            gs = -(gu * u + gv * v)
            if with_depth:
                gs -= grad_depth[y, x] * z * z
            gsx += gs * dx
            gsy += gs * dy
            gs0 += gs
            gux += gu * dx
            guy += gu * dy
            gu0 += gu
            gvx += gv * dx
            gvy += gv * dy
            gv0 += gv
    out[0], out[1], out[2], out[3], out[4], out[5] = gsx, gsy, gs0, gux, guy, gu0
    out[6], out[7], out[8] = gvx, gvy, gv0


@helper
def _to_corners(edge, plane, uv, grad, corner_grad):  # type: ignore[no-untyped-def]
    """From the gradient of a triangle's planes to that of its corners.

    The weights are b = N p with N = M⁻¹ (rows N_i, corners the columns of M), so with G the gradient of N
    that of corner i is ``-sum_k N_k (G_k · N_i)``.
    """
    x0, y0, inverse = np.float64(plane[9]), np.float64(plane[10]), edge[9]
    for i in range(3):
        corner_grad[i, 0] = corner_grad[i, 1] = corner_grad[i, 2] = 0.0
    for k in range(3):
        du = np.float64(uv[k, 0]) - np.float64(uv[0, 0])
        dv = np.float64(uv[k, 1]) - np.float64(uv[0, 1])
        gx = grad[0] + du * grad[3] + dv * grad[6]
        gy = grad[1] + du * grad[4] + dv * grad[7]
        g0 = grad[2] + du * grad[5] + dv * grad[8]
        for i in range(3):
            at_origin = edge[3 * i] * x0 + edge[3 * i + 1] * y0 + edge[3 * i + 2]
            weight = -(gx * edge[3 * i] + gy * edge[3 * i + 1] + g0 * at_origin) * inverse * inverse
            corner_grad[i, 0] += weight * edge[3 * k]
            corner_grad[i, 1] += weight * edge[3 * k + 1]
            corner_grad[i, 2] += weight * edge[3 * k + 2]


@kernel
def backward_groups(  # type: ignore[no-untyped-def]
    groups,
    order,
    starts,
    index,
    seen,
    edges,
    planes,
    boxes,
    corner_uv,
    textures,
    grad_rgb,
    grad_depth,
    with_depth,
    with_texture,
    workers,
    grad_textures,
    corner_grads,
):
    """Gradients of the pixels of the named groups of triangles.

    groups i32 [n]; grad_rgb f32 [B, H, W, C]; grad_depth f32 [B, H, W] if ``with_depth``, grad_textures f32 [B or 1,
    T, T, C] if ``with_texture``; else any array of that many dimensions.
    """
    views, own_texture = index.shape[0], textures.shape[0] > 1
    # Views that share a texture belong to one task; views with their own are tasks of their own.
    tasks_per_group = views if own_texture else 1
    for worker in prange(workers):
        planes_grad = np.empty(9, np.float64)
        for task in range(worker, len(groups) * tasks_per_group, workers):
            group, first_view = groups[task // tasks_per_group], task % tasks_per_group
            for n in range(first_view, views, tasks_per_group):
                m = n if own_texture else 0
                texture, target = textures[m], grad_textures[m if with_texture else 0]
                depth = grad_depth[n if with_depth else 0]
                for place in range(starts[group], starts[group + 1]):
                    t = order[place]
                    if seen[n, t] == 0:
                        continue
                    uv, box, plane = corner_uv[t], boxes[n, t], planes[n, t]
                    _triangle(
                        t,
                        index[n],
                        box,
                        plane,
                        uv,
                        texture,
                        grad_rgb[n],
                        depth,
                        with_depth,
                        target,
                        with_texture,
                        planes_grad,
                    )
                    _to_corners(edges[n, t], plane, uv, planes_grad, corner_grads[n, t])


@kernel
def gather_corners(seen, corner_grads, incident, incident_starts, grad_points):  # type: ignore[no-untyped-def]
    """Add up the corners of each vertex: grad_points f64 [B, V, 3].

    incident i32 [3 F] lists each vertex's corners as 3 · triangle + corner, from incident_starts i32 [V + 1].
    """
    views, count = grad_points.shape[0], grad_points.shape[1]
    for task in prange(views * SETUP_CHUNKS):
        n, chunk = task // SETUP_CHUNKS, task % SETUP_CHUNKS
        for i in range(count * chunk // SETUP_CHUNKS, count * (chunk + 1) // SETUP_CHUNKS):
            x = y = z = 0.0
            for place in range(incident_starts[i], incident_starts[i + 1]):
                t, corner = incident[place] // 3, incident[place] % 3
                if seen[n, t]:
                    x += corner_grads[n, t, corner, 0]
                    y += corner_grads[n, t, corner, 1]
                    z += corner_grads[n, t, corner, 2]
            grad_points[n, i, 0], grad_points[n, i, 1], grad_points[n, i, 2] = x, y, z
