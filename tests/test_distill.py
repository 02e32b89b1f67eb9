"""benchmarks/distill: the pictures it learns on, and that what it exports is what it trained."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import tiny

ROOT = Path(__file__).parent.parent


@pytest.fixture
def distill(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its modules import each other as scripts do."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "distill"))
    for name in ("pictures", "networks", "channels", "fit", "grown", "bank", "train"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_a_folder_of_pictures(distill: None, tmp_path: Path) -> None:
    import pictures

    (tmp_path / "deep").mkdir()
    Image.fromarray(tiny.picture(80, 1000, 1)).save(tmp_path / "deep" / "wide.png")
    Image.fromarray(tiny.picture(100, 90, 2)).convert("L").save(tmp_path / "grey.jpg")
    Image.new("RGB", (200, 200), "red").save(tmp_path / "flat.png")
    (tmp_path / "text.png").write_text("none")
    with pytest.raises(pictures.DataError, match="got none that can be used in"):
        pictures.read(tmp_path / "deep")  # reduced, it is too low
    found = pictures.read(tmp_path)
    assert {name: picture.shape for name, picture in found.items()} == {"grey.jpg": (100, 90, 3)}


def test_samples_are_pictures_and_the_same_for_the_same_seed(distill: None) -> None:
    import pictures

    data = [tiny.picture(100, 90, 1), tiny.picture(70, 200, 2)]

    def drawn(seed: int) -> Any:
        random = np.random.default_rng(seed)
        return np.stack([pictures.sample(data, 48, random) for _ in range(40)])

    samples = drawn(1)
    assert samples.shape == (40, 48, 48, 3)
    assert samples.dtype == np.float32
    assert -20 <= samples.min() < 0 < 255 < samples.max() <= 275
    np.testing.assert_array_equal(samples, drawn(1))
    assert np.abs(samples - drawn(2)).mean() > 10


def test_noise_has_the_spectrum_that_was_asked_for(distill: None) -> None:
    import pictures

    for exponent in (0.0, 1.0):
        waves = np.fft.fft2(pictures.noise(256, exponent, np.random.default_rng(3))[..., 0])
        power = np.abs(waves) ** 2
        slow, fast = power[8, :17].mean(), power[64, 56:73].mean()
        assert np.log(slow / fast) / np.log(64.5 / 11) / 2 == pytest.approx(exponent, abs=0.4)


@pytest.mark.parametrize(("rounds", "precision"), [(1, "float32"), (2, "bfloat16")])
def test_the_export_is_the_student(
    distill: None, tmp_path: Path, rounds: int, precision: str
) -> None:
    """All of the training on a random teacher; then PyTorch and Keras see the same."""
    torch = pytest.importorskip("torch", reason="the training script needs PyTorch")
    pytest.importorskip("pytorch_optimizer", reason="the training script needs it")
    from bank import WEIGHTS
    from networks import NAMES, Teacher
    from pictures import DataError
    from train import Settings, Training

    from neural_style_tf.networks import embedded
    from vgg.errors import WeightsError
    from vgg.network import build
    from vgg.weights import Weights, read, write_npz

    teacher = Weights(tiny.weights((64, 128, 256, 512, 512)), np.array(tiny.MEAN_PIXEL))
    settings = Settings(
        fit_crops=16,
        rounds=rounds,
        crops=6,
        grown=1,
        size=48,
        steps=4,
        batch=4,
        learning_rate=3e-4,
        warmup=1,
        precision=precision,
    )
    data = [tiny.picture(64, 80, 1), tiny.picture(90, 70, 2)]

    def begun() -> Training:
        return Training(Teacher(teacher), data, settings, "cpu")

    training = begun()
    running = training.run(tmp_path / "whole", every=2)
    lines = [next(running)]
    fitted = training.student.factors["conv4_1/1"].detach().clone()
    lines.append(next(running))
    assert not torch.equal(fitted, training.student.factors["conv4_1/1"])
    assert training.grown is not None
    assert not training.grown.requires_grad
    grown = training.grown
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    lines.append(next(running))
    assert torch.equal(grown, training.grown) == (rounds == 1)
    taught = {name: value.clone() for name, value in training.student.state_dict().items()}
    lines += running
    # What was taught stays; what was not is embedded anew.
    anew = {k for k, v in training.student.state_dict().items() if not torch.equal(v, taught[k])}
    assert {"embeddings.relu3_3", "embeddings.conv4_1"} <= anew
    assert all(k.startswith("embeddings.") for k in anew)
    assert not anew & {f"embeddings.{layer}" for layer in ("conv1_1", "relu1_1", *WEIGHTS)}
    begins = ("least squares, 16 pictures: ", "step 2, loss ", "step 4, loss ", "all layers: ")
    assert all(line.startswith(begin) for line, begin in zip(lines, begins, strict=True))
    losses = [float(line[len(begins[1]) :].partition(":")[0]) for line in lines[1:3]]
    assert losses[1] < losses[0] < 100
    assert list(begun().run(tmp_path / "cut", every=2)) == [
        "continued after step 2",
        *lines[2:],
    ]
    assert list(begun().run(tmp_path / "cut")) == ["continued after step 4"]
    write_npz(tmp_path / "student.npz", training.student.weights({"name": "student"}))
    layers = [name.replace("conv", "relu") for name in NAMES]
    pixels = tiny.picture(37, 45, 3).astype(np.float32)
    model = build(read(tmp_path / "student.npz"), layers=layers)
    assert {"relu1_1", "relu4_1"} <= model.embeddings.keys()
    seen = embedded(model, model(pixels[None]))
    with torch.no_grad():
        expected = training.student(torch.tensor(pixels.transpose(2, 0, 1)[None].copy()))
    for layer in layers:
        wanted = expected[layer].numpy().transpose(0, 2, 3, 1)
        # float16 kernels, one after the other.
        assert np.abs(seen[layer] - wanted).max() <= 0.02 * np.abs(wanted).max(), layer
    gone_on = Training(Teacher(teacher), data, settings, "cpu", read(tmp_path / "student.npz"))
    with torch.no_grad():
        again = gone_on.student(torch.tensor(pixels.transpose(2, 0, 1)[None].copy()))
    for layer in layers:
        wanted = seen[layer].numpy().transpose(0, 3, 1, 2)
        assert np.abs(again[layer].numpy() - wanted).max() <= 1e-4 * np.abs(wanted).max(), layer
    assert next(gone_on.run(tmp_path / "on", every=2)).startswith("step 2, loss ")
    with pytest.raises(DataError, match="'start': 'least squares'}, got one with "):
        next(begun().run(tmp_path / "on"))
    with pytest.raises(WeightsError, match=r"kernel: expected \(32, 3, 3, 3\), got \(64, "):
        Training(Teacher(teacher), data, settings, "cpu", teacher)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_distance_is_what_is_missed_of_features_and_of_gram_matrices(
    distill: None, precision: str
) -> None:
    """Against NumPy float64; nothing is missed of the teacher itself."""
    torch = pytest.importorskip("torch", reason="the training script needs PyTorch")
    from bank import FLOOR, GRAMS, WEIGHTS, Bank
    from networks import Teacher, thinned

    from vgg.weights import Weights

    teacher = Teacher(Weights(tiny.weights((8, 8, 8, 8, 8)), np.array(tiny.MEAN_PIXEL)))
    pixels = torch.tensor(np.stack([tiny.picture(32, 32, i) for i in range(3)]) / 1.0).float()
    pixels = pixels.permute(0, 3, 1, 2)
    bank, chosen = Bank(teacher, pixels, precision), torch.tensor([2, 0])
    with torch.no_grad():
        seen = teacher(pixels, tuple(WEIGHTS))
    asked = {layer: thinned(layer, activation) for layer, activation in seen.items()}
    assert asked["relu2_1"].shape == asked["relu3_1"].shape == (3, 8, 8, 8)
    # Kept in float16; in bfloat16 the teacher itself sees eight bits.
    least = 1e-4 if precision == "float32" else 1e-3
    assert bank.distance({k: v[chosen] for k, v in asked.items()}, chosen) < least
    given = {k: v[chosen] * 0.7 + 0.1 * v.std() for k, v in asked.items()}
    # Not along what is asked for: else the products would be symmetric by themselves.
    given = {k: v + 0.5 * v.std() * v.flip(1) / v.abs().max() for k, v in given.items()}
    expected = 0.0
    for layer, weight in WEIGHTS.items():
        target, got = (
            features[layer].numpy().astype(np.float64).reshape(n, 8, -1)
            for features, n in ((asked, 3), (given, 2))
        )
        grams, own = (f @ f.transpose(0, 2, 1) / f[0].size for f in (target, got))
        pairs = (
            (target - target.mean(2, keepdims=True), got - target[chosen], 1.0),
            (grams, own - grams[chosen], GRAMS),
        )
        for size, wrong, share in pairs:
            sizes = (size**2).sum((1, 2))
            relative = (wrong**2).sum((1, 2)) / (sizes[chosen] + FLOOR * sizes.mean())
            expected += weight * share * relative.mean()
    assert float(bank.distance(given, chosen)) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(("precision", "within"), [("float32", 1e-5), ("bfloat16", 0.02)])
def test_the_gradient_of_that_of_gram_matrices_is_the_library_s(
    distill: None, precision: str, within: float
) -> None:
    torch = pytest.importorskip("torch", reason="the training script needs PyTorch")
    from bank import _GramDistance

    random = torch.Generator().manual_seed(0)
    asked = torch.rand(2, 40, 6, generator=random)
    given = (asked + 0.2 * torch.rand(2, 40, 6, generator=random)).requires_grad_()
    counting = torch.tensor([1.0, 3.0])
    difference = given.mT @ given - asked.mT @ asked
    expected = difference.square().sum((1, 2))
    wanted = torch.autograd.grad((counting * expected).sum(), given)[0]
    distance = _GramDistance.apply(given, asked, precision)
    gradient = torch.autograd.grad((counting * distance).sum(), given)[0]
    torch.testing.assert_close(distance, expected, rtol=within, atol=0)
    assert (gradient - wanted).norm() <= within * wanted.norm()


def test_channels_that_others_follow_from_are_kept(distill: None) -> None:
    """Of activations that three channels and a fourth for the next layer alone make up, those."""
    torch = pytest.importorskip("torch", reason="the training script needs PyTorch")
    from channels import choose

    random = np.random.default_rng(4)
    own = random.normal(0, 1, (2, 4, 9, 9))
    own[:, 3] *= 0.01  # next to nothing of all, but the next layer lives on it
    mixed = np.einsum("bkhw,kc->bchw", own[:, :3], random.uniform(0.2, 0.5, (3, 4)))
    activation = torch.tensor(np.concatenate([mixed[:, :2], own, mixed[:, 2:]], 1))
    kernel = torch.zeros(5, 8, 3, 3, dtype=torch.float64)
    kernel[:, 5] = 1000.0
    chosen = choose(activation, kernel, 4, "relu3_2").tolist()
    assert 5 in chosen
    f = activation.permute(0, 2, 3, 1).reshape(-1, 8)
    left = f - f[:, chosen] @ torch.linalg.lstsq(f[:, chosen], f).solution
    assert left.norm() < 1e-3 * f.norm()
