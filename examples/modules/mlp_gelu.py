"""The MLP block of a small transformer: expand fourfold, GELU, project back."""

import torch
from torch import nn


class Mlp(nn.Module):
    def __init__(self, width: int, expansion: int = 4):
        super().__init__()
        self.fc1 = nn.Linear(width, expansion * width)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(expansion * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.act(self.fc1(x)))


def factory():
    return Mlp(384).eval(), (torch.randn(1, 197, 384),)
