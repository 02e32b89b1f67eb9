"""Where training starts: each layer by least squares, from what the student sees of the one before.

As channel pruning refits (He et al. 2017, arXiv:1707.06168) and Zhang et al. 2015
(arXiv:1505.06798) factor responses rather than kernels: errors of earlier layers are corrected by
later ones as far as that can be.
"""

from __future__ import annotations

import numpy as np
import torch
from networks import NAMES, RANKS, Student, Teacher, pool, relu, walk
from torch import Tensor
from torch.nn import functional

# Positions that a layer is fitted on, where the pictures have so many.
POSITIONS = 60_000


def fit(student: Student, teacher: Teacher, pixels: Tensor, random: np.random.Generator) -> None:
    """Set the student's kernels from pictures `[B, 3, H, W]`."""
    with torch.no_grad():
        wide = seen = pixels
        for index, (name, pooled) in enumerate(walk()):
            if pooled or not index:
                # Each pooling leaves a quarter of the positions: the deeper, the more pictures.
                some = pixels[: max(1, len(pixels) // 4 ** max(0, 3 - int(name[4])))]
                wide, seen = _inputs(student, teacher, some, index)
            before = teacher.convolve(index, wide)
            wide = functional.relu(before)
            student.scales[index] = wide.square().mean().sqrt()
            if index:
                _fit_layer(student, name, teacher.kernels[index], seen, before, index, random)
                seen = functional.relu(student.convolve(name, seen))
            else:
                seen = student.first(some)


def _inputs(
    student: Student, teacher: Teacher, pixels: Tensor, index: int, batch: int = 16
) -> tuple[Tensor, Tensor]:
    """What a block's first convolution gets, from the teacher and (unit size) from the student."""
    if not index:
        return pixels - teacher.mean, pixels
    last = NAMES[index - 1]
    parts = pixels.split(batch)
    wide = torch.cat([pool(teacher(part, last)[relu(last)]) for part in parts])
    seen = torch.cat([pool(student(part, last)[relu(last)]) for part in parts])
    return wide, seen / student.scales[index - 1]


def _fit_layer(
    student: Student,
    name: str,
    kernel: Tensor,
    seen: Tensor,
    before: Tensor,
    index: int,
    random: np.random.Generator,
) -> None:
    """One layer's factors, so that they give the teacher's activation before the rectifier.

    Args:
        student: whose factors are set.
        name: of the layer.
        kernel: the teacher's, `[out, in, 3, 3]`.
        seen: the student's own input of unit size, `[B, in, h, w]`.
        before: the teacher's activation, `[B, out, h, w]`.
        index: of the layer, for its scale.
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
    outputs = before.permute(0, 2, 3, 1)[b, y, x] / student.scales[index]
    solution, offset = _least_squares(inputs, outputs)
    given = inputs @ solution
    mean = given.mean(0)
    spread = (given - mean).T @ (given - mean)
    basis = torch.linalg.eigh(spread.double())[1][:, -middle:].float()
    kept = given @ basis
    size = kept.std(0)
    second = (solution @ basis / size).T.reshape(middle, narrow, 3, 3)
    third = (basis * size).reshape(-1, middle, 1, 1)
    # What the basis leaves out is constant as far as it knows: into the bias.
    bias = offset + mean - mean @ basis @ basis.T
    if name[4] == "5":
        # Least squares shrinks towards the mean what it knows badly, and after the rectifier little
        # is left of it. Each channel gets its spread back: Gram matrices are of spreads. (Not in
        # the blocks before, where the layers to come would make more of the errors: measured.)
        gain = outputs.std(0) / (kept @ basis.T).std(0)
        third = third * gain.view(-1, 1, 1, 1)
        bias = (bias - outputs.mean(0)) * gain + outputs.mean(0)
    for part, value in enumerate((first, second, third)):
        student.factors[f"{name}/{part}"].copy_(value)
    student.factors[f"{name}/bias"].copy_(bias)


def _least_squares(inputs: Tensor, outputs: Tensor, ridge: float = 1e-4) -> tuple[Tensor, Tensor]:
    """The matrix and offset of the best affine map, lightly held back."""
    mean, target = inputs.mean(0), outputs.mean(0)
    a = ((inputs - mean).T @ (inputs - mean)).double()
    a += ridge * torch.diag(a.diagonal().clamp(min=1e-6))
    right = ((inputs - mean).T @ (outputs - target)).double()
    solution = torch.linalg.solve(a, right).float()
    return solution, target - mean @ solution


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
