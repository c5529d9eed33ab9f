"""The stem of a residual network: three 3x3 convolutions with batch norm and ReLU, then max pooling."""

import torch
from torch import nn


def conv_bn_relu(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


class Stem(nn.Module):
    def __init__(self, width: int = 32):
        super().__init__()
        self.layers = nn.Sequential(
            conv_bn_relu(3, width, stride=2),
            conv_bn_relu(width, width),
            conv_bn_relu(width, 2 * width),
        )
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.pool(self.layers(image))


def factory():
    module = Stem()
    for layer in module.modules():  # running statistics as a trained network has them
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, std=0.1)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
    return module.eval(), (torch.randn(1, 3, 224, 224),)
