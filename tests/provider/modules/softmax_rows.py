import torch


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.eval_free = True

    def forward(self, x):
        return torch.softmax(x, dim=1)


def get_inputs():
    return [torch.randn(24, 96)]


def get_init_inputs():
    return []
