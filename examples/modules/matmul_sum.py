"""A matrix product whose result is summed away: algebra turns it into a matrix-vector product."""

import torch
from torch import nn


class MatmulSum(nn.Module):
    def __init__(self, in_features: int, out_features: int):
        super().__init__()
        self.linear = nn.Linear(in_features, out_features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x).sum(dim=1, keepdim=True)


def factory():
    return MatmulSum(1024, 1024).eval(), (torch.randn(256, 1024),)
