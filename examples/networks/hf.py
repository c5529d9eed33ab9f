"""Real networks from the `transformers` package with random weights: nothing is downloaded."""

import torch
from torch import nn


class _Output(nn.Module):
    """Calls a transformers model and gives one tensor of its output."""

    def __init__(self, model: nn.Module, field: str, **fixed: object):
        super().__init__()
        self.model = model
        self.field = field
        self.fixed = fixed

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return getattr(self.model(x, **self.fixed), self.field)


def resnet18():
    """An image classifier: 224x224, 1000 classes."""
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(
        embedding_size=64,
        hidden_sizes=[64, 128, 256, 512],
        depths=[2, 2, 2, 2],
        layer_type="basic",
        num_labels=1000,
    )
    model = ResNetForImageClassification(config).eval()
    return _Output(model, "logits").eval(), (torch.randn(1, 3, 224, 224),)


def mobilenet_v2():
    """An image classifier for phones: depthwise convolutions and 1x1 expansions."""
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

    model = MobileNetV2ForImageClassification(MobileNetV2Config(num_labels=1000)).eval()
    return _Output(model, "logits").eval(), (torch.randn(1, 3, 224, 224),)


def bert_2layer():
    """The first two layers of a BERT base encoder over 128 tokens."""
    from transformers import BertConfig, BertModel

    model = BertModel(BertConfig(num_hidden_layers=2), add_pooling_layer=False).eval()
    return _Output(model, "last_hidden_state").eval(), (torch.randint(0, 30522, (1, 128)),)


def llama_2layer():
    """A small two-layer Llama with grouped key-value heads over 128 tokens."""
    from transformers import LlamaConfig, LlamaModel

    config = LlamaConfig(
        vocab_size=8192,
        hidden_size=512,
        intermediate_size=1376,
        num_hidden_layers=2,
        num_attention_heads=8,
        num_key_value_heads=4,
        use_cache=False,
    )
    model = LlamaModel(config).eval()
    return _Output(model, "last_hidden_state", use_cache=False).eval(), (torch.randint(0, 8192, (1, 128)),)
