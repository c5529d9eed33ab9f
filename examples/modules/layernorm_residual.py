"""A post-norm residual join: bias, residual and LayerNorm, as between the halves of a BERT layer."""

import torch
import torch.nn as nn


class Model(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width))
        self.norm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, hidden: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        return self.norm(hidden + self.bias + residual)


batch_size = 8
tokens = 256
width = 768


def get_inputs():
    return [torch.randn(batch_size, tokens, width), torch.randn(batch_size, tokens, width)]


def get_init_inputs():
    return [width]
