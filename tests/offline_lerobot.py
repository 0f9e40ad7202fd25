"""Small LeRobot datasets of each version, whose right rewards are known."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
from PIL import Image

SIZE = 32
FPS = 10
CAMERA = "observation.images.cam"


def picture(episode: int, step: int) -> np.ndarray:
    """A frame of one colour that says which state of which episode it shows, in the manner of `CountingEnv`."""
    number = episode * 4096 + step
    colour = np.array([number >> 16, number >> 8 & 255, number & 255], dtype=np.uint8)
    return np.broadcast_to(colour, (SIZE, SIZE, 3)).copy()


def right_values(episode: int, length: int) -> np.ndarray:
    """What `counting_reward` says of an episode's frames."""
    return ((episode * 4096 + np.arange(length)) / 2**24).astype(np.float32)


def write_video(path: Path, frames: list[np.ndarray]) -> None:
    """Write frames without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = imageio_ffmpeg.write_frames(
        str(path),
        (SIZE, SIZE),
        fps=FPS,
        codec="libx264rgb",
        pix_fmt_out="rgb24",
        quality=None,
        macro_block_size=1,
        output_params=["-crf", "0", "-preset", "ultrafast"],
    )
    writer.send(None)
    for frame in frames:
        writer.send(np.ascontiguousarray(frame))
    writer.close()


def png(frame: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, format="PNG")
    return buffer.getvalue()


class LeRobotMaker:
    """Makes a dataset.

    Args:
        version: ``"v2.0"``, ``"v2.1"`` or ``"v3.0"``.
        images: Frames in the rows, in place of videos.
    """

    lengths = (5, 3, 7)
    """Rows of each episode."""

    def __init__(self, version: str, *, images: bool) -> None:
        self.version, self.images = version, images

    def old_rewards(self, episode: int) -> np.ndarray:
        """The ``next.reward`` of an episode."""
        return np.arange(self.lengths[episode], dtype=np.float32) * 2 + episode

    def store(self, root: Path) -> Path:
        """Write the dataset into a new folder."""
        (root / "meta").mkdir(parents=True)
        (root / "README.md").write_text("a dataset")
        (root / "meta" / "tasks.jsonl").write_text(json.dumps({"task_index": 0, "task": "count"}) + "\n")
        self._write_info(root)
        if self.version == "v3.0":
            self._store_3(root)
        else:
            self._store_2(root)
        return root

    def rows(self, episode: int) -> dict[str, Any]:
        """Columns of one episode."""
        length = self.lengths[episode]
        start = sum(self.lengths[:episode])
        columns: dict[str, Any] = {
            "action": [[float(step), 1.0] for step in range(length)],
            "timestamp": [np.float32(step / FPS) for step in range(length)],
            "frame_index": list(range(length)),
            "episode_index": [episode] * length,
            "index": list(range(start, start + length)),
            "task_index": [0] * length,
        }
        columns["next.reward"] = self.old_rewards(episode).tolist()
        if self.images:
            columns[CAMERA] = [{"bytes": png(picture(episode, step)), "path": None} for step in range(length)]
        return columns

    def _table(self, episodes: list[int]) -> Any:
        import pyarrow as pa

        parts = [self.rows(episode) for episode in episodes]
        columns = {name: [value for part in parts for value in part[name]] for name in parts[0]}
        types = {
            "action": pa.list_(pa.float32(), 2),
            "timestamp": pa.float32(),
            "next.reward": pa.float32(),
            CAMERA: pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        }
        arrays = {name: pa.array(values, types.get(name, pa.int64())) for name, values in columns.items()}
        noted = {name: {"dtype": str(array.type), "_type": "Value"} for name, array in arrays.items()}
        table = pa.table(arrays)
        return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": noted}})})

    def _write_info(self, root: Path) -> None:
        number = {"dtype": "int64", "shape": [1], "names": None}
        features: dict[str, Any] = {
            "action": {"dtype": "float32", "shape": [2], "names": ["a", "b"]},
            "timestamp": {"dtype": "float32", "shape": [1], "names": None},
            **dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), number),
        }
        features["next.reward"] = {"dtype": "float32", "shape": [1], "names": ["kept"]}
        names = ["height", "width", "channels"]
        features[CAMERA] = {"dtype": "image" if self.images else "video", "shape": [SIZE, SIZE, 3], "names": names}
        three = self.version == "v3.0"
        info = {
            "codebase_version": self.version,
            "total_episodes": len(self.lengths),
            "total_frames": sum(self.lengths),
            "chunks_size": 1000,
            "fps": FPS,
            "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
            if three
            else "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
            "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
            if three
            else "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
            "features": features,
        }
        (root / "meta" / "info.json").write_text(json.dumps(info))

    def _stats(self, episode: int) -> dict[str, Any]:
        facts = {"action": {"min": [0.0, 1.0], "max": [9.0, 1.0], "mean": [1.0, 1.0], "std": [1.0, 0.0], "count": [3]}}
        old = self.old_rewards(episode)
        facts["next.reward"] = {"min": [float(old.min())], "max": [float(old.max())], "count": [len(old)]}
        return facts

    def _store_2(self, root: Path) -> None:
        import pyarrow.parquet as pq

        episodes, stats = [], []
        for episode, length in enumerate(self.lengths):
            path = root / "data" / "chunk-000" / f"episode_{episode:06d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(self._table([episode]), path)
            episodes.append({"episode_index": episode, "tasks": ["count"], "length": length})
            stats.append({"episode_index": episode, "stats": self._stats(episode)})
            if not self.images:
                frames = [picture(episode, step) for step in range(length)]
                write_video(root / "videos" / "chunk-000" / CAMERA / f"episode_{episode:06d}.mp4", frames)
        lines = {"episodes.jsonl": episodes}
        if self.version == "v2.1":
            lines["episodes_stats.jsonl"] = stats
        else:
            (root / "meta" / "stats.json").write_text(json.dumps(self._stats(0)))
        for name, entries in lines.items():
            (root / "meta" / name).write_text("".join(json.dumps(entry) + "\n" for entry in entries))

    def _store_3(self, root: Path) -> None:
        """Two data files and, cut elsewhere, two videos."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        count = len(self.lengths)
        rows: list[dict[str, Any]] = [{} for _ in self.lengths]
        for file, episodes in enumerate((list(range(count - 1)), [count - 1])):
            path = root / "data" / "chunk-000" / f"file-{file:03d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(self._table(episodes), path, row_group_size=4)
            for episode in episodes:
                start = sum(self.lengths[:episode])
                rows[episode] |= {
                    "episode_index": episode,
                    "length": self.lengths[episode],
                    "tasks": ["count"],
                    "data/chunk_index": 0,
                    "data/file_index": file,
                    "dataset_from_index": start,
                    "dataset_to_index": start + self.lengths[episode],
                }
        place = f"videos/{CAMERA}"
        for file, episodes in enumerate([] if self.images else ([0], list(range(1, count)))):
            frames: list[np.ndarray] = []
            for episode in episodes:
                rows[episode] |= {f"{place}/chunk_index": 0, f"{place}/file_index": file}
                rows[episode][f"{place}/from_timestamp"] = len(frames) / FPS
                frames += [picture(episode, step) for step in range(self.lengths[episode])]
                rows[episode][f"{place}/to_timestamp"] = len(frames) / FPS
            write_video(root / place / "chunk-000" / f"file-{file:03d}.mp4", frames)
        for episode, row in enumerate(rows):
            for feature, facts in self._stats(episode).items():
                row |= {f"stats/{feature}/{name}": value for name, value in facts.items()}
        path = root / "meta" / "episodes" / "chunk-000" / "file-000.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows), path)
        (root / "meta" / "stats.json").write_text(json.dumps({**self._stats(0), "action": {"q01": [0.0, 1.0]}}))
