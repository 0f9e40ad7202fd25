"""Rows of a LeRobot dataset: read without the pictures, written again with new columns."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.offline.lerobot_layout import LeRobotLayout, reading

REWARD = "next.reward"
"""LeRobot's name for what an action earned."""
STATE_REWARD = "vlm_reward"
"""Our name for what the state of a row itself scores. Where it is, ``next.reward`` is ours, too."""
TRUE_REWARD = "true_reward"
"""Our name for the reward that the dataset had first."""

_BLOCK_BYTES = 8 << 20
_MOST_ROWS = 1 << 16

Columns: TypeAlias = dict[str, np.ndarray]


def check_rows(layout: LeRobotLayout) -> None:
    """Check that the files of rows hold what the metadata say, in order, and that our names are free.

    Raises:
        InvalidInputError: They do not.
    """
    names = set(layout.features)
    if TRUE_REWARD in names and STATE_REWARD not in names:
        raise InvalidInputError(
            f"dataset {str(layout.root)!r} has a feature {TRUE_REWARD!r} that is not ours; rename it first."
        )
    for file, episodes in layout.data_files.items():
        indices = np.repeat([episode.index for episode in episodes], [episode.length for episode in episodes])
        frames = np.concatenate([np.arange(episode.length) for episode in episodes])
        found = read_columns(layout.root / file, ["episode_index", "frame_index"])
        if not (np.array_equal(found["episode_index"], indices) and np.array_equal(found["frame_index"], frames)):
            raise InvalidInputError(
                f"{file!r} of {str(layout.root)!r} must hold the {len(frames)} rows of {len(episodes)} episodes that "
                f"the metadata name, in order; it has {len(found['frame_index'])} rows."
            )


def read_columns(path: Path, names: list[str]) -> Columns:
    """Read columns of one number a row: those of ``names`` that are there."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with reading(path), pq.ParquetFile(path, memory_map=True) as file:
        there = [name for name in names if name in file.schema_arrow.names]
        table = file.read(columns=there)
        columns: Columns = {}
        for name in there:
            column = table.column(name).combine_chunks()
            if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):  # shape (1,) as a list
                column = column.flatten()
            columns[name] = np.asarray(column.to_numpy(zero_copy_only=False))
        return columns


def rewrite(source: Path, target: Path, change: Callable[[Any, int], Any]) -> None:
    """Write a Parquet file again, some megabytes at a time.

    Args:
        source: The file.
        target: Its successor, another file.
        change: Given a ``pyarrow.Table`` of some rows and the number of the first one, returns the rows to write.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with reading(source), pq.ParquetFile(source, memory_map=True) as file:
        facts = file.metadata
        total = sum(facts.row_group(group).total_byte_size for group in range(facts.num_row_groups))
        rows = int(np.clip(_BLOCK_BYTES * facts.num_rows // max(1, total), 1, _MOST_ROWS))
        codec = facts.row_group(0).column(0).compression.lower() if facts.num_row_groups else "snappy"
        first, writer = 0, None
        try:
            for batch in file.iter_batches(batch_size=rows):
                table = change(pa.Table.from_batches([batch]), first)
                if writer is None:
                    writer = pq.ParquetWriter(target, table.schema, compression=codec.replace("uncompressed", "none"))
                writer.write_table(table)
                first += len(batch)
        finally:
            if writer is not None:
                writer.close()


def with_rewards(table: Any, reward: np.ndarray, state_reward: np.ndarray) -> Any:
    """Put rewards into rows; those that were there first become `TRUE_REWARD`.

    Args:
        table: ``pyarrow.Table``.
        reward: For `REWARD`, float32 ``[rows]``.
        state_reward: For `STATE_REWARD`, float32 ``[rows]``.
    """
    import pyarrow as pa

    ours = STATE_REWARD in table.column_names
    metadata = dict(table.schema.metadata or {})
    if ours:
        table = table.drop_columns([name for name in (REWARD, STATE_REWARD) if name in table.column_names])
    elif REWARD in table.column_names:
        table = table.rename_columns([TRUE_REWARD if name == REWARD else name for name in table.column_names])
    table = table.append_column(REWARD, pa.array(reward, pa.float32()))
    table = table.append_column(STATE_REWARD, pa.array(state_reward, pa.float32()))
    return table.replace_schema_metadata(_with_features(metadata, ours=ours))


def _with_features(metadata: dict[bytes, bytes], *, ours: bool) -> dict[bytes, bytes]:
    """Name the new columns where the ``datasets`` library looks for their types."""
    try:
        facts = json.loads(metadata[b"huggingface"])
        facts["info"]["features"] = relabelled_features(
            facts["info"]["features"], {"dtype": "float32", "_type": "Value"}, ours=ours
        )
    except (KeyError, TypeError, ValueError):  # none, or not as it writes them: it then looks at the columns
        return metadata
    return {**metadata, b"huggingface": json.dumps(facts).encode()}


def relabelled_features(features: dict[str, Any], new: dict[str, Any], *, ours: bool) -> dict[str, Any]:
    """What a mapping of features becomes when rewards are replaced.

    Args:
        features: The mapping.
        new: What to say of each new feature.
        ours: Whether its rewards are ours already.
    """
    kept = {key: value for key, value in features.items() if key not in (REWARD, STATE_REWARD)}
    if not ours and REWARD in features:
        kept[TRUE_REWARD] = features[REWARD]
    return {**kept, REWARD: dict(new), STATE_REWARD: dict(new)}
