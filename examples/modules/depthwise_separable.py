"""MobileNet's depthwise-separable block: 3x3 depthwise and 1x1 pointwise convolution, batch norm, ReLU6, residual."""

import torch
from torch import nn


class DepthwiseSeparable(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.act = nn.ReLU6()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.act(self.bn1(self.depthwise(x)))
        return x + self.act(self.bn2(self.pointwise(y)))


def factory():
    module = DepthwiseSeparable(128)
    for norm in (module.bn1, module.bn2):  # running statistics as a trained network has them
        nn.init.normal_(norm.running_mean, std=0.1)
        nn.init.uniform_(norm.running_var, 0.5, 1.5)
    return module.eval(), (torch.randn(1, 128, 56, 56),)
