import torch


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(96, 40)

    def forward(self, x):
        return self.fc(x)


def get_inputs():
    return [torch.randn(24, 96)]


def get_init_inputs():
    return []
