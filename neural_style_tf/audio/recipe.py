"""What is wanted of a sound, as plain data: the recipe of the reference notebook.

DmitryUlyanov/neural-style-audio-tf: one layer of 4096 random filters over eleven frames, content
weight 1e-2.
"""

from __future__ import annotations

from neural_style_tf.objective import Objective, equal

# The one layer, the frames that a filter sees, and how many filters.
LAYER = "random"
TAPS = 11
FILTERS = 4096

# All means: neither the length of a sound nor the number of filters shifts the balance. With the
# variance of the filters (`features.variance`) the weights are the notebook's.
RECIPE = Objective(
    content_layers=equal(LAYER),
    style_layers=equal(LAYER),
    content_weight=0.01,
    style_weight=1.0,
    tv_weight=0.0,
    content_norm="mean",
    gram_norm="hw",
    style_norm="mean",
)

# What the filters' loss is minimized over: the samples, or as in the notebook the frames.
UNKNOWNS = ("samples", "frames")

# Adam's, in log magnitudes or hundredths of full scale.
LEARNING_RATE = 0.03
