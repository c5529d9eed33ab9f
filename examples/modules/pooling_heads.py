"""Two pooled views of a feature map, averaged and maximal, feeding a classifier and an embedding head."""

import torch
import torch.nn.functional as F
from torch import nn


class PoolingHeads(nn.Module):
    def __init__(self, channels: int, classes: int, embedding: int):
        super().__init__()
        self.local = nn.MaxPool2d(3, stride=2, padding=1)
        self.classifier = nn.Linear(2 * channels, classes)
        self.embed = nn.Linear(2 * channels, embedding)

    def forward(self, features: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.local(F.relu(features))
        pooled = torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)
        return {"logits": self.classifier(pooled), "embedding": F.normalize(self.embed(pooled), dim=-1)}


def factory():
    return PoolingHeads(256, 1000, 128).eval(), (torch.randn(8, 256, 28, 28),)
