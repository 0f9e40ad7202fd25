"""Records of runs to a Markdown table, failures included."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vlm_rewards.errors import CheckpointError, InvalidInputError

_HEADER = (
    "| task | policy | success (95 % interval) | true return | VLM return | steps | training [s] |\n"
    "| --- | --- | --- | --- | --- | --- | --- |\n"
)
_BASELINE_NAMES = {"random": "random actions", "zero": "zero actions", "rule": "one-line rule"}


def read_records(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Read records that ``train`` or ``baselines`` wrote.

    Args:
        paths: Files, run folders (their ``record.json``), and folders of records.

    Returns:
        The records, ordered by task, baselines first, then by seed.

    Raises:
        InvalidInputError: A path does not exist, or nothing was found.
        CheckpointError: A file is no record.
    """
    files = dict.fromkeys(file for path in paths for file in _files(path))
    records = [_read(file) for file in files]
    if not records:
        raise InvalidInputError("no records were found; name files, run folders or folders of records.")
    return sorted(records, key=lambda record: (record["task"], record.get("kind") != "baselines", record["seed"]))


def results_table(records: Sequence[dict[str, Any]]) -> str:
    """Format records as a Markdown table, one row a policy; nothing is left out.

    Args:
        records: What `read_records` returns.

    Returns:
        The table, and below it the encoder, the machine and the commands.
    """
    rows: list[str] = []
    for record in records:
        if record.get("kind") == "baselines":
            rows += [_baseline_row(record, name, summary) for name, summary in record["policies"].items()]
        else:
            rows.append(_run_row(record))
    return _HEADER + "\n".join(rows) + "\n\n" + _footnotes(records)


def _baseline_row(record: dict[str, Any], name: str, summary: dict[str, Any]) -> str:
    return _row(record["task"], _BASELINE_NAMES.get(name, name), summary, "-", "-")


def _run_row(record: dict[str, Any]) -> str:
    algorithm = record["config"]["algorithm"]["name"].upper()
    policy = f"**{algorithm}, seed {record['seed']}**"
    seconds = f"{record['seconds']['training']:.0f}"
    steps = f"{record['steps']:,}"
    if "evaluation" not in record:
        return f"| {record['task']} | {policy} | not evaluated | | | {steps} | {seconds} |"
    return _row(record["task"], policy, record["evaluation"], steps, seconds)


def _row(task: str, policy: str, summary: dict[str, Any], steps: str, seconds: str) -> str:
    success = "-"
    if summary.get("successes") is not None:
        low, high = summary["success_interval_95"]
        success = f"{summary['successes']}/{summary['episodes']} ({100 * low:.1f} to {100 * high:.1f} %)"
    true = f"{summary['true_return']:.1f} ± {summary['true_return_std']:.1f}"
    vlm = f"{summary['vlm_return']:.2f} ± {summary['vlm_return_std']:.2f}"
    return f"| {task} | {policy} | {success} | {true} | {vlm} | {steps} | {seconds} |"


def _footnotes(records: Sequence[dict[str, Any]]) -> str:
    commits = sorted({str(record.get("commit")) for record in records})
    encoders = sorted({_encoder_note(record["encoder"]) for record in records})
    machines = sorted(
        {f"{r['machine']['processor']}, {r['machine']['cores']} cores" for r in records if "machine" in r}
    )
    return "\n".join(
        [
            "* Bold: learned from the sentence alone. Commit: " + ", ".join(f"`{commit}`" for commit in commits) + ".",
            "* Encoder: " + "; ".join(encoders) + ".",
            "* Machine: " + "; ".join(machines) + ".",
            "* Actions are deterministic; the snapshot was chosen by VLM return on seeds of its own.",
            "",
            "Commands:",
            "",
            "```console",
            *(f"$ {record['command']}" for record in records if record.get("command")),
            "```",
            "",
        ]
    )


def _encoder_note(encoder: dict[str, Any]) -> str:
    kind = "in-domain, not zero-shot" if encoder.get("in_domain") else "as named"
    digest = str(encoder.get("weights_sha256", ""))[:12]
    return f"{encoder.get('name')} ({kind}; weights {digest})"


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if path.is_dir():
        if (path / "config.json").is_file():
            return [path / "record.json"]  # a run's folder; reading says so where the run left no record
        runs = [config.parent / "record.json" for config in path.glob("*/config.json")]
        return sorted([*path.glob("*.json"), *runs])
    raise InvalidInputError(f"records must be files or folders that exist, got {str(path)!r}.")


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        kind = ("policies",) if record.get("kind") == "baselines" else ("config", "steps", "seconds")
        missing = [key for key in ("task", "seed", "encoder", *kind) if key not in record]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{str(path)!r} cannot be read as a record: {error}.") from None
    if missing:
        raise CheckpointError(f"{str(path)!r} is no record: it has no {', '.join(missing)}.")
    return record
