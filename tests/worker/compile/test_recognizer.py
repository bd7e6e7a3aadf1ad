"""A compiled form in the version's place: the recogniser loads it beside the version's files and hears the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.bench import tones

from modelward.worker.compile.compiled import Compiled
from modelward.worker.sensevoice.pipeline import Recognizer


@pytest.mark.parametrize("level", ["exact", "fast"])
def test_hears_what_the_original_hears(
    compile_it: Callable[..., Compiled], version: Path, tmp_path: Path, level: str
) -> None:
    compiled = compile_it(level=level, flags=())
    assert compiled.form == level
    for name in ("am.mvn", "tokens.json", "config.yaml"):
        shutil.copy(version / name, tmp_path / "out" / name)
    original = Recognizer.load(version, model="model_quant.onnx")
    artifact = Recognizer.load(tmp_path / "out", model=compiled.model_file)
    artifact.warm()
    assert artifact.description.answers_ids
    for seed, seconds in ((50, 2.0), (51, 4.0)):
        samples, dialled, _ = tones.clip(seconds, seed)
        for itn in (False, True):
            heard = artifact.recognize(samples, language="en", itn=itn)
            assert heard == original.recognize(samples, language="en", itn=itn)
        assert set(heard.text) <= set(dialled)
        assert heard.language == "en"
