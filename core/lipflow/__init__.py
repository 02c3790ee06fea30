"""LiP-Flow: drivable face avatars with learned inference-time priors (Aksan et al., ECCV 2022).

The library knows no screen: it imports neither Qt nor vispy. Positions are in millimetres in the head
frame (x to the image's right when the face looks at the camera, y up, z out of the face).

What lies where, in the order in which it is best read:

- Conventions: ``camera``, ``mesh``, ``colour``; ``checks``: the user's mistakes, and shapes.
- The model: ``avatar`` holds Q, D and the driving signal's encoder (``nets``), and P with the flow F (``priors``).
  ``avatar_file`` and ``checkpoint``: how it is kept.
- Training: ``variants`` are the paper's models as rows of a table; ``objective`` is Eq. 2 for such a row, ``losses``
  are its terms; ``training`` takes the steps (``training_config``: what decides them, ``training_start``: from where,
  ``validation``: what is looked at meanwhile, ``distributed``: on several processes). ``runs`` is a training's folder,
  ``training_log`` reads its curves, ``steering`` hears signals, ``sweep`` trains many.
- Captures (``capture``): Multiface folders, headset views made of them, packs to train on, the synthetic subject.
- Pictures (``rendering``): textured meshes with gradients, on the CPU and on CUDA.
- Fitting (Eq. 10–12): ``observations`` are what is seen, each with its energy (of images: ``image_energy``);
  ``fitting`` finds the code, ``solvers`` are its optimisers, ``landmark_fit`` the keypoints' short way, ``reach`` how
  far codes are believed.
- What a fit leaves open: ``identifiability``, ``laplace``, ``posterior``, ``modes``.
- ``latent_space``: P and Q seen from above. ``temporal`` and ``temporal_training``: a prior over sequences.
  ``registration``: the template on another head.
- Files that users give: ``observation_files``, ``picture_sequences``, ``keypoint_sequences``, ``sequence_files``; what
  is taken out: ``export`` and ``export_*``.
- ``evaluation``: Tables 1–5 and their report. ``bench``: speeds. ``commands`` and ``cli``: one file a command.
- Small things of all: ``serial`` (configs as JSON), ``files`` (whole or not at all), ``locks``, ``device``,
  ``embedded``.
"""

__version__ = "0.1.0"
