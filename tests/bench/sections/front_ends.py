"""From samples to features: ours, asrfront and kaldi-native-fbank. How exact each is, and its share of a request.

Exactness is the largest difference from the features that funasr-onnx computes (tests/vectors), and from ours and
kaldi-native-fbank's on the clips of the bench and on one with a constant offset. CPU time is taken turn by turn in one
process on one thread, in an environment of the peers' own. A request is what a worker computes for the same clip:
features, one run of the compiled form, text. Nothing is imported here that such an environment lacks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tests.bench.plan import Plan

ROOT = Path(__file__).resolve().parents[3]
VECTORS = ROOT / "tests" / "vectors"
REQUIREMENTS = ("asrfront", "kaldi-native-fbank", "numpy")
SECONDS, ROUNDS, QUICK_ROUNDS, REQUESTS = (5.0, 30.0), 60, 2, 8
OFFSET = 0.3
TITLES = {"modelward": "modelward", "asrfront": "asrfront", "kaldi": "kaldi-native-fbank"}
FrontEnd = Callable[[Any, Any, Any], Any]
"""(samples, shift, scale) -> features, as float32 [frames, 560]."""


def measure(plan: Plan) -> dict[str, Any]:
    """{"systems": {name: {title, "difference", "apart", "seconds": {length: [CPU]}}}, "request_seconds"}."""
    from tests.bench.bare import Bare
    from tests.bench.clips import pool
    from tests.bench.peers.peer import Peer

    peer = Peer("front-ends", "front ends", REQUIREMENTS, None, None)  # type: ignore[arg-type]
    environment = plan.environment(peer)
    if environment.python is None:
        return {"missing": environment.because}
    found = _in(environment.python, plan, pool)
    ours = plan.modelward()
    try:
        ours.start(pool(1.0)[0])
        artifact = ours.artifact()
    finally:
        ours.stop()
    request = Bare(artifact, True, "pipeline", 1).start()
    try:
        turns = {f"{s:g}": request.turn(s, 1, 1 if plan.quick else REQUESTS) for s in SECONDS}
    finally:
        request.stop()
    versions = environment.versions(REQUIREMENTS)
    return {
        "systems": {name: {"title": TITLES[name], **figures} for name, figures in found.items()},
        "request_seconds": {length: turn["cpu_seconds"] for length, turn in turns.items()},
        "versions": versions,
    }


def _in(python: Path, plan: Plan, pool: Any) -> dict[str, Any]:
    """What the child measures in that environment: normalisation and clips are handed to it."""
    from modelward.worker.sensevoice.files import CMVN, read_cmvn

    plan.scratch.mkdir(parents=True, exist_ok=True)
    shift, scale = read_cmvn(VECTORS / "model-funasr" / CMVN)
    clips = {f"clip-{seconds:g}": pool(seconds)[0].samples for seconds in SECONDS}
    clips["offset"] = 0.5 * pool(SECONDS[0])[0].samples + np.float32(OFFSET)
    np.savez(plan.scratch / "given.npz", shift=shift, scale=scale, **clips)
    rounds = QUICK_ROUNDS if plan.quick else ROUNDS
    done = subprocess.run(
        [str(python), "-m", "tests.bench.sections.front_ends", str(plan.scratch / "given.npz"), str(rounds)],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / '.imports'}", "OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return dict(json.loads(done.stdout))


def front_ends() -> dict[str, FrontEnd]:
    """Those that can be imported here; ours always."""
    from modelward.worker.sensevoice import frontend

    def ours(samples: Any, shift: Any, scale: Any) -> Any:
        return frontend.apply_cmvn(frontend.stack(frontend.fbank(samples)), shift, scale)

    found: dict[str, FrontEnd] = {"modelward": ours}
    try:
        import asrfront.sensevoice

        found["asrfront"] = lambda samples, shift, scale: asrfront.sensevoice.fbank(samples, (shift, scale))
    except ImportError:
        pass
    try:
        import kaldi_native_fbank

        found["kaldi"] = _kaldi(kaldi_native_fbank, frontend)
    except ImportError:
        pass
    return found


def _kaldi(library: Any, frontend: Any) -> FrontEnd:
    """As funasr-onnx calls it."""
    options = library.FbankOptions()
    options.frame_opts.dither, options.frame_opts.window_type = 0.0, "hamming"
    options.mel_opts.num_bins = frontend.MEL_BINS
    options.energy_floor = 0.0

    def features(samples: Any, shift: Any, scale: Any) -> Any:
        made = library.OnlineFbank(options)
        made.accept_waveform(frontend.SAMPLE_RATE, (samples * 32768).tolist())
        frames = np.stack([made.get_frame(number) for number in range(made.num_frames_ready)])
        return frontend.apply_cmvn(frontend.stack(frames), shift, scale)

    return features


def child(given: Path, rounds: int) -> None:
    """Prints {name: {"difference", "apart": {other: {clip: difference}}, "seconds"}}."""
    handed, wanted = np.load(given), np.load(VECTORS / "features.npz")
    shift, scale = handed["shift"], handed["scale"]
    ends = front_ends()
    found: dict[str, Any] = {name: {"difference": 0.0, "apart": {}, "seconds": {}} for name in ends}
    for clip in wanted.files:
        with wave.open(str(VECTORS / f"{clip}.wav")) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
        for name, features in ends.items():
            far = float(np.abs(features(samples, shift, scale) - wanted[clip]).max())
            found[name]["difference"] = max(found[name]["difference"], far)
    for key in set(handed.files) - {"shift", "scale"}:
        made = {name: features(handed[key], shift, scale) for name, features in ends.items()}
        for name in ends:
            for other in {"modelward", "kaldi"} & set(ends):
                far = float(np.abs(made[name] - made[other]).max())
                found[name]["apart"].setdefault(other, {})[key] = far
    for key in (key for key in handed.files if key.startswith("clip-")):
        taken: dict[str, list[float]] = {name: [] for name in ends}
        for turn in range(rounds + 1):
            for name, features in ends.items():
                began = time.process_time()
                features(handed[key], shift, scale)
                if turn:
                    taken[name].append(round(time.process_time() - began, 6))
        for name in ends:
            found[name]["seconds"][key.removeprefix("clip-")] = taken[name]
    print(json.dumps(found))


if __name__ == "__main__":
    child(Path(sys.argv[1]), int(sys.argv[2]))
