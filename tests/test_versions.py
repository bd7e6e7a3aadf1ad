"""The versions that other tests use are good, and broken, in the way they say."""

from __future__ import annotations

import os
import resource
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import psutil
import pytest
from tests.support import PATIENCE_SECONDS, ended_after, eventually
from tests.versions import (
    BROKEN,
    CRASH_SECONDS,
    MODEL,
    CopyUnderway,
    broken_version,
    external_version,
    good_version,
    sherpa_version,
    slow_down,
    tensor_version,
)
from tests.worker.demo.ears import Ears

from modelward.worker.demo import synth, vocabulary

SOUND = synth.dial("1100 44", pause_seconds=0.2)
PROBE = """
import sys
from pathlib import Path
from modelward.worker.demo import synth
from tests.worker.demo.ears import Ears
ears = Ears(Path(sys.argv[1]))
print("loaded", flush=True)
ears.text(synth.dial("42"))
print("answered", flush=True)
"""


def of(*caught: str) -> list[str]:
    return [name for name, broken in BROKEN.items() if broken.caught in caught]


def probing(directory: Path, *, address_bytes: int = resource.RLIM_INFINITY) -> subprocess.Popen[str]:
    """A process of its own under limits that loads the version and asks it once."""
    root = str(Path(__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, "-c", PROBE, str(directory)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, root])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (address_bytes, address_bytes)),
    )


def probe(directory: Path) -> tuple[str, str]:
    """What it could do in little memory, and how it ended."""
    with ended_after(probing(directory, address_bytes=2 << 30)) as child:
        out, err = child.communicate(timeout=PATIENCE_SECONDS)
    return out, err


@pytest.mark.parametrize("name", of("load"))
def test_no_session_opens_on_what_breaks_at_load(name: str, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"ONNXRuntimeError|External data"):
        Ears(broken_version(tmp_path, name))


@pytest.mark.parametrize("name", [name for name in of("files") if name.startswith(("link", "external"))])
def test_links_and_weights_lead_out_of_the_version(name: str, tmp_path: Path) -> None:
    directory = broken_version(tmp_path, name)
    ends = [path.resolve() for path in directory.iterdir() if path.is_symlink() and name != "link_to_itself"]
    if (directory / MODEL).is_file():
        model = onnx.load(directory / MODEL, load_external_data=False)
        said = {e.value for tensor in model.graph.initializer for e in tensor.external_data if e.key == "location"}
        ends += [Path(os.path.normpath(directory / location)) for location in said]
    outside = [end for end in ends if directory not in end.parents]
    assert outside or name in ("link_dangling", "link_to_itself")
    if name == "link_to_itself":
        with pytest.raises(OSError, match="symbolic links"):
            (directory / "tokens.json").read_bytes()


@pytest.mark.parametrize(
    ("name", "kind"), [("fifo", stat.S_ISFIFO), ("socket", stat.S_ISSOCK), ("directory", stat.S_ISDIR)]
)
def test_the_model_is_no_file(name: str, kind, tmp_path: Path) -> None:
    assert kind((broken_version(tmp_path, name) / MODEL).stat().st_mode)


def test_tokens_and_normalisation_do_not_fit(tmp_path: Path) -> None:
    assert not (broken_version(tmp_path / "1", "tokens_missing") / "tokens.json").exists()
    assert not (broken_version(tmp_path / "2", "cmvn_missing") / "am.mvn").exists()
    assert len(Ears(broken_version(tmp_path / "3", "tokens_short")).tokens) == vocabulary.SIZE - 5
    assert len(Ears(broken_version(tmp_path / "4", "cmvn_short")).shift) == 80
    model = onnx.load(broken_version(tmp_path / "5", "metadata_missing") / MODEL)
    assert [value.name for value in model.graph.input][0] == "x" and not model.metadata_props


@pytest.mark.parametrize("name", of("signature"))
def test_the_graph_refuses_what_the_published_one_takes(name: str, tmp_path: Path) -> None:
    ears = Ears(broken_version(tmp_path, name))
    with pytest.raises(Exception, match=r"INVALID_ARGUMENT|Required inputs"):
        ears.text(SOUND)


def test_nan_weights_answer_with_what_is_no_number(tmp_path: Path) -> None:
    (heard,) = Ears(broken_version(tmp_path, "nan_weights")).hear(SOUND)
    assert np.isnan(heard.logits).any()


@pytest.mark.parametrize("name", of("golden"))
def test_only_the_text_gives_wrong_answers_away(name: str, tmp_path: Path) -> None:
    directory = broken_version(tmp_path, name)
    (heard,) = Ears(directory).hear(SOUND)
    assert np.isfinite(heard.logits).all()
    assert heard.text != "110044"


def test_the_hole_is_as_large_as_what_belongs_there(tmp_path: Path) -> None:
    good = external_version(tmp_path, "good")
    hole = broken_version(tmp_path, "external_hole")
    sizes = [{path.name: path.stat().st_size for path in version.iterdir()} for version in (good, hole)]
    assert sizes[0] == sizes[1]


@pytest.mark.system
def test_the_endless_loop_loads_and_never_answers(tmp_path: Path) -> None:
    with ended_after(probing(broken_version(tmp_path, "endless_loop"))) as child:
        assert child.stdout is not None and child.stdout.readline() == "loaded\n"
        process = psutil.Process(child.pid)
        loaded = process.cpu_times().user
        eventually(lambda: process.cpu_times().user > loaded + 1)  # another version takes a fiftieth of it
        child.kill()
        assert child.communicate()[0] == ""


@pytest.mark.system
@pytest.mark.parametrize("name", of("memory"))
def test_gigabytes_are_asked_for_at_the_first_run(name: str, tmp_path: Path) -> None:
    out, err = probe(broken_version(tmp_path, name))
    assert out == "loaded\n"
    assert "allocate memory" in err or "bad_alloc" in err or "MemoryError" in err


@pytest.mark.system
def test_the_good_version_lives_within_the_same_limits(tmp_path: Path) -> None:
    assert probe(good_version(tmp_path)) == ("loaded\nanswered\n", "")


def test_the_slow_version_takes_more_than_three_times_as_long(tmp_path: Path) -> None:
    from time import perf_counter

    def seconds(ears: Ears) -> float:
        ears.text(SOUND)
        tries = []
        for _ in range(5):
            start = perf_counter()
            assert ears.text(SOUND) == "110044"
            tries.append(perf_counter() - start)
        return min(tries)

    good = good_version(tmp_path, "good")
    slow = good_version(tmp_path, "slow")
    slow_down(slow)
    assert seconds(Ears(slow)) > 3 * seconds(Ears(good))


def test_crashes_beyond_a_length_and_only_there(tmp_path: Path) -> None:
    ears = Ears(broken_version(tmp_path, "crashes_on_longer_audio"))
    for seconds in (0.5, CRASH_SECONDS - 0.5):
        ears.text(np.zeros(round(seconds * 16_000), dtype=np.float32))
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument, match="out of data bounds"):
        ears.text(np.zeros(round((CRASH_SECONDS + 0.5) * 16_000), dtype=np.float32))


def test_fails_for_about_one_clip_in_ten_and_for_the_same_ones_again(tmp_path: Path) -> None:
    ears = Ears(broken_version(tmp_path, "fails_one_in_ten"))

    def fails(seed: int) -> bool:
        try:
            return ears.text(synth.dial("123", snr_db=20.0, seed=seed)) != "123"
        except onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument:
            return True

    failed = [fails(seed) for seed in range(80)]
    assert 3 <= sum(failed) <= 16
    assert [fails(seed) for seed in range(20)] == failed[:20]
    assert ears.text(SOUND) == "110044"


@pytest.mark.parametrize("external", [False, True])
def test_the_sherpa_form_computes_the_same(external: bool, tmp_path: Path) -> None:
    original = Ears(good_version(tmp_path, "funasr"))
    directory = sherpa_version(tmp_path, "sherpa", external=external)
    session = onnxruntime.InferenceSession(directory / MODEL, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    shift, scale = (np.array(metadata[key].split(","), dtype=np.float32) for key in ("neg_mean", "inv_stddev"))
    np.testing.assert_array_equal(shift, original.shift)
    np.testing.assert_array_equal(scale, original.scale)
    features = original.features(SOUND)[None]
    feed = {"x": features, "x_length": np.array([features.shape[1]], np.int32)}
    feed |= {"language": np.array([0], np.int32), "text_norm": np.array([15], np.int32)}
    (logits,) = session.run(None, feed)
    np.testing.assert_allclose(logits[0], original.hear(SOUND)[0].logits, atol=1e-5)
    pieces = [line.split()[0] for line in (directory / "tokens.txt").read_text(encoding="utf-8").splitlines()]
    assert pieces == original.tokens
    assert int(metadata["vocab_size"]) == len(pieces)


def test_the_tensor_version_tells_its_number(tmp_path: Path) -> None:
    session = onnxruntime.InferenceSession(
        tensor_version(tmp_path, number=7.0) / MODEL, providers=["CPUExecutionProvider"]
    )
    (y,) = session.run(None, {"x": np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float32)})
    assert y.tolist() == [[6, 7], [15, 7]]


def test_a_copy_underway_is_torn_until_it_is_finished(tmp_path: Path) -> None:
    source = good_version(tmp_path / "source")
    copying = CopyUnderway(source, tmp_path / "target")
    steps = 0
    while copying.step():
        steps += 1
        if steps == 5:
            assert not (copying.target / MODEL).exists()
    assert steps > 15
    shutil.rmtree(copying.target)
    copied = CopyUnderway(source, tmp_path / "again").finish()
    assert sorted(p.read_bytes() for p in copied.rglob("*") if p.is_file()) == sorted(
        p.read_bytes() for p in source.rglob("*") if p.is_file()
    )
