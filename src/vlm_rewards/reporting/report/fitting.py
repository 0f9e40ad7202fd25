"""Chooses what fits into a file that carries its images and videos inside, and makes videos smaller for it."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import imageio_ffmpeg

from vlm_rewards.reporting.report.blocks import Media

_AROUND = 400  # bytes of the element around a frame
_SIDE, _RATE, _QUALITY = 192, 15, 32  # pixels, frames a second, x264's crf: coarse, and one sees what is done
_PATIENCE_S = 120


@dataclass(frozen=True)
class Fitted:
    """What fits."""

    kept: dict[str, Media]
    """By name."""
    smaller: tuple[Media, ...]
    """Videos that were encoded anew, and are coarser than those recorded."""
    left_out: tuple[Media, ...]
    """What there is no room for."""


def fit(media: Sequence[Media], room: int) -> Fitted:
    """Choose what fits, the lowest rank first; what is too large makes way for what is not.

    Args:
        media: Everything.
        room: Bytes, once encoded as text.

    Returns:
        What fits. If all videos do not, they are made smaller, and then as many are kept as fit.
    """
    order = sorted(media, key=lambda one: one.rank)
    smaller: list[Media] = []
    if sum(map(embedded_size, order)) > room:
        order = [_shrunk(one) if one.kind == "mp4" else one for one in order]
        before = {one.name: one.content for one in media}
        smaller = [one for one in order if one.content is not before[one.name]]
    kept: dict[str, Media] = {}
    left_out: list[Media] = []
    for one in order:
        size = embedded_size(one)
        if size <= room:
            kept[one.name] = one
            room -= size
        else:
            left_out.append(one)
    return Fitted(kept, tuple(one for one in smaller if one.name in kept), tuple(left_out))


def embedded_size(media: Media) -> int:
    """Bytes that a image or video takes inside a page: base64 makes four of three."""
    return -(-len(media.content) // 3) * 4 + _AROUND


def _shrunk(video: Media) -> Media:
    """Encode a video anew; as it was where that is no smaller, or is not possible."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source.mp4"), Path(folder, "smaller.mp4")
        source.write_bytes(video.content)
        fitting = f"scale='if(gt(iw,ih),min({_SIDE},iw),-2)':'if(gt(iw,ih),-2,min({_SIDE},ih))'"
        filters = f"fps='min({_RATE},source_fps)',{fitting},scale=trunc(iw/2)*2:trunc(ih/2)*2"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-i", str(source), "-an"]
        command += ["-vf", filters, "-c:v", "libx264", "-crf", str(_QUALITY), "-preset", "slow"]
        command += ["-pix_fmt", "yuv420p", "-map_metadata", "-1", "-movflags", "+faststart", str(target)]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=_PATIENCE_S)
            content = target.read_bytes()
        except (OSError, subprocess.SubprocessError):
            return video
    return replace(video, content=content) if 0 < len(content) < len(video.content) else video
