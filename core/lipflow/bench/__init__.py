"""How fast things are on this machine, each beside a plain way of doing the same, measured in the same run."""
