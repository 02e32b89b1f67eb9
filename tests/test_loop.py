"""The loop: which Steps come, what they hold, and how a run ends."""

from __future__ import annotations

import functools
import gc
import threading
import weakref
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from neural_style_tf import Graphs, Objective, Schedule, loop, optimizers
from neural_style_tf.descent import Descent
from neural_style_tf.errors import DivergedError, OptionError
from neural_style_tf.losses import Loss
from neural_style_tf.optimization import Optimization
from neural_style_tf.pixels import as_pixels, refine, resize, resize_style
from neural_style_tf.styles import KeptStyle, Painting
from neural_style_tf.tiles import Reach, Tiles
from tests import tiny
from vgg.network import build
from vgg.weights import Weights

Picture = npt.NDArray[np.uint8]
MEAN = np.array(tiny.MEAN_PIXEL, np.float32)

# Most of these runs are alike, and tracing their graphs would take most of the time.
GRAPHS = Graphs()
stylize = functools.partial(loop.stylize, graphs=GRAPHS)
stylize_image = functools.partial(loop.stylize_image, graphs=GRAPHS)


def test_steps_come_at_the_stops_and_at_the_end(
    shallow: Any, content: Picture, style: Picture
) -> None:
    steps = list(
        stylize(
            shallow,
            content,
            [style],
            schedule=Schedule(iterations=12),
            stops=(3, 7, 99),
            heartbeat=1e9,
        )
    )
    seen = [step.iteration for step in steps]
    assert seen[0] == 0
    assert {3, 7, 12} <= set(seen)
    assert seen == sorted(set(seen))
    assert all(step.total == 12 and step.size == (48, 64) for step in steps)


def test_terms_belong_to_the_pixels_beside_them(
    shallow: Any, content: Picture, style: Picture
) -> None:
    loss = Loss(shallow, Objective())
    targets = loss.targets(as_pixels(content), [resize_style(style, 64)])
    for step in stylize(shallow, content, [style], schedule=Schedule(iterations=4), stops=range(4)):
        again = loss(step.pixels, targets)
        assert step.terms == pytest.approx([float(term) for term in again], rel=1e-5)


def test_the_number_of_steps_between_changes_nothing(
    shallow: Any, content: Picture, style: Picture
) -> None:
    schedule = Schedule(iterations=9)
    one_by_one = stylize_image(shallow, content, [style], schedule=schedule, stops=range(9))
    at_once = stylize_image(shallow, content, [style], schedule=schedule, heartbeat=float("inf"))
    assert np.abs(one_by_one - at_once).max() < 0.01


def test_the_best_iteration_is_kept_unless_the_last_is_asked_for(
    shallow: Any, content: Picture, style: Picture
) -> None:
    wild: dict[str, Any] = {"iterations": 12, "learning_rate": 120.0}  # overshoots for sure
    steps = list(
        stylize(
            shallow, content, [style], schedule=Schedule(**wild), stops=range(12), initial=content
        )
    )
    best = min(steps, key=lambda step: step.terms.total)
    assert best.iteration != 12
    assert steps[-1].result.iteration == best.iteration
    assert steps[-1].result.loss == pytest.approx(best.terms.total)
    assert (steps[-1].result.pixels == best.pixels).numpy().all()
    *_, last = stylize(
        shallow, content, [style], schedule=Schedule(keep="last", **wild), initial=content
    )
    assert last.result.iteration == 12
    assert (last.result.pixels == last.pixels).numpy().all()


def test_without_a_tolerance_the_last_picture_may_be_worse_than_one_before(
    shallow: Any, content: Picture, style: Picture
) -> None:
    """The 2017 program's procedure: nothing ends it, not even a loss that rises."""
    wild: dict[str, Any] = {"iterations": 45, "learning_rate": 120.0, "keep": "last"}
    found = stylize(
        shallow, content, [style], schedule=Schedule(**wild), stops=range(46), initial=content
    )
    losses = {step.iteration: float(step.terms.total) for step in found}
    assert losses[20] > losses[0]
    assert max(losses) == 45


def test_the_start_is_what_was_asked_for(shallow: Any, content: Picture, style: Picture) -> None:
    other = tiny.picture(30, 30, 9)

    def first(**arguments: Any) -> Any:
        blend = arguments.pop("blend", None)
        schedule = Schedule(iterations=1, initial_noiseblend=blend)
        step = next(stylize(shallow, content, [style], schedule=schedule, **arguments))
        return step.pixels[0].numpy()

    assert first().std() < 10  # noise about the mean color
    assert (first(blend=0) == content).all()
    assert first(initial=other).shape == content.shape
    assert (first(initial=content) == content).all()
    assert first(initial=content, blend=0.5) == pytest.approx(
        (first() + content.astype(np.float32)) / 2, abs=1e-3
    )


def test_the_loss_falls(shallow: Any, content: Picture, style: Picture) -> None:
    steps = list(stylize(shallow, content, [style], schedule=Schedule(iterations=60)))
    assert steps[-1].result.loss < 0.2 * steps[0].terms.total


def test_a_picture_comes_back_in_range(shallow: Any, content: Picture, style: Picture) -> None:
    picture = stylize_image(shallow, content, [style], schedule=Schedule(iterations=5))
    assert picture.shape == (48, 64, 3)
    assert picture.dtype == np.float32
    assert 0 <= picture.min() <= picture.max() <= 255


def test_pictures_stay_in_range_on_their_way(shallow: Any, style: Picture) -> None:
    """What lies beyond would be cut off in the end, and the loss would not be the one told."""
    content = np.where(tiny.picture(48, 64, 1) > 127, 255, 0).astype(np.uint8)
    beyond = {}
    for optimizer in ("lbfgs", "adam"):
        schedule = Schedule(iterations=30, optimizer=optimizer, keep="last")
        steps = stylize(shallow, content, [style], schedule=schedule, stops=range(99))
        pictures = [step.pixels.numpy() for step in steps]
        beyond[optimizer] = max(max(p.max() - 255, -p.min()) for p in pictures)
    assert beyond["lbfgs"] < 1e-3
    assert beyond["adam"] > 5  # as the 2017 program has it


def test_sizes_come_one_after_the_other_and_results_are_of_full_size(
    shallow: Any, content: Picture, style: Picture
) -> None:
    schedule = Schedule(iterations=6, scales=2)
    steps = list(stylize(shallow, content, [style], schedule=schedule, stops=range(99)))
    assert [(step.iteration, step.size) for step in steps] == [
        *((i, (24, 32)) for i in range(4)),
        *((i, (48, 64)) for i in range(4, 10)),
    ]
    assert all(step.total == 9 and step.result.pixels.shape == (1, 48, 64, 3) for step in steps)
    assert [step.last for step in steps] == [False] * 9 + [True]
    # A coarse iteration is a quarter of the work of a fine one, and there are half as many.
    shares = [i / 27 for i in range(4)] + [(3 + 4 * i) / 27 for i in range(1, 7)]
    assert [step.share for step in steps] == pytest.approx(shares)
    assert steps[-1].result.iteration > 3


def test_the_first_picture_is_let_go_of(shallow: Any, content: Picture, style: Picture) -> None:
    loss, schedule = Loss(shallow, Objective()), Schedule(iterations=3)
    targets = loss.targets(as_pixels(content), [as_pixels(style)])
    optimizer = optimizers.make(schedule)
    descent = Descent(loss.value_and_gradient, lambda *_: optimizer, schedule)
    pixels = as_pixels(content)
    given, steps = weakref.ref(pixels), descent.steps(pixels, targets, 3, stops=range(4))
    del pixels
    first = weakref.ref(next(steps).pixels)
    gc.collect()
    assert given() is None
    assert first() is not None
    next(steps)
    gc.collect()
    assert first() is None


def test_a_finer_size_goes_on_from_the_coarser(
    shallow: Any, content: Picture, style: Picture
) -> None:
    """Two sizes are two runs, the second from the first one's result, refined."""
    plan: dict[str, Any] = {"iterations": 5, "optimizer": "adam"}
    both = stylize_image(shallow, content, [style], schedule=Schedule(scales=2, **plan))
    small = resize(content, 24, 32)
    half: dict[str, Any] = plan | {"iterations": 3}
    *_, coarse = stylize(shallow, small, [style], schedule=Schedule(**half))
    loss = Loss(shallow, Objective())
    targets = loss.targets(as_pixels(content), [resize_style(style, 64)])
    optimizer = optimizers.make(Schedule(**plan))
    states = [optimizer.start(refine(coarse.result.pixels, content, 48, 64))]
    for _ in range(6):  # the first looks at the first picture
        states.append(optimizer.step(lambda p: loss.value_and_gradient(p, targets), states[-1]))
    best = min(states, key=lambda state: float(state.terms.total))
    assert np.abs(np.clip(best.pixels[0], 0, 255) - both).max() < 0.05


def test_a_size_is_done_when_its_loss_no_longer_falls(
    shallow: Any, content: Picture, style: Picture
) -> None:
    arguments: dict[str, Any] = {"stops": range(1, 2000), "heartbeat": 1e9}
    schedule = Schedule(iterations=600, scales=2, tolerance=0.01)
    steps = list(stylize(shallow, content, [style], schedule=schedule, **arguments))
    for size in ((24, 32), (48, 64)):
        own = [step for step in steps if step.size == size]
        losses = [step.result.loss for step in own if step.iteration]
        assert 20 <= len(losses) < 300
        assert len(losses) % 20 == 0
        marks = losses[19::20]
        assert len(marks) > 2
        # It fell enough in every window but the last.
        falls = [after < 0.99 * before for before, after in pairwise(marks)]
        assert falls == [True] * (len(falls) - 1) + [False]
    last = steps[-1]
    assert last.last
    assert last.total == last.iteration < 800
    assert last.share == 1
    assert [step.last for step in steps[:-1]] == [False] * (len(steps) - 1)


def tracings(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """The threads in which losses are traced from now on, one each time."""
    traced: list[threading.Thread] = []
    plain = Loss.value_and_gradient

    def noted(loss: Loss, *args: Any) -> Any:
        traced.append(threading.current_thread())
        return plain(loss, *args)

    monkeypatch.setattr(Loss, "value_and_gradient", noted)
    return traced


def test_the_network_is_made_ready_while_the_draft_is_painted(
    shallow: Any, content: Picture, style: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a thread of its own; and where that fails, the run does without."""

    def failing(*_: Any) -> None:
        raise RuntimeError("no room")

    traced = tracings(monkeypatch)
    other = build(Weights(tiny.near(), MEAN), layers=Objective().layers)
    given = shallow, content, [style]
    schedule = Schedule(iterations=6)
    ready = loop.stylize_image(*given, schedule=schedule, draft=other, graphs=Graphs(0))
    monkeypatch.setattr(Optimization, "prepare", failing)
    late = loop.stylize_image(*given, schedule=schedule, draft=other, graphs=Graphs(0))
    by_main = [thread is threading.main_thread() for thread in traced]
    assert sorted(by_main[:2]) == [False, True]  # they are traced at the same time
    assert by_main[2:] == [True, True]
    np.testing.assert_array_equal(ready, late)


def test_runs_that_are_alike_share_their_graphs(
    shallow: Any, content: Picture, style: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced = tracings(monkeypatch)
    both, graphs = [style, tiny.picture(30, 40, 9)], Graphs()
    first = Objective(), Schedule(iterations=2)
    other = Objective(content_weight=1.0, tv_weight=1e3, style_blend_weights=(1, 3))
    second = other, Schedule(iterations=4, scales=2, seed=3, initial_noiseblend=0.5)
    stylize_image(shallow, content, [style], *first, graphs=graphs)
    shared = stylize_image(shallow, content[:40], both, *second, graphs=graphs)
    assert len(traced) == 1
    alone = stylize_image(shallow, content[:40], both, *second, graphs=Graphs(0))
    assert len(traced) == 2
    np.testing.assert_array_equal(shared, alone)


def test_runs_that_are_given_no_graphs_share_the_last_ones(
    content: Picture, style: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced = tracings(monkeypatch)
    weights = Weights(tiny.weights(), np.array(tiny.MEAN_PIXEL, np.float32))
    networks = [build(weights, layers=Objective().layers) for _ in range(3)]
    for count, network in enumerate([*networks[:2], *networks[:2], networks[2], networks[0]]):
        loop.stylize_image(network, content, [style], schedule=Schedule(iterations=1))
        assert len(traced) == (1, 2, 2, 2, 3, 4)[count]


def test_threads_may_share_graphs(content: Picture) -> None:
    weights = Weights(tiny.weights(), np.array(tiny.MEAN_PIXEL, np.float32))
    network = build(weights, layers=Objective().layers)
    schedule = Schedule(iterations=3, scales=1)

    def painted(seed: int) -> np.ndarray:
        return loop.stylize_image(network, content, [tiny.picture(30, 40, seed)], None, schedule)

    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(painted, range(4)))
    for seed, picture in enumerate(together):
        np.testing.assert_array_equal(picture, painted(seed))


class Alike:
    """Networks that think themselves equal, whatever is in them."""

    def __call__(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        return {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Alike)


def test_which_runs_are_alike(shallow: Any) -> None:
    graphs, first = Graphs(2), (Objective(), Schedule())
    one = graphs.optimization(shallow, *first, None)
    for objective, schedule in (
        (Objective(style_weight=2.0, style_blend_weights=(1, 2)), Schedule(optimizer="lbfgs")),
        (Objective(), Schedule(iterations=3, scales=2, seed=4, initial_noiseblend=0.1)),
        (Objective(), Schedule(tolerance=0.5)),
    ):
        assert graphs.optimization(shallow, objective, schedule, None) is one
    for objective, schedule, tiles in (
        (Objective(tv_weight=0.0), Schedule(), None),
        (Objective(style_layers={"relu1_1": 1.0, "relu2_1": 2.0}), Schedule(), None),
        (Objective(gram_norm="hw"), Schedule(), None),
        (Objective(), Schedule(history=1), None),
        (Objective(), Schedule(keep="last"), None),
        (Objective(), Schedule(learning_rate=1.0), None),
        (*first, Tiles(32, Reach({}, 32))),
    ):
        assert graphs.optimization(shallow, objective, schedule, tiles) is not one
        assert graphs.optimization(shallow, *first, None) is one
    alike, other = Alike(), Alike()
    assert graphs.optimization(alike, *first, None) is graphs.optimization(alike, *first, None)
    assert graphs.optimization(alike, *first, None) is not graphs.optimization(other, *first, None)
    # Two are kept, and there were two since.
    assert graphs.optimization(shallow, *first, None) is not one


def test_the_tolerance_is_a_runs_own(shallow: Any, content: Picture, style: Picture) -> None:
    kept = Graphs(1)
    done = []
    for tolerance in (0.0, 0.9, 0.0):
        schedule = Schedule(iterations=60, scales=1, tolerance=tolerance)
        *_, last = loop.stylize(shallow, content, [style], schedule=schedule, graphs=kept)
        done.append(last.iteration)
    assert done == [60, 20, 60]
    assert len(kept.kept.kept) == 1


class Exploding:
    """A network whose features are NaN from the n-th call on (content, style, start, steps …)."""

    def __init__(self, network: Any, call: int) -> None:
        self.network, self.call, self.calls = network, call, tf.Variable(0)

    def __call__(self, pixels: tf.Tensor) -> Mapping[str, tf.Tensor]:
        now = self.calls.assign_add(1)
        factor = tf.where(now < self.call, 1.0, np.nan)
        return {name: factor * value for name, value in self.network(pixels).items()}


def test_infinity_stops_the_run_with_the_last_finite_picture(
    shallow: Any, content: Picture, style: Picture
) -> None:
    seen = []
    with pytest.raises(DivergedError, match=r"at iteration 8: .* learning rate \(20\)"):
        for step in stylize(
            Exploding(shallow, 3 + 8),
            content,
            [style],
            schedule=Schedule(iterations=200, learning_rate=20),
            heartbeat=1e9,
        ):
            seen.append(step)
    last = seen[-1]
    assert last.iteration == 7
    assert np.isfinite(last.pixels).all()
    assert np.isfinite(last.terms).all()


def test_a_first_picture_without_a_finite_loss_is_an_error_at_once(
    shallow: Any, content: Picture, style: Picture
) -> None:
    with pytest.raises(DivergedError, match="the loss at the start, or its gradient, is NaN"):
        next(stylize(Exploding(shallow, 3), content, [style]))


def test_so_is_one_without_a_finite_gradient(
    shallow: Any, content: Picture, style: Picture
) -> None:
    @tf.custom_gradient
    def steep(x: tf.Tensor) -> Any:
        return tf.identity(x), lambda upstream: upstream * np.nan

    def network(pixels: tf.Tensor) -> Mapping[str, tf.Tensor]:
        return {name: steep(value) for name, value in shallow(pixels).items()}

    with pytest.raises(DivergedError, match="the loss at the start, or its gradient, is NaN"):
        next(stylize(network, content, [style]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"style_scales": (1.0, 2.0)}, r"one style scale for each of 1 style\(s\), got 2"),
        ({"style_scales": (0.0,)}, "must be a finite number above 0, got 0"),
        ({"objective": Objective(style_blend_weights=(1, 2))}, "blend weight for each of 1"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    shallow: Any, content: Picture, style: Picture, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        next(stylize(shallow, content, [style], **arguments))


def test_pictures_with_nan_are_refused(shallow: Any, content: Picture, style: Picture) -> None:
    torn = {"content": content * 1.0, "style": style * 1.0, "initial": content * 1.0}
    for name in torn:
        given = torn | {name: torn[name] * np.nan}
        with pytest.raises(OptionError, match="got some that are NaN or infinite"):
            next(stylize(shallow, given["content"], [given["style"]], initial=given["initial"]))


def test_a_kept_style_needs_the_layers_that_are_compared(shallow: Any, content: Picture) -> None:
    kept = KeptStyle({64: {"relu1_1": np.eye(4, dtype=np.float32)}}, shallow.measures, {})
    with pytest.raises(OptionError, match="the kept style lacks relu2_1: expected one of relu1_1"):
        next(stylize(shallow, content, [kept]))


def test_a_style_by_itself_is_no_list(shallow: Any, content: Picture, style: Picture) -> None:
    for alone in (style, Painting(style), "a.jpg"):
        with pytest.raises(
            OptionError, match=r"expected a list of styles, got .*\[style\] for one"
        ):
            next(stylize(shallow, content, alone))  # type: ignore[arg-type]


@pytest.mark.parametrize("objective", [Objective(content_weight=0), Objective(style_weight=0)])
def test_a_network_that_lacks_layers_is_refused(
    shallow: Any, content: Picture, style: Picture, objective: Objective
) -> None:
    with pytest.raises(OptionError, match=r"compares .*relu\d_\d: expected a network that gives"):
        next(stylize(lambda x: {"relu1_1": shallow(x)["relu1_1"]}, content, [style], objective))


def test_stylize_image_lets_go_of_the_pictures_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most = []

    class Pixels(list[Any]):
        __hash__ = object.__hash__  # type: ignore[assignment]

    def steps() -> Any:
        for number in range(9):
            pixels = Pixels([tf.fill((2, 2, 3), float(number))])
            alive.add(pixels)
            most.append(len(alive))
            yield SimpleNamespace(result=SimpleNamespace(pixels=pixels))

    monkeypatch.setattr(loop, "stylize", steps)
    assert (loop.stylize_image() == 8).all()
    assert max(most) <= 3, "not all nine"


def test_the_loop_is_for_xla_too(
    shallow: Any, content: Picture, style: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is compiled on a GPU, whole: history, line search, and a network's variables in it."""
    given = shallow, content, [style], Objective(), Schedule(iterations=12, scales=1)
    *_, plain = loop.stylize(*given)
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: [object()])
    *_, compiled = loop.stylize(*given)
    assert compiled.iteration == plain.iteration == 12
    assert compiled.result.loss == pytest.approx(plain.result.loss, rel=1e-2)
    assert np.abs(compiled.result.pixels - plain.result.pixels).mean() < 0.5
