"""The loss of a picture, tile by tile: the same numbers in bounded memory.

Grams and squared distances are sums over positions, so they can be taken tile by tile. A tile is
seen in a window with a margin as wide as the network sees, so that inside the tile every feature is
the one of the whole picture, at its borders too. One pass over the tiles gives the sums; what they
make of the loss says how much each sum counts; a second pass gives the gradient of so weighted
sums. This is the chain rule and no approximation, but for rounding: in bfloat16 the sums of each
tile are. It costs the features twice, and the margins.

The first blocks of a network have the largest activations, see the least around them, and are the
least work. So there is a way between: these alone go tile by tile, up to a pooling whose
activations are put together, and the rest of the network is computed at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from neural_style_tf.losses import Loss, Targets, Terms
from neural_style_tf.networks import Network, halves
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


class Tiles(NamedTuple):
    """How a picture is cut.

    Attributes:
        side: greatest height and width of a tile in pixels; a picture that is not larger is taken
            whole.
        reach: of the layers that are compared and computed in tiles, and of `until`.
        until: the layer behind which all is computed at once; None where nothing is.
    """

    side: int
    reach: Reach
    until: str | None = None


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


# What one pass over the tiles brings: sums, and features that were put together.
_Found = tuple[Sums, dict[str, tf.Tensor]]


class TiledLoss(Loss):
    """A `Loss` whose memory is bounded by the size of its tiles.

    Args:
        network: as for `Loss`; each feature may depend on pixels as far as `tiles.reach` says, and
            nothing else. With `tiles.until` it has `halves`, as `vgg.load(…).centered` has.
        objective: what is wanted.
        tiles: how a picture is cut.
    """

    def __init__(self, network: Network, objective: Objective, tiles: Tiles) -> None:
        super().__init__(network, objective)
        self.reach = tiles.reach
        # What goes on from a layer that tiles end with, which is one or none.
        self.behind: dict[str, Network] = {}
        self.opening = network
        if tiles.until:
            self.opening, self.behind[tiles.until] = halves(network, tiles.until)
        self.shapes = _shapes(self.opening)
        self.stride = max(self.reach.strides.values(), default=1)
        self.side = max(self.stride, tiles.side // self.stride * self.stride)
        # Functions of their own also where they are called in a branch or a loop; see `Traced`.
        self.at_once = Traced(Loss(network, objective).value_and_gradient)
        self.in_two_passes = Traced(self._in_two_passes)
        self.part = Traced(self._part)

    def features(self, content: tf.Tensor) -> dict[str, tf.Tensor]:
        """What is compared of a content picture, put together from its tiles."""
        layers = self.objective.shares("content")
        asked = [layer for layer in self.shapes if layer in layers or layer in self.behind]

        def add(tile: Tile, whole: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            return self._put(self._inside(self.opening(tile.view(content)), tile), tile, whole)

        features = self._over_tiles(content, add, self._empty(content, asked))
        for layer, behind in self.behind.items():
            features |= behind(features[layer])
        return {layer: tf.cast(features[layer], tf.float32) for layer in layers}

    def moments(self, style: tf.Tensor) -> dict[str, tf.Tensor]:
        """What is compared of a style picture, summed over its tiles."""
        if not self.objective.shares("style"):
            return {}
        return self._in_all(self._found(style, {}), {}).moments

    def __call__(self, pixels: tf.Tensor, targets: Targets) -> Terms:
        """The loss of a picture `[1, H, W, 3]` of the content's size."""
        content = targets.content
        return self.terms(self._in_all(self._found(pixels, content), content), targets)

    def value_and_gradient(self, pixels: tf.Tensor, targets: Targets) -> tuple[Terms, tf.Tensor]:
        """The loss and the gradient of its total, `[1, H, W, 3]`."""
        shape = tf.shape(pixels)
        rows, columns = self._grid(shape)
        return tf.cond(
            rows * columns == 1,
            lambda: self.at_once(pixels, targets),
            lambda: self.in_two_passes(pixels, targets),
        )

    def _in_two_passes(self, pixels: tf.Tensor, targets: Targets) -> tuple[Terms, tf.Tensor]:
        found = self._found(pixels, targets.content)
        with tf.GradientTape() as tape:
            tape.watch(found)
            terms = self.terms(self._in_all(found, targets.content), targets)
        counts = tape.gradient(terms.total, found, unconnected_gradients="zero")

        def add(tile: Tile, gradient: tf.Tensor) -> tf.Tensor:
            part = self.part(tile.view(pixels), targets.content, tile, counts)
            return _added(gradient, part, *tile.window[:2])

        return terms, self._over_tiles(pixels, add, tf.zeros_like(pixels))

    def _part(
        self, window: tf.Tensor, content: Mapping[str, tf.Tensor], tile: Tile, counts: _Found
    ) -> tf.Tensor:
        """The gradient of what one tile brings, each number as much as it counts: of its window."""
        sums, whole = counts
        with tf.GradientTape() as tape:
            tape.watch(window)
            found = self._brought(window, content, tile)
        own = {
            layer: self._cut(each, layer, tile.top, tile.left, tile)
            for layer, each in whole.items()
        }
        return tape.gradient(found, window, output_gradients=(sums, own))

    def _found(self, pixels: tf.Tensor, content: Mapping[str, tf.Tensor]) -> _Found:
        """What the tiles of a picture bring together."""

        def add(tile: Tile, found: _Found) -> _Found:
            sums, features = self._brought(tile.view(pixels), content, tile)
            total, whole = found
            return tf.nest.map_structure(tf.add, total, sums), self._put(features, tile, whole)

        zero = self._zero(content), self._empty(pixels, self.behind)
        return self._over_tiles(pixels, add, zero)

    def _brought(self, window: tf.Tensor, content: Mapping[str, tf.Tensor], tile: Tile) -> _Found:
        """What one tile brings, seen in its window: sums, and what the rest goes on from."""
        inside = self._inside(self.opening(window), tile)
        asked = {
            layer: self._cut(features, layer, tile.top, tile.left, tile)
            for layer, features in content.items()
            if layer in inside
        }
        top, left = tile.top - tile.window[0], tile.left - tile.window[1]
        # With a row and a column more where the picture goes on.
        own = window[:, top : top + tile.height + 1, left : left + tile.width + 1]
        _, varied = self.variation(own, (tile.height, tile.width))
        return self.sums(inside, asked, varied), {layer: inside[layer] for layer in self.behind}

    def _in_all(self, found: _Found, content: Mapping[str, tf.Tensor]) -> Sums:
        """The sums over the whole picture, of all layers."""
        sums, features = found
        deep = {layer: each for layer, each in content.items() if layer not in self.shapes}
        for layer, behind in self.behind.items():
            sums = sums.with_layers(self.seen(behind, features[layer], deep, None))
        return sums

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
        return _cropped(features, top // stride, left // stride, height, width)

    def _zero(self, content: Mapping[str, tf.Tensor]) -> Sums:
        compared = [layer for layer in content if layer in self.shapes]
        styles = [layer for layer in self.objective.shares("style") if layer in self.shapes]
        sides = {layer: self.shapes[layer].shape[-1] for layer in styles}
        return Sums(
            dict.fromkeys(compared, tf.zeros(())),
            {layer: tf.zeros((side, side)) for layer, side in sides.items()},
            dict.fromkeys((*compared, *styles), tf.zeros(())),
            Variation(tf.zeros(2), tf.zeros(2)),
        )

    def _empty(self, pixels: tf.Tensor, layers: Collection[str]) -> dict[str, tf.Tensor]:
        """Features of the whole picture that nothing has been `_put` into."""
        _, height, width, _ = tf.unstack(tf.shape(pixels))
        return {
            layer: tf.zeros(
                (1, -(-height // stride), -(-width // stride), spec.shape[-1]), spec.dtype
            )
            for layer in layers
            for stride, spec in [(self.reach.strides[layer], self.shapes[layer])]
        }

    def _put(
        self, part: Mapping[str, tf.Tensor], tile: Tile, whole: dict[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """A tile's features in their place among the picture's."""
        return {
            layer: _added(features, part[layer], tile.top // stride, tile.left // stride)
            for layer, features in whole.items()
            for stride in [self.reach.strides[layer]]
        }

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
    return Loss(network, objective) if tiles is None else TiledLoss(network, objective, tiles)


def _shapes(network: Network) -> dict[str, tf.TensorSpec]:
    """Of each feature, as a tile has to be put into the whole before there is one."""
    traced = tf.function(network, autograph=False)
    features = traced.get_concrete_function(tf.TensorSpec((1, None, None, 3))).structured_outputs
    return dict(features)


def _cropped(
    whole: tf.Tensor, top: tf.Tensor, left: tf.Tensor, height: tf.Tensor, width: tf.Tensor
) -> tf.Tensor:
    """Of `[1, H, W, C]` the part that begins there, `[1, height, width, C]`."""

    @tf.custom_gradient
    def cut(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        below, right = tf.shape(x)[1] - top - height, tf.shape(x)[2] - left - width

        # Written out: the library's own gradient, of slices, takes longer than a convolution.
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return tf.pad(upstream, ((0, 0), (top, below), (left, right), (0, 0)))

        return x[:, top : top + height, left : left + width], gradient

    return cut(whole)


def _added(whole: tf.Tensor, part: tf.Tensor, top: tf.Tensor, left: tf.Tensor) -> tf.Tensor:
    """`[1, H, W, C]` plus a part `[1, h, w, C]`, in place where nobody else holds it."""
    _, height, width, channels = tf.unstack(tf.shape(part))
    rows, columns = tf.meshgrid(top + tf.range(height), left + tf.range(width), indexing="ij")
    indices = tf.reshape(tf.stack([rows, columns], -1), (-1, 2))
    added = tf.tensor_scatter_nd_add(whole[0], indices, tf.reshape(part, (-1, channels)))
    return tf.ensure_shape(added[None], whole.shape)
