"""LiP-Flow: drivable face avatars with learned inference-time priors (Aksan et al., ECCV 2022).

The library knows no screen: it imports neither Qt nor vispy. Positions are in millimetres in the head
frame (x to the image's right when the face looks at the camera, y up, z out of the face).
"""

__version__ = "0.1.0"
