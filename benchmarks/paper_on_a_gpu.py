"""The paper's settings with its largest model on a GPU: how fast, and whether memory is what the plan said.

    python benchmarks/paper_on_a_gpu.py --out docs/measurements/paper-on-a-gpu.json

The architecture is real and its weights are random, on which neither speed nor memory depends: what is learned here
means nothing and is not kept. The run is as long as a few rollouts with updates; only its length, how often it is
evaluated and where learning starts differ from the paper's.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch

from bench.measurement import Measurement, repeat
from bench.memory import PeakMemory
from bench.random_checkpoint import write_random_checkpoint
from bench.stages import noise, rate
from vlm_rewards.encoders.loading import load_encoder
from vlm_rewards.provenance import provenance

ROLLOUT = 3_200
CLI = [sys.executable, "-m", "vlm_rewards.cli", "train"]


class PeakOfGPU:
    """Watches how much of the GPU's memory is in use, by whatever process, beyond what was at first."""

    def __init__(self) -> None:
        self.before = self.peak = gpu_memory()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakOfGPU:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.25):
            self.peak = max(self.peak, gpu_memory())


def gpu_memory() -> int:
    """Bytes in use, as the driver says."""
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "--id=0"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) * 2**20


def embedding(name: str, repeats: int, pictures: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The bare encoder: frames per second, and the memory of its weights and of a batch."""
    before = torch.cuda.memory_allocated()
    started = time.perf_counter()
    encoder = load_encoder(name, device="cuda")
    facts = {**encoder.describe(), "seconds_to_load": round(time.perf_counter() - started, 1)}
    facts["weights_bytes"] = torch.cuda.memory_allocated() - before
    torch.cuda.reset_peak_memory_stats()
    frames = noise(pictures, encoder.image_size)
    values = repeat(lambda: rate(lambda: encoder.embed_images(frames), len(frames)), repeats)
    facts["peak_bytes"] = torch.cuda.max_memory_allocated() - before
    return Measurement("embedding", "frames/s", values, settings={"pictures": pictures}).to_dict(), facts


def training(settings: list[str], folder: Path) -> dict[str, Any]:
    """A run by the command line: steps per second before and after learning starts, and the memory of all of it."""
    run = folder / "run"
    command = [*CLI, *settings, "--run-dir", str(run)]
    with PeakOfGPU() as gpu:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        with PeakMemory(child.pid) as peak:
            output, _ = child.communicate()
    if child.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}:\n{output}")
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    record = json.loads((run / "record.json").read_text())
    return {
        "steps_per_second": rates(rows),
        "updates": int(rows[-1]["updates"]),
        "labelled_frames": record["labelled_frames"],
        "seconds": record["seconds"],
        "gpu_bytes": gpu.peak - gpu.before,
        "memory_bytes": peak.peak,
        "memory_kind": peak.kind,
        "encoder": {fact: record["encoder"][fact] for fact in ("parameters", "device", "dtype", "batch_size")},
    }


def rates(rows: list[dict[str, str]]) -> dict[str, float]:
    """Medians over rollouts, the first of either kind left out: it warms up."""
    kinds: dict[str, list[float]] = {"collecting": [], "learning": []}
    before = None
    for row in rows:
        step, seconds, updates = int(row["step"]), float(row["wall_seconds"]), int(row["updates"])
        if before is not None and step > before[0]:
            kind = "learning" if updates > before[2] else "collecting"
            kinds[kind].append((step - before[0]) / (seconds - before[1]))
        before = step, seconds, updates
    return {kind: round(statistics.median(values[1:] or values), 1) for kind, values in kinds.items() if values}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="kneeling")
    parser.add_argument("--architecture", default="ViT-bigG-14")
    parser.add_argument("--collecting", type=int, default=4, help="rollouts of 3,200 steps before learning starts")
    parser.add_argument("--learning", type=int, default=6, help="rollouts of 3,200 steps with updates")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=1024)
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    collected = chosen.collecting * ROLLOUT
    steps = collected + chosen.learning * ROLLOUT
    settings = [chosen.task, "--preset", "paper", "--seed", "0", "--device", "cuda", "--steps", str(steps)]
    settings += ["--learning-starts", str(collected), "--snapshots", "1", "--no-video"]
    settings += ["--selection-episodes", "8", "--evaluation-episodes", "8"]
    with tempfile.TemporaryDirectory() as scratch:
        name = write_random_checkpoint(chosen.architecture, scratch)
        settings += ["--encoder", name]
        planned = subprocess.run([*CLI, *settings, "--dry-run", "--json"], capture_output=True, text=True, check=True)
        bare, facts = embedding(name, chosen.repeats, chosen.pictures)
        torch.cuda.empty_cache()
        ran = training(settings, Path(scratch))
    record = {
        "kind": "paper-on-a-gpu",
        "weights": "random",
        "architecture": chosen.architecture,
        "settings": settings[:-2],
        "plan": {part: json.loads(planned.stdout)[part] for part in ("updates", "frames", "memory", "machine")},
        "embedding": bare,
        "weights_bytes": facts["weights_bytes"],
        "peak_bytes": facts["peak_bytes"],
        "seconds_to_load": facts["seconds_to_load"],
        "training": ran,
        **provenance(),
    }
    chosen.out.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps({key: record[key] for key in ("embedding", "weights_bytes", "peak_bytes", "training")}, indent=2))


if __name__ == "__main__":
    main()
