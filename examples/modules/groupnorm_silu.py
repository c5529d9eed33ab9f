"""The normalise-and-activate half of a diffusion U-Net's residual block: GroupNorm, time embedding, SiLU."""

import torch
import torch.nn.functional as F
from torch import nn


class NormAct(nn.Module):
    def __init__(self, channels: int, embedding: int, groups: int = 32):
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.to_scale_shift = nn.Linear(embedding, 2 * channels)

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        scale, shift = self.to_scale_shift(F.silu(time))[:, :, None, None].chunk(2, dim=1)
        return F.silu(self.norm(x) * (1 + scale) + shift)


def factory():
    return NormAct(128, 256).eval(), (torch.randn(1, 128, 64, 64), torch.randn(1, 256))
