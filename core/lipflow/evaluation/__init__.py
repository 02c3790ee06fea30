"""How models are judged; the modules in the order in which an evaluation passes through them:

- ``protocols``: Tables 1–5 as rows, each of which says whose codes are judged and how they are found.
- ``frames``: held-out frames, what is seen of them at inference time, and their truth; ``runs``: the trained avatars.
- ``codes``: a row's codes for some frames, decoded or fitted (``batch_fit``: many images at once; ``search``: how to
  fit is chosen on validation frames; ``impoverished``: with less to see).
- ``judging``: figures of those codes' renders, by ``metrics``.
- ``evaluating``: all of that for one run, kept in its folder; ``many_runs``: for many.
- ``tables``: the figures of all runs gathered, with intervals by ``bootstrap``, into results.json (``results_file``).
- ``standings`` and ``report_tables`` say in words what they tell; ``exhibits`` (``making_exhibits``), ``figures`` and
  ``drawing`` show it; ``report`` is the page.
- Beside them: ``calibration`` of posteriors, ``sequences`` under a temporal prior.
"""
