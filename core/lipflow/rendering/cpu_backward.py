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
from lipflow.rendering.threads import fused_helper, helper, kernel

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


@fused_helper
def _dot(g, texture, i):  # type: ignore[no-untyped-def]
    """Of three channels' gradients with a texel."""
    return g[0] * texture[i] + g[1] * texture[i + np.uintp(1)] + g[2] * texture[i + np.uintp(2)]


@fused_helper
def _add(g, weight, grad_texture, i):  # type: ignore[no-untyped-def]
    """Three channels' gradients to a texel."""
    grad_texture[i] += g[0] * weight
    grad_texture[i + np.uintp(1)] += g[1] * weight
    grad_texture[i + np.uintp(2)] += g[2] * weight


@fused_helper
def _lookup_backward(at, g, places, weights, dots, texture, grad_texture, with_texture):  # type: ignore[no-untyped-def]
    """Add one channel's gradient g to ``grad_texture``, and its product with the four texels to ``dots``."""
    i00, i01, i10, i11 = places
    if with_texture:
        grad_texture[i00 + at] += g * weights[0]
        grad_texture[i01 + at] += g * weights[1]
        grad_texture[i10 + at] += g * weights[2]
        grad_texture[i11 + at] += g * weights[3]
    upper = dots[0] + g * texture[i00 + at], dots[1] + g * texture[i01 + at]
    return upper[0], upper[1], dots[2] + g * texture[i10 + at], dots[3] + g * texture[i11 + at]


@fused_helper
def _triangle(  # type: ignore[no-untyped-def]
    n,
    t,
    index,
    boxes,
    planes,
    corner_uv,
    T,
    channels,
    texture,
    grad_rgb,
    grad_depth,
    with_depth,
    grad_texture,
    with_texture,
):
    """Gradients of one triangle's pixels: adds to ``grad_texture``, returns those of the triangle's planes."""
    zero, one = np.float32(0.0), np.float32(1.0)
    sx, sy, s0 = planes[n, t, 0], planes[n, t, 1], planes[n, t, 2]
    ux, uy, u0 = planes[n, t, 3], planes[n, t, 4], planes[n, t, 5]
    vx, vy, v0 = planes[n, t, 6], planes[n, t, 7], planes[n, t, 8]
    x0, y0 = planes[n, t, 9], planes[n, t, 10]
    u_first, v_first = np.float64(corner_uv[t, 0, 0]), np.float64(corner_uv[t, 0, 1])
    gsx = gsy = gs0 = gux = guy = gu0 = gvx = gvy = gv0 = 0.0
    for y in range(boxes[n, t, 2], boxes[n, t, 3] + 1):
        dy, row_gs, row_gu, row_gv = y - y0, 0.0, 0.0, 0.0
        s_row, u_row, v_row = sy * dy + s0, uy * dy + u0, vy * dy + v0
        row = ((n * index.shape[1]) + y) * index.shape[2]
        for x in range(boxes[n, t, 0], boxes[n, t, 1] + 1):
            if index[n, y, x] != t:
                continue
            dx = x - x0
            z = 1.0 / (sx * dx + s_row)
            u, v = (ux * dx + u_row) * z, (vx * dx + v_row) * z  # from the first corner's
            i00, i01, i10, i11, fu, fv, inside_u, inside_v = texel(u_first + u, v_first + v, T, channels)
            places, pixel = (i00, i01, i10, i11), np.uintp((row + x) * channels)
            weights = (one - fu) * (one - fv), fu * (one - fv), (one - fu) * fv, fu * fv
            dots = (zero, zero, zero, zero)
            if channels == 3:
                g = grad_rgb[pixel], grad_rgb[pixel + np.uintp(1)], grad_rgb[pixel + np.uintp(2)]
                # All loads before the first store, which for all that the compiler knows may change what is loaded.
                dots = _dot(g, texture, i00), _dot(g, texture, i01), _dot(g, texture, i10), _dot(g, texture, i11)
                if with_texture:
                    _add(g, weights[0], grad_texture, i00)
                    _add(g, weights[1], grad_texture, i01)
                    _add(g, weights[2], grad_texture, i10)
                    _add(g, weights[3], grad_texture, i11)
            else:
                for ch in range(np.uintp(channels)):
                    g = grad_rgb[pixel + ch]
                    dots = _lookup_backward(ch, g, places, weights, dots, texture, grad_texture, with_texture)
            texel_gu = (dots[1] - dots[0]) * (one - fv) + (dots[3] - dots[2]) * fv
            texel_gv = (dots[2] - dots[0]) * (one - fu) + (dots[3] - dots[1]) * fu
            gu, gv = texel_gu * inside_u * T * z, texel_gv * inside_v * T * z
            gs = -(gu * u + gv * v)
            if with_depth:
                gs -= grad_depth[n, y, x] * z * z
            gsx, gux, gvx = gsx + gs * dx, gux + gu * dx, gvx + gv * dx
            row_gs, row_gu, row_gv = row_gs + gs, row_gu + gu, row_gv + gv
        gsy, guy, gvy = gsy + row_gs * dy, guy + row_gu * dy, gvy + row_gv * dy
        gs0, gu0, gv0 = gs0 + row_gs, gu0 + row_gu, gv0 + row_gv
    return (gsx, gsy, gs0), (gux, guy, gu0), (gvx, gvy, gv0)


@fused_helper
def _to_corners(n, t, edges, planes, grad_s, grad_u, grad_v, corner_grads):  # type: ignore[no-untyped-def]
    """From the gradient of a triangle's planes to that of its corners.

    With the corners as columns of M, the weights are N p, N = M⁻¹, and the planes S, U, V combine N's rows: S = Σ N_k,
    U = Σ u_k N_k, V = Σ v_k N_k. Since dN = -N dM N, the gradient of corner i is
    ``-(S (G_S·N_i) + U (G_U·N_i) + V (G_V·N_i))``; the dot products do not depend on the pixel that planes refer to.
    """
    x0, y0, inverse = planes[n, t, 9], planes[n, t, 10], edges[n, t, 9]
    for i in range(3):
        a, b, c = edges[n, t, 3 * i], edges[n, t, 3 * i + 1], edges[n, t, 3 * i + 2]
        at_origin = a * x0 + b * y0 + c
        weight_s = -inverse * (grad_s[0] * a + grad_s[1] * b + grad_s[2] * at_origin)
        weight_u = -inverse * (grad_u[0] * a + grad_u[1] * b + grad_u[2] * at_origin)
        weight_v = -inverse * (grad_v[0] * a + grad_v[1] * b + grad_v[2] * at_origin)
        gx = weight_s * planes[n, t, 0] + weight_u * planes[n, t, 3] + weight_v * planes[n, t, 6]
        gy = weight_s * planes[n, t, 1] + weight_u * planes[n, t, 4] + weight_v * planes[n, t, 7]
        g0 = weight_s * planes[n, t, 2] + weight_u * planes[n, t, 5] + weight_v * planes[n, t, 8]
        corner_grads[n, t, i, 0], corner_grads[n, t, i, 1] = gx, gy
        corner_grads[n, t, i, 2] = g0 - gx * x0 - gy * y0


@helper
def _share_out(groups, tasks_per_group, order, starts, seen, boxes, workers):  # type: ignore[no-untyped-def]
    """The worker of each task, so that all end at about the same time: the largest first, to who has least.

    What a task takes is estimated by its visible triangles' boxes.
    """
    pixels = np.zeros(len(groups) * tasks_per_group, np.int64)
    for task in range(len(pixels)):
        group = groups[task // tasks_per_group]
        for n in range(task % tasks_per_group, len(seen), tasks_per_group):
            for place in range(starts[group], starts[group + 1]):
                t = order[place]
                if seen[n, t]:
                    pixels[task] += (boxes[n, t, 1] - boxes[n, t, 0] + 1) * (boxes[n, t, 3] - boxes[n, t, 2] + 1)
    shares, loads = np.empty(len(pixels), np.int64), np.zeros(workers, np.int64)
    for task in np.argsort(-pixels):
        shares[task] = np.argmin(loads)
        loads[shares[task]] += pixels[task]
    return shares


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
    views, T, own_texture = index.shape[0], textures.shape[1], textures.shape[0] > 1
    # Views that share a texture belong to one task; views with their own are tasks of their own.
    tasks_per_group = views if own_texture else 1
    colours, channels = grad_rgb.reshape(-1), textures.shape[3]
    shares = _share_out(groups, tasks_per_group, order, starts, seen, boxes, workers)
    for worker in prange(workers):
        for task in range(len(shares)):
            if shares[task] != worker:
                continue
            group, first_view = groups[task // tasks_per_group], task % tasks_per_group
            for n in range(first_view, views, tasks_per_group):
                m = n if own_texture else 0
                texture, target = textures[m].reshape(-1), grad_textures[m if with_texture else 0].reshape(-1)
                for place in range(starts[group], starts[group + 1]):
                    t = order[place]
                    if seen[n, t]:
                        grad_s, grad_u, grad_v = _triangle(
                            n,
                            t,
                            index,
                            boxes,
                            planes,
                            corner_uv,
                            T,
                            channels,
                            texture,
                            colours,
                            grad_depth,
                            with_depth,
                            target,
                            with_texture,
                        )
                        _to_corners(n, t, edges, planes, grad_s, grad_u, grad_v, corner_grads)


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
