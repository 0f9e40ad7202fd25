"""A model's own picture preprocessing, on batches of uint8 tensors.

open_clip describes preprocessing as a chain of transforms on one PIL picture.
Here the same steps run on a whole batch, on the device where the model is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from open_clip.transform import center_crop_or_pad
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from vlm_rewards.errors import CheckpointError

_RESIZE_MODES = ("shortest", "longest", "squash")
_INTERPOLATIONS = ("bicubic", "bilinear", "random")


@dataclass(frozen=True)
class Preprocessing:
    """How a model wants its pictures.

    Attributes:
        height: Height in pixels of what the model takes.
        width: Width in pixels of what the model takes.
        mean: Of each channel, for pixels in [0, 1].
        std: Of each channel, for pixels in [0, 1].
        interpolation: ``"bicubic"`` or ``"bilinear"``.
        resize_mode: ``"shortest"`` crops what is too long, ``"longest"`` pads
            what is too short, ``"squash"`` ignores the proportions.
        fill_color: Grey level, 0 to 255, of the padding.
    """

    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    fill_color: int = 0

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Preprocessing:
        """Read open_clip's ``preprocess_cfg``.

        Args:
            config: ``size``, ``mean``, ``std``, ``interpolation``, ``resize_mode``, ``fill_color``.

        Raises:
            CheckpointError: If a value is one that open_clip does not know.
        """
        mode = config.get("resize_mode") or "shortest"
        interpolation = config.get("interpolation") or "bicubic"
        _one_of("resize_mode", mode, _RESIZE_MODES)
        _one_of("interpolation", interpolation, _INTERPOLATIONS)
        height, width = _pair(config["size"])
        # "random" is for training; open_clip uses bicubic in its place for inference.
        kernel = "bilinear" if interpolation == "bilinear" else "bicubic"
        fill = int(config.get("fill_color") or 0)
        return cls(height, width, _triple(config["mean"]), _triple(config["std"]), kernel, mode, fill)

    def resized_shape(self, height: int, width: int) -> tuple[int, int]:
        """Give the size that a picture is scaled to, before it is cropped or padded.

        Args:
            height: Of the picture, in pixels.
            width: Of the picture, in pixels.
        """
        if self.resize_mode == "squash":
            return self.height, self.width
        if self.resize_mode == "shortest" and self.height == self.width:
            # torchvision rounds the long side down ...
            long_side = int(self.height * max(height, width) / min(height, width))
            return (self.height, long_side) if height <= width else (long_side, self.height)
        ratios = height / self.height, width / self.width
        ratio = max(ratios) if self.resize_mode == "longest" else min(ratios)
        # ... while open_clip, where the proportions are kept in any other way, rounds to the nearest.
        return max(round(height / ratio), 1), max(round(width / ratio), 1)

    def fit(self, pixels: torch.Tensor) -> torch.Tensor:
        """Resize and crop or pad, as uint8.

        Args:
            pixels: uint8 ``[n 3 h w]``, 0 to 255.

        Returns:
            uint8 ``[n 3 height width]``; the argument itself where it already fits.
        """
        if pixels.dtype != torch.uint8:
            raise TypeError(f"pixels must be uint8, not {pixels.dtype}")
        shape = self.resized_shape(int(pixels.shape[-2]), int(pixels.shape[-1]))
        if shape != tuple(pixels.shape[-2:]):
            pixels = transforms.resize(pixels, list(shape), self._kernel(), antialias=True)
        if tuple(pixels.shape[-2:]) != (self.height, self.width):
            fill = self.fill_color if self.resize_mode == "longest" else 0
            pixels = center_crop_or_pad(pixels, [self.height, self.width], fill=fill)
        return pixels

    def _kernel(self) -> InterpolationMode:
        # open_clip's crop for models that are not square ignores the configured interpolation.
        oblong_crop = self.resize_mode == "shortest" and self.height != self.width
        return InterpolationMode.BICUBIC if oblong_crop else InterpolationMode(self.interpolation)

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """Scale pixels as the model was trained: ``(pixels / 255 - mean) / std``.

        Args:
            pixels: uint8 ``[n 3 h w]``, 0 to 255.

        Returns:
            float32 of the same shape, in memory with the colours innermost.
        """
        n, _, height, width = pixels.shape
        mean = torch.tensor(self.mean, device=pixels.device)
        std = torch.tensor(self.std, device=pixels.device)
        # Whole rows at once: with three colours as the innermost axis, torch would spend its time on loops of three.
        rows = pixels.permute(0, 2, 3, 1).reshape(n * height, width * 3).to(torch.float32)
        rows.mul_((1 / (255 * std)).repeat(width)).sub_((mean / std).repeat(width))
        return rows.view(n, height, width, 3).permute(0, 3, 1, 2)

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Fit and normalise.

        Args:
            pixels: uint8 ``[n 3 h w]``, 0 to 255.

        Returns:
            float32 ``[n 3 height width]``.
        """
        return self.normalise(self.fit(pixels))


def _one_of(field: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise CheckpointError(
            f"preprocess_cfg.{field} of the model must be one of {', '.join(choices)}; received {value!r}"
        )


def _pair(size: Any) -> tuple[int, int]:
    sides = tuple(size) if isinstance(size, list | tuple) else (size,)
    return int(sides[0]), int(sides[-1])


def _triple(value: Any) -> tuple[float, float, float]:
    channels = tuple(value) if isinstance(value, list | tuple) else (value,) * 3
    if len(channels) != 3:
        raise CheckpointError(f"preprocess_cfg of the model must give mean and std for 3 channels; received {value!r}")
    return float(channels[0]), float(channels[1]), float(channels[2])
