"""Which of the teacher's channels the student keeps, and what they tell of the others."""

from __future__ import annotations

from collections.abc import Collection

import torch
from networks import STYLE, Student, relu
from torch import Tensor


def rows(activation: Tensor) -> Tensor:
    """`[B, C, h, w]` -> `[B·h·w, C]`."""
    return activation.permute(0, 2, 3, 1).reshape(-1, activation.shape[1])


def choose(activation: Tensor, kernel: Tensor, count: int, layer: str) -> Tensor:
    """The channels of which least squares makes most of what is needed, in order: `[count]`.

    One after the other, each the one after which least is left of all channels, whose Gram matrices
    are compared, and of what the next layer makes of them (forward selection).

    Args:
        activation: the teacher's, `[B, C, h, w]`.
        kernel: the teacher's next one, `[out, C, 3, 3]`.
        count: how many.
        layer: the name of the activation; those of the style count more.
    """
    f = rows(activation).double()
    left = f.T @ f
    needed = torch.einsum("oihw,ojhw->ij", kernel, kernel).double()
    needed /= (needed * left).sum()
    itself = torch.eye(len(left), dtype=left.dtype, device=left.device) / left.diagonal().sum()
    root = torch.linalg.cholesky(needed + (2.0 if layer in STYLE else 0.3) * itself)
    least = 1e-9 * left.diagonal().sum()
    chosen: list[int] = []
    for _ in range(count):
        own = left.diagonal()
        gain = torch.where(own > least, (root.T @ left).square().sum(0) / own.clamp(min=least), 0)
        gain[chosen] = -1
        best = int(gain.argmax())
        chosen.append(best)
        if own[best] > least:
            left = left - torch.outer(left[:, best], left[best]) / left[best, best]
    return torch.tensor(sorted(chosen))


def embed(
    student: Student,
    name: str,
    seen: Tensor,
    before: Tensor,
    scale: Tensor,
    taught: Collection[str] = (),
) -> None:
    """Set a layer's embeddings, before its rectifier and after, by least squares.

    Args:
        student: whose they are.
        name: of the convolution.
        seen: what the student makes of it, before the rectifier, of unit size: `[B, k, h, w]`.
        before: the teacher's, `[B, C, h, w]`.
        scale: by which the teacher's is divided.
        taught: activations whose embeddings stay as they are.
    """
    pairs = {name: (seen, before), relu(name): (seen.relu(), before.relu())}
    for layer, (given, asked) in pairs.items():
        if layer in student.embeddings and layer not in taught:
            f, target = rows(given).double(), rows(asked).double() / scale
            square, cross = f.T @ f, f.T @ target
            square += 1e-5 * torch.diag(square.diagonal().clamp(min=1e-6))
            matrix = torch.linalg.solve(square, cross)
            # Least squares leaves out what it does not know. What it knows stands for that, too:
            # else style would count less than it does with the teacher.
            spread = torch.einsum("kc,kl,lc->", matrix, f.T @ f, matrix)
            matrix *= (target.square().sum() / spread).sqrt()
            student.embeddings[layer].copy_(matrix)
