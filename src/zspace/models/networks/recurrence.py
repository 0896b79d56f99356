r"""The recurrence of a GRU on a CPU, for sequences of several lengths.

    a_t = U h_t-1 + b
    r_t = s(g_t + a_t)_r    z_t = s(g_t + a_t)_z    n_t = tanh(g_t + r_t a_t)_n
    h_t = (1 - z_t) n_t + z_t h_t-1                 g_t = V x_t + c, what x adds to the gates

torch's own goes on after the end of a sequence, and sums the gradient of U step by step. Here
longer sequences come first, so that a step computes those rows alone that have not ended, and the
gradient of U is one product at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Recurrence(torch.autograd.Function):
    """``Recurrence.apply(gates, weight, bias, running)`` gives every h_t, (T, B, W).

    Arguments:
        gates: g (T, B, 3 W), in torch's order r, z, n; rows that end later come first.
        weight: U (3 W, W).
        bias: b (3 W,).
        running: Of each step, how many rows have not ended: at most B, and never growing. h is 0
            in rows that have.

    >>> gates, weight = torch.ones(2, 3, 3), torch.zeros(3, 1)
    >>> Recurrence.apply(gates, weight, torch.zeros(3), [3, 1])[:, :, 0]
    tensor([[0.2048, 0.2048, 0.2048],
            [0.3546, 0.0000, 0.0000]])
    """

    @staticmethod
    def forward(
        ctx: Any, gates: Tensor, weight: Tensor, bias: Tensor, running: Sequence[int]
    ) -> Tensor:
        steps, rows, w = *gates.shape[:2], weight.shape[1]
        out, kept = gates.new_zeros(steps, rows, w), []
        h, across = gates.new_zeros(rows, w), weight.t()
        for t, n in enumerate(running):
            if not n:
                break
            g, a = gates[t, :n], torch.addmm(bias, h[:n], across)
            a[:, : 2 * w].add_(g[:, : 2 * w]).sigmoid_()
            new = torch.addcmul(g[:, 2 * w :], a[:, :w], a[:, 2 * w :]).tanh_()
            h = torch.lerp(new, h[:n], a[:, w : 2 * w], out=out[t, :n])
            kept.append((a, new))
        ctx.save_for_backward(weight, out)
        ctx.kept, ctx.running = kept, running
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        weight, out = ctx.saved_tensors
        (steps, rows, w), gated = out.shape, 2 * out.shape[2]
        of_gates = out.new_zeros(steps, rows, 3 * w)
        of_last = out.new_zeros(steps, rows, w)  # of a_n, where a and g differ
        first, dh = out.new_zeros(rows, w), out.new_zeros(0, w)
        for t in reversed(range(len(ctx.kept))):
            n, (a, new) = ctx.running[t], ctx.kept[t]
            before = out[t - 1, :n] if t else first[:n]
            r, z = a[:, :w], a[:, w:gated]
            now = gradient[t, :n].clone()
            now[: len(dh)] += dh
            d, last = of_gates[t, :n], of_last[t, :n]
            kept = now * z
            torch.mul(now - kept, 1 - new * new, out=d[:, gated:])
            torch.mul(d[:, gated:], r, out=last)
            torch.mul(last * a[:, gated:], 1 - r, out=d[:, :w])
            torch.mul(kept * (before - new), 1 - z, out=d[:, w:gated])
            dh = kept.addmm_(d[:, :gated], weight[:gated]).addmm_(last, weight[gated:])
        past = torch.cat([first[None], out[:-1]]).flatten(0, 1)
        parts = of_gates[..., :gated].flatten(0, 1), of_last.flatten(0, 1)
        of_weight = torch.cat([part.t() @ past for part in parts])
        of_bias = torch.cat([part.sum(0) for part in parts])
        return of_gates, of_weight, of_bias, None
