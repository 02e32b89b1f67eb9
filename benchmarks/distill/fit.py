"""Where training starts: each layer by least squares, from what the student sees of the one before.

As channel pruning refits (He et al. 2017, arXiv:1707.06168) and Zhang et al. 2015
(arXiv:1505.06798) factor responses rather than kernels: errors of earlier layers are corrected by
later ones as far as that can be.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from channels import choose, embed
from networks import KEPT, NAMES, RANKS, Student, Teacher, pool, relu, walk
from torch import Tensor
from torch.nn import functional

# Positions that a layer is fitted on, where the pictures have so many.
POSITIONS = 60_000
# How heavily each of the turns of `_rectified` is held to what there was before.
PENALTIES = (*[0.01] * 6, *[0.1] * 3, *[1.0] * 3)


def fit(
    student: Student,
    teacher: Teacher,
    pixels: Tensor,
    random: np.random.Generator,
    taught: Collection[str] = (),
) -> None:
    """Set which channels the student keeps, its kernels and embeddings, from `[B, 3, H, W]`.

    Args:
        student, teacher, pixels: these.
        random: chooses positions.
        taught: activations that the student knows by now: all stays as it is but for the
            embeddings of the others.
    """
    with torch.no_grad():
        wide = seen = pixels
        kernel = teacher.kernels[0]
        for index, (name, pooled) in enumerate(walk()):
            if pooled or not index:
                # Each pooling leaves a quarter of the positions: the deeper, the more pictures.
                some = pixels[: max(1, len(pixels) // 4 ** max(0, 3 - int(name[4])))]
                wide, seen = _inputs(student, teacher, some, index)
            before = teacher.convolve(index, wide)
            wide = functional.relu(before)
            following = teacher.kernels[index + 1] if index + 1 < len(NAMES) else None
            kept = student.kept[name]
            if not taught:
                if name in KEPT:
                    assert following is not None
                    kept.copy_(choose(wide, following, len(kept), relu(name)))
                student.scales[index] = wide.square().mean().sqrt()
                if index:
                    asked = before[:, kept] / student.scales[index]
                    _fit_layer(student, name, kernel, seen, asked, random)
                else:
                    student.kernel.copy_(kernel[kept])
                    student.bias.copy_(teacher.biases[0][kept])
            scale = student.scales[index]
            if index:
                seen = student.convolve(name, seen)
            else:
                centred = seen - student.mean
                seen = functional.conv2d(centred, student.kernel, student.bias, padding=1) / scale
            if following is not None:
                kernel = following
                if name in KEPT:
                    embed(student, name, seen, before, scale, taught)
                    embedding = student.embeddings[relu(name)]
                    kernel = torch.einsum("oihw,ki->okhw", following, embedding)
            seen = functional.relu(seen)


def _inputs(
    student: Student, teacher: Teacher, pixels: Tensor, index: int, batch: int = 16
) -> tuple[Tensor, Tensor]:
    """What a block's first convolution gets, from the teacher and (unit size) from the student."""
    if not index:
        return pixels - teacher.mean, pixels
    last = relu(NAMES[index - 1])
    parts = pixels.split(batch)
    wide = torch.cat([pool(teacher(part, [last])[last]) for part in parts])
    seen = torch.cat([pool(list(student.slim(part, [last]))[-1][1]) for part in parts])
    return wide, seen


def _fit_layer(
    student: Student,
    name: str,
    kernel: Tensor,
    seen: Tensor,
    asked: Tensor,
    random: np.random.Generator,
) -> None:
    """One layer's factors, so that they give the teacher's activation, after the rectifier.

    Args:
        student: whose factors are set.
        name: of the layer.
        kernel: the teacher's, `[any, in, 3, 3]`, of the channels that the student sees.
        seen: the student's own input of unit size, `[B, in, h, w]`.
        asked: the teacher's activation before the rectifier, of unit size: `[B, out, h, w]`.
        random: chooses positions.
    """
    narrow, middle = RANKS[name]
    # 1×1: the directions of the input that matter most to the teacher's kernel. With M = Σ KᵀK
    # over its outputs and taps, f' = P f minimises E|f − f'|²_M (a PCA in the metric M).
    batch, width, height, across = seen.shape
    flat = seen.permute(0, 2, 3, 1).reshape(-1, width)
    flat = flat[_some(len(flat), POSITIONS, random)]
    centred = flat - flat.mean(0)
    metric = torch.einsum("oihw,ojhw->ij", kernel, kernel).double()
    metric += 1e-6 * metric.diagonal().mean() * torch.eye(width, device=seen.device)
    root = torch.linalg.cholesky(metric)
    covariance = (centred.T @ centred).double() / len(flat)
    directions = (root @ torch.linalg.eigh(root.T @ covariance @ root)[1][:, -narrow:]).float()
    directions /= (flat @ directions).std(0)
    first = directions.T.reshape(narrow, width, 1, 1)
    # 3×3 and 1×1: least squares, then the principal directions of what it gives (reduced rank).
    patches = (
        functional.pad(functional.conv2d(seen, first), (1, 1, 1, 1)).unfold(2, 3, 1).unfold(3, 3, 1)
    )
    chosen = _some(batch * height * across, POSITIONS, random)
    b, y, x = chosen // (height * across), chosen // across % height, chosen % across
    inputs = patches[b, :, y, x].reshape(len(chosen), -1)
    outputs = asked.permute(0, 2, 3, 1)[b, y, x]
    solution, basis, bias = _rectified(inputs, outputs, middle)
    given = inputs @ solution @ basis
    size = given.std(0)
    second = (solution @ basis / size).T.reshape(middle, narrow, 3, 3)
    third = (basis * size).reshape(-1, middle, 1, 1)
    if name[4] == "5":
        # Least squares shrinks what it knows badly. Each channel gets its size back: Gram matrices
        # are of sizes. (Not in the blocks before, where the layers to come would make more of the
        # errors: measured.)
        got = functional.relu(given @ basis.T + bias).square().mean(0)
        gain = (outputs.relu().square().mean(0) / got.clamp(min=1e-6)).sqrt().clamp(max=3)
        third, bias = third * gain.view(-1, 1, 1, 1), bias * gain
    for part, value in enumerate((first, second, third)):
        student.factors[f"{name}/{part}"].copy_(value)
    student.factors[f"{name}/bias"].copy_(bias)


def _rectified(inputs: Tensor, outputs: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """The affine map of that rank whose rectified values are nearest to the outputs' (N rows each).

    Zhang et al. 2015, 3.2: what is below 0 need not be met, but for its sign. In turns, the values
    to aim at, each between what the map gives and what is asked for, and least squares to them.

    Returns:
        Matrix `[in, out]`, orthonormal basis `[out, rank]` and bias `[out]`: x M B Bᵀ + b.
    """
    wanted, solve = functional.relu(outputs), _Regression(inputs)
    target = outputs
    for penalty in (*PENALTIES, None):
        solution, offset = solve(target)
        given = inputs @ solution
        mean = given.mean(0)
        spread = (given - mean).T @ (given - mean)
        basis = torch.linalg.eigh(spread.double())[1][:, -rank:].float()
        # What the basis leaves out is constant as far as it knows: into the bias.
        bias = offset + mean - mean @ basis @ basis.T
        if penalty is None:
            break
        given = given @ basis @ basis.T + bias
        below = given.clamp(max=0)
        above = ((penalty * given + wanted) / (penalty + 1)).clamp(min=0)
        cost_below = wanted.square() + penalty * (below - given).square()
        cost_above = (above - wanted).square() + penalty * (above - given).square()
        target = torch.where(cost_below < cost_above, below, above)
    return solution, basis, bias


class _Regression:
    """The best affine map from inputs `[N, in]`, lightly held back, to any outputs `[N, out]`."""

    def __init__(self, inputs: Tensor, ridge: float = 1e-4) -> None:
        self.inputs, self.mean = inputs, inputs.mean(0)
        a = ((inputs - self.mean).T @ (inputs - self.mean)).double()
        a += ridge * torch.diag(a.diagonal().clamp(min=1e-6))
        self.factor = torch.linalg.cholesky(a)

    def __call__(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Its matrix and offset."""
        target = outputs.mean(0)
        right = ((self.inputs - self.mean).T @ (outputs - target)).double()
        solution = torch.cholesky_solve(right, self.factor).float()
        return solution, target - self.mean @ solution


def _some(count: int, most: int, random: np.random.Generator) -> Tensor:
    return torch.tensor(random.choice(count, min(count, most), replace=False))


def errors(student: Student, teacher: Teacher, pixels: Tensor, batch: int = 8) -> dict[str, float]:
    """Of each layer: the share of the teacher's variance that the student misses."""
    wrong, spread = (dict.fromkeys(map(relu, NAMES), 0.0) for _ in range(2))
    with torch.no_grad():
        for part in pixels.split(batch):
            asked, given = teacher(part), student(part)
            for name, target in asked.items():
                wrong[name] += float((given[name] - target).square().sum())
                centred = target - target.mean((0, 2, 3), keepdim=True)
                spread[name] += float(centred.square().sum())
    return {name: wrong[name] / spread[name] for name in wrong}
