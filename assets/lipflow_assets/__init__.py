"""What ships with LiP-Flow Studio: the head rig, embedded avatars, demo inputs and icons."""
