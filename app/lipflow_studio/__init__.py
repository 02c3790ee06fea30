"""LiP-Flow Studio: the desktop application over the lipflow library."""

import os

# Read by OpenMP when torch loads it, so set before: threads that wait must sleep. Spinning ones take the cores from
# the window and from each other once more threads than cores have work (measured: a headset iteration 8 times slower).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Mesa's software OpenGL would take all cores for a picture that one core draws in time (measured while dragging:
# 61 instead of 68 ms from the mouse to the picture). Graphics hardware does not read this.
os.environ.setdefault("LP_NUM_THREADS", "1")

import torch  # noqa: F401 (before Qt: their libraries load in this order only)
