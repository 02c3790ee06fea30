"""LiP-Flow Studio: the desktop application over the lipflow library."""

import os

# Read by OpenMP when torch loads it, so set before: threads that wait must sleep. Spinning ones take the cores from
# the window and from each other once more threads than cores have work (measured: a headset iteration 8 times slower).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
