import torch


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.eval_free = True

    def forward(self, x, z):
        return torch.relu(x + z)


def get_inputs():
    return [torch.randn(32, 130), torch.randn(32, 130)]


def get_init_inputs():
    return []
