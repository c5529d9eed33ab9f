import torch


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.eval_free = True

    def forward(self, x):
        return torch.exp(torch.clamp(x, max=1.0))


def get_inputs():
    return [torch.randn(32, 130)]


def get_init_inputs():
    return []
