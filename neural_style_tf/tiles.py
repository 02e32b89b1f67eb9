"""The loss of a picture, tile by tile: the same numbers in bounded memory.

Grams and squared distances are sums over positions, so they can be taken tile by tile. A tile is
seen in a window with a margin as wide as the network sees, so that inside the tile every feature is
the one of the whole picture, at its borders too. One pass over the tiles gives the sums; what they
make of the loss says how much each sum counts; a second pass gives the gradient of so weighted
sums. This is the chain rule and no approximation, but for rounding: in bfloat16 the sums of each
tile are. It costs the features twice, and the margins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from neural_style_tf.losses import Loss, Targets, Terms
from neural_style_tf.networks import Network
from neural_style_tf.objective import Objective
from neural_style_tf.sums import Sums, Variation
from neural_style_tf.traced import Traced


class Reach(NamedTuple):
    """How far a network sees.

    Attributes:
        strides: `{layer: pixels between two positions}`, powers of two.
        margin: pixels around a tile that its features depend on; a multiple of every stride.
    """

    strides: Mapping[str, int]
    margin: int


# The side of tiles in pixels, and how far the network sees.
Tiles = tuple[int, Reach]


class Tile(NamedTuple):
    """A tile and its window, in pixels of the picture: scalars."""

    top: tf.Tensor
    left: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor
    window: tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]  # top, left, bottom, right

    def view(self, pixels: tf.Tensor) -> tf.Tensor:
        """The window of a picture `[1, H, W, 3]`."""
        top, left, bottom, right = self.window
        return pixels[:, top:bottom, left:right]


class TiledLoss(Loss):
    """A `Loss` whose memory is bounded by the size of its tiles.

    Args:
        network: as for `Loss`; each feature may depend on pixels as far as `reach` says, and
            nothing else.
        objective: what is wanted.
        side: greatest height and width of a tile in pixels; a picture that is not larger is taken
            whole.
        reach: of the network, for the objective's layers.
    """

    def __init__(self, network: Network, objective: Objective, side: int, reach: Reach) -> None:
        super().__init__(network, objective)
        self.reach = reach
        self.channels = _channels(network, objective)
        self.stride = max(reach.strides.values(), default=1)
        self.side = max(self.stride, side // self.stride * self.stride)
        self.part = Traced(self._part)

    def features(self, content: tf.Tensor) -> dict[str, tf.Tensor]:
        """What is compared of a content picture, put together from its tiles."""
        _, height, width, _ = tf.unstack(tf.shape(content))

        def add(tile: Tile, whole: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            part = super(TiledLoss, self).features(tile.view(content))
            part = self._inside(part, tile)
            return {
                layer: _added(f, part[layer], tile.top // stride, tile.left // stride)
                for layer, f in whole.items()
                for stride in [self.reach.strides[layer]]
            }

        empty = {
            layer: tf.zeros((1, -(-height // stride), -(-width // stride), self.channels[layer]))
            for layer in self.objective.shares("content")
            for stride in [self.reach.strides[layer]]
        }
        return self._over_tiles(content, add, empty)

    def moments(self, style: tf.Tensor) -> dict[str, tf.Tensor]:
        """What is compared of a style picture, summed over its tiles."""
        if not self.objective.shares("style"):
            return {}
        return self._total(style, {}).moments

    def __call__(self, pixels: tf.Tensor, targets: Targets) -> Terms:
        """The loss of a picture `[1, H, W, 3]` of the content's size."""
        return self.terms(self._total(pixels, targets.content), targets)

    def value_and_gradient(self, pixels: tf.Tensor, targets: Targets) -> tuple[Terms, tf.Tensor]:
        """The loss and the gradient of its total, `[1, H, W, 3]`."""
        shape = tf.shape(pixels)
        rows, columns = self._grid(shape)
        return tf.cond(
            rows * columns == 1,
            lambda: super(TiledLoss, self).value_and_gradient(pixels, targets),
            lambda: self._in_two_passes(pixels, targets),
        )

    def _in_two_passes(self, pixels: tf.Tensor, targets: Targets) -> tuple[Terms, tf.Tensor]:
        total = self._total(pixels, targets.content)
        with tf.GradientTape() as tape:
            tape.watch(total)
            terms = self.terms(total, targets)
        counts = tape.gradient(terms.total, total, unconnected_gradients="zero")

        def add(tile: Tile, gradient: tf.Tensor) -> tf.Tensor:
            part = self.part(tile.view(pixels), targets.content, tile, counts)
            return _added(gradient, part, *tile.window[:2])

        return terms, self._over_tiles(pixels, add, tf.zeros_like(pixels))

    def _part(
        self, window: tf.Tensor, content: Mapping[str, tf.Tensor], tile: Tile, counts: Sums
    ) -> tf.Tensor:
        """The gradient of the sums over one tile, each as much as it counts: of its window."""
        with tf.GradientTape() as tape:
            tape.watch(window)
            sums = self._sums(window, content, tile)
            pairs = zip(tf.nest.flatten(counts), tf.nest.flatten(sums), strict=True)
            weighed = tf.add_n([tf.reduce_sum(count * value) for count, value in pairs])
        return tape.gradient(weighed, window)

    def _total(self, pixels: tf.Tensor, content: Mapping[str, tf.Tensor]) -> Sums:
        """The sums over the whole picture."""

        def add(tile: Tile, total: Sums) -> Sums:
            sums = self._sums(tile.view(pixels), content, tile)
            return tf.nest.map_structure(tf.add, total, sums)

        return self._over_tiles(pixels, add, self._zero(content))

    def _sums(self, window: tf.Tensor, content: Mapping[str, tf.Tensor], tile: Tile) -> Sums:
        """The sums over one tile, of which a window is given."""
        inside = self._inside(self.network(window), tile)
        asked = {
            layer: self._cut(features, layer, tile.top, tile.left, tile)
            for layer, features in content.items()
        }
        top, left = tile.top - tile.window[0], tile.left - tile.window[1]
        # With a row and a column more where the picture goes on.
        own = window[:, top : top + tile.height + 1, left : left + tile.width + 1]
        _, varied = self.variation(own, (tile.height, tile.width))
        return self.sums(inside, asked, varied)

    def _inside(self, features: Mapping[str, tf.Tensor], tile: Tile) -> dict[str, tf.Tensor]:
        """Of a window's features those of its tile."""
        top, left = tile.top - tile.window[0], tile.left - tile.window[1]
        return {layer: self._cut(f, layer, top, left, tile) for layer, f in features.items()}

    def _cut(
        self, features: tf.Tensor, layer: str, top: tf.Tensor, left: tf.Tensor, tile: Tile
    ) -> tf.Tensor:
        """The features of a tile that begins so many pixels into them."""
        stride = self.reach.strides[layer]
        # Only the last tiles of a picture have odd sizes; poolings round up.
        height, width = -(-tile.height // stride), -(-tile.width // stride)
        top, left = top // stride, left // stride
        return features[:, top : top + height, left : left + width]

    def _zero(self, content: Mapping[str, tf.Tensor]) -> Sums:
        styles = self.objective.shares("style")
        positions = dict.fromkeys({**content, **styles}, tf.zeros(()))
        channels = {layer: self.channels[layer] for layer in styles}
        return Sums(
            dict.fromkeys(content, tf.zeros(())),
            {layer: tf.zeros((c, c)) for layer, c in channels.items()},
            positions,
            Variation(tf.zeros(2), tf.zeros(2)),
        )

    def _over_tiles(self, pixels: tf.Tensor, add: Callable[[Tile, Any], Any], zero: Any) -> Any:
        """What `add` makes of zero with one tile after the other."""
        shape = tf.shape(pixels)
        rows, columns = self._grid(shape)
        _, result = tf.while_loop(
            lambda index, _: index < rows * columns,
            lambda index, sums: (index + 1, add(self._tile(index, shape), sums)),
            (tf.constant(0), zero),
            parallel_iterations=1,  # else several tiles are in memory at once
        )
        return result

    def _grid(self, shape: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """How many rows and columns of tiles."""
        return -(-shape[1] // self.side), -(-shape[2] // self.side)

    def _tile(self, index: tf.Tensor, shape: tf.Tensor) -> Tile:
        """The tiles are alike in size, but for the last ones, which take what is left."""
        rows, columns = self._grid(shape)
        height, width = (
            -(-size // (count * self.stride)) * self.stride
            for size, count in ((shape[1], rows), (shape[2], columns))
        )
        top, left = index // columns * height, index % columns * width
        bottom, right = tf.minimum(top + height, shape[1]), tf.minimum(left + width, shape[2])
        margin = self.reach.margin
        window = (
            tf.maximum(top - margin, 0),
            tf.maximum(left - margin, 0),
            tf.minimum(bottom + margin, shape[1]),
            tf.minimum(right + margin, shape[2]),
        )
        return Tile(top, left, bottom - top, right - left, window)


def make_loss(network: Network, objective: Objective, tiles: Tiles | None = None) -> Loss:
    """The loss of whole pictures, or tile by tile."""
    return Loss(network, objective) if tiles is None else TiledLoss(network, objective, *tiles)


def _channels(network: Network, objective: Objective) -> dict[str, int]:
    """Those of each layer that is compared, which a tile has to be added to before there is one."""
    traced = tf.function(network, autograph=False)
    features = traced.get_concrete_function(tf.TensorSpec((1, None, None, 3))).structured_outputs
    return {layer: features[layer].shape[-1] for layer in objective.layers}


def _added(whole: tf.Tensor, part: tf.Tensor, top: tf.Tensor, left: tf.Tensor) -> tf.Tensor:
    """`[1, H, W, C]` plus a part `[1, h, w, C]`, in place where nobody else holds it."""
    _, height, width, channels = tf.unstack(tf.shape(part))
    rows, columns = tf.meshgrid(top + tf.range(height), left + tf.range(width), indexing="ij")
    indices = tf.reshape(tf.stack([rows, columns], -1), (-1, 2))
    added = tf.tensor_scatter_nd_add(whole[0], indices, tf.reshape(part, (-1, channels)))
    return tf.ensure_shape(added[None], whole.shape)
