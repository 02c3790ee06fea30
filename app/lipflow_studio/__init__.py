"""LiP-Flow Studio: the desktop application over the lipflow library."""
