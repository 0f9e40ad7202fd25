"""Folded batch norms compute what they computed before."""

import pytest
import timm
import torch
from torch import nn

from vlm_rewards.encoders.openclip import fold_batch_norms


def randomise(model):
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    return model.eval()


# A depthwise net, one whose norms come before its convolutions, one of dense connections.
@pytest.mark.parametrize(
    ("name", "all_gone"),
    [("mobilenetv4_conv_small_050", True), ("resnetv2_18.ra4_e3600_r224_in1k", False), ("densenet121", False)],
)
def test_same_function(name, all_gone):
    model = randomise(timm.create_model(name, pretrained=False, num_classes=8))
    picture = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = model(picture)
        norms = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
        folded = fold_batch_norms(model)
        left = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
        assert folded > 0
        assert left == norms - folded
        assert (left == 0) is all_gone
        torch.testing.assert_close(model(picture), expected, rtol=1e-4, atol=1e-4)


class Shared(nn.Module):
    """A convolution whose result is used beside the norm, and a norm that is used twice."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x):
        y = self.conv(x)
        return self.norm(y) + self.norm(x) + y


class Undecided(nn.Module):
    """Control flow that depends on the data."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.norm(self.conv(x)) if x.sum() > 0 else x


@pytest.mark.parametrize("kind", [Shared, Undecided])
def test_left_alone(kind):
    model = randomise(kind())
    assert fold_batch_norms(model) == 0
    assert isinstance(model.norm, nn.BatchNorm2d)
