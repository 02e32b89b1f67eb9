"""What is wanted of a picture: layers, weights and normalizations, as plain data.

An `Objective` says nothing of how it is reached. The 2017 program, the 2015 paper and the blogs
that explain it differ only in these values; `PRESETS` holds them side by side.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, NamedTuple

from neural_style_tf.errors import OptionError
from neural_style_tf.settings import from_mapping, option

CONTENT_NORMS = ("mean", "half-sum", "half-norm")
GRAM_NORMS = ("hwc", "hw", "2hwc")
STYLE_NORMS = ("mean", "quarter-mean", "sum")

# Every activation of VGG-19 in order; VGG-16 and shallower networks have a part of these.
LAYERS = tuple(
    name
    for block, count in enumerate((2, 2, 4, 4, 4), 1)
    for name in (
        *(f"{kind}{block}_{i}" for i in range(1, count + 1) for kind in ("conv", "relu")),
        f"pool{block}",
    )
)


def equal(*layers: str) -> dict[str, float]:
    """The layers with the same weight."""
    return dict.fromkeys(layers, 1.0)


@dataclass(frozen=True)
class Objective:
    """Content, style and total-variation losses and their weights.

    Layer weights and blend weights are relative: each group is scaled to sum 1, as the 2017
    program does. With F a layer's features, `H·W` positions and C channels:

    - content: `content_weight · Σ_l w_l · D(F_l, P_l)`, D one of `mean` (F−P)² over all elements,
      `half-sum` ½Σ(F−P)², `half-norm` ½√Σ(F−P)²;
    - Gram: `G = FᵀF / n`, n one of `hwc` H·W·C, `hw` H·W, `2hwc` 2·H·W·C;
    - style: `style_weight · Σ_s b_s · Σ_l w_l · E(G_l, A_sl)`, E one of `mean` Σ(G−A)²/C²,
      `quarter-mean` Σ(G−A)²/4C², `sum` Σ(G−A)²;
    - total variation: `tv_weight · (mean of squared vertical + mean of squared horizontal
      differences)`.

    Raises:
        OptionError: a weight that is negative or not finite, a group that sums to 0, no term at
            all, an unknown normalization.
    """

    content_layers: Mapping[str, float] = field(default_factory=lambda: equal("relu4_2"))
    style_layers: Mapping[str, float] = field(
        default_factory=lambda: equal("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
    )
    content_weight: float = option(5.0, "content weight")
    style_weight: float = option(500.0, "style weight")
    tv_weight: float = option(100.0, "total variation regularization weight")
    style_blend_weights: Sequence[float] = ()
    content_norm: str = option("mean", "distance of content features", choices=CONTENT_NORMS)
    gram_norm: str = option(
        "hwc", "what a Gram matrix is divided by: height, width, channels", choices=GRAM_NORMS
    )
    style_norm: str = option("mean", "distance of Gram matrices", choices=STYLE_NORMS)

    def __post_init__(self) -> None:
        for name in ("content_weight", "style_weight", "tv_weight"):
            object.__setattr__(self, name, _weight(name, getattr(self, name)))
        if not self.content_weight + self.style_weight + self.tv_weight:
            raise OptionError(
                "content, style and tv weight are all 0: expected at least one above 0"
            )
        for name in ("content_layers", "style_layers"):
            layers = dict(getattr(self, name))
            if layers or getattr(self, name.replace("layers", "weight")):
                weights = _group(name.replace("_", " "), list(layers.values()))
                layers = dict(zip(layers, weights, strict=True))
            object.__setattr__(self, name, layers)
        blend = tuple(self.style_blend_weights)
        if blend:
            blend = _group("style blend weights", blend)
        object.__setattr__(self, "style_blend_weights", blend)
        for name, known in (
            ("content_norm", CONTENT_NORMS),
            ("gram_norm", GRAM_NORMS),
            ("style_norm", STYLE_NORMS),
        ):
            if getattr(self, name) not in known:
                raise OptionError(
                    f"unknown {name} {getattr(self, name)!r}: expected {', '.join(known)}"
                )

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer that is compared: what the network has to compute."""
        return tuple(dict.fromkeys((*self.shares("content"), *self.shares("style"))))

    @property
    def weights(self) -> tuple[float, float, float]:
        """Of content, style and total variation."""
        return self.content_weight, self.style_weight, self.tv_weight

    @property
    def form(self) -> Objective:
        """The same, but for what is no part of a graph: how much terms count, and which styles."""
        content, style, tv = (float(weight > 0) for weight in self.weights)
        return dataclasses.replace(
            self, content_weight=content, style_weight=style, tv_weight=tv, style_blend_weights=()
        )

    def shares(self, term: str) -> dict[str, float]:
        """The layers of "content" or "style" that count, with weights that sum to 1."""
        if not getattr(self, f"{term}_weight"):
            return {}
        weights: Mapping[str, float] = getattr(self, f"{term}_layers")
        total = math.fsum(weights.values())
        return {layer: weight / total for layer, weight in weights.items() if weight}

    def blend(self, styles: int) -> tuple[float, ...]:
        """The weight of each of so many style pictures; they sum to 1.

        Raises:
            OptionError: weights were given, but not one for each style.
        """
        if not self.style_blend_weights:
            return (1 / styles,) * styles
        if len(self.style_blend_weights) != styles:
            raise OptionError(
                f"expected one style blend weight for each of {styles} style(s), "
                f"got {len(self.style_blend_weights)}"
            )
        total = math.fsum(self.style_blend_weights)
        return tuple(weight / total for weight in self.style_blend_weights)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `from_dict` takes it back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Objective:
        """The Objective that `to_dict` wrote.

        Raises:
            OptionError: an unknown field, or values that no Objective can have.
        """
        return from_mapping(cls, data)

    def on(self, available: Collection[str]) -> tuple[Objective, dict[str, str]]:
        """The same on a network that lacks some layers, each taken by the nearest it has.

        Nearest is the closest of the same kind (conv, relu, pool) that is not deeper, so that a
        shallower network answers with its deepest; failing that, its shallowest.

        Returns:
            The Objective, and `{layer asked for: layer used}` where they differ.
        """
        moved: dict[str, str] = {}

        def move(weights: Mapping[str, float]) -> dict[str, float]:
            result: dict[str, float] = {}
            for layer, weight in weights.items():
                near = layer if layer in available else _nearest(layer, available)
                if near != layer:
                    moved[layer] = near
                result[near] = result.get(near, 0.0) + weight
            return result

        return dataclasses.replace(
            self, content_layers=move(self.content_layers), style_layers=move(self.style_layers)
        ), moved


def _nearest(layer: str, available: Collection[str]) -> str:
    if layer not in LAYERS:
        return layer
    same_kind = [name for name in LAYERS if name in available and name[:4] == layer[:4]]
    not_deeper = [name for name in same_kind if LAYERS.index(name) <= LAYERS.index(layer)]
    return (not_deeper[-1:] or same_kind[:1] or [layer])[0]


def _weight(name: str, weight: object) -> float:
    """As a float, whatever kind of number it is."""
    if not (isinstance(weight, Real) and math.isfinite(weight) and float(weight) >= 0):
        raise OptionError(
            f"{name.replace('_', ' ')} must be a finite number, 0 or more, got {weight}"
        )
    return float(weight)


def _group(name: str, weights: Sequence[object]) -> tuple[float, ...]:
    """Weights of which only the ratios count."""
    numbers = tuple(_weight(f"each of the {name}", weight) for weight in weights)
    if not any(numbers):
        raise OptionError(f"the {name} sum to 0: expected at least one above 0")
    try:
        math.fsum(numbers)
    except OverflowError:
        raise OptionError(
            f"the {name} sum to more than a number can be: expected smaller ones, got "
            f"{max(numbers)}"
        ) from None
    return numbers


class Preset(NamedTuple):
    """A published recipe."""

    objective: Objective
    pooling: str
    network: str
    source: str


_GATYS = Objective(
    content_layers=equal("conv4_2"),
    style_layers=equal("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"),
    content_weight=1.0,
    style_weight=1000.0,
    tv_weight=0.0,
    content_norm="half-sum",
    gram_norm="hw",
    style_norm="quarter-mean",
)
# 1/(4N²M²)·Σ(FᵀF − AᵀA)² is ¼ of the mean over N² of (FᵀF/M − AᵀA/M)²: "quarter-mean" over "hw".
# Written this way the style picture may have another size, each Gram by its own M.

_JOHNSON_STYLES = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")

_VGG16_RELUS = tuple(
    f"relu{block}_{i}"
    for block, count in enumerate((2, 2, 3, 3, 3), 1)
    for i in range(1, count + 1)
)

PRESETS: dict[str, Preset] = {
    "athalye2015": Preset(
        Objective(), "max", "VGG-19", "anishathalye/neural-style: the defaults of the 2017 program"
    ),
    "gatys2015": Preset(
        _GATYS, "avg", "VGG-19", "Gatys, Ecker, Bethge 2015 (arXiv:1508.06576): α/β = 1e-3"
    ),
    "gatys2015-conv4_4": Preset(
        dataclasses.replace(_GATYS, content_layers=equal("conv4_4")),
        "avg",
        "VGG-19",
        "the same with content conv4_4, as some lecture notes have it",
    ),
    "johnson2016": Preset(
        # ‖·‖² of each layer is summed with weight 1: four layers of share ¼ and weight 4λ. The
        # paper chose λ by eye for each style; 1e-3 suits features of pixels 0-255.
        Objective(
            content_layers=equal("relu3_3"),
            style_layers=equal(*_JOHNSON_STYLES),
            content_weight=1.0,
            style_weight=4 * 1e-3,
            tv_weight=0.0,
            content_norm="mean",
            gram_norm="hwc",
            style_norm="sum",
        ),
        "max",
        "VGG-16",
        "Johnson, Alahi, Fei-Fei 2016 (arXiv:1603.08155): the perceptual losses",
    ),
    "one-pass": Preset(
        # One pass lowers the style loss less far than optimization does, and would give up the
        # photograph for it: content counts for twice as much here, style for half.
        Objective(content_weight=10.0, style_weight=250.0, tv_weight=300.0),
        "max",
        "VGG-19",
        "for networks that `train` trains: the first preset, its weights changed",
    ),
    "vgg16-all": Preset(
        # Each layer's ‖G − A‖² is summed with weight 1: 13 layers of share 1/13 and weight 13β.
        # The text leaves α and β to the reader; with 1 and 1e-4 neither term drowns the other.
        Objective(
            content_layers=equal("relu4_2"),
            style_layers=equal(*_VGG16_RELUS),
            content_weight=1.0,
            style_weight=13 * 1e-4,
            tv_weight=0.0,
            content_norm="half-norm",
            gram_norm="2hwc",
            style_norm="sum",
        ),
        "max",
        "VGG-16",
        "Grams of every layer, each divided by 2·H·W·C; content ½‖·‖, not squared",
    ),
}
