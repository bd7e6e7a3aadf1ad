"""What a version may hold, and what was written about it: files that somebody else made or damaged."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import onnx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st
from tests.fuzz.strategies import (
    ODD_NUMBERS,
    ODD_TEXTS,
    altered,
    bytes_like,
    deep,
    fuzzed,
    twisted,
)
from tests.roots import IN_ROOT
from tests.support import PATIENCE_SECONDS
from tests.versions import MODEL, tensor_version
from tests.worker.shared.test_minisign import Signer
from tests.worker.validate.contexts import context
from tests.worker.validate.judging import judge

from modelward.daemon.models.artifacts import is_whole
from modelward.daemon.models.scan import scan_root
from modelward.daemon.models.snapshot import RootSeen
from modelward.worker.sensevoice.files import BadSenseVoiceFiles, read_cmvn
from modelward.worker.sensevoice.model import Description, describe, find
from modelward.worker.sensevoice.pipeline import Recognizer
from modelward.worker.sensevoice.tokens import BadTokenTable, read
from modelward.worker.shared.artifact import DESCRIPTION, BadArtifact, read_artifact
from modelward.worker.shared.minisign import BadSignature, parse_key, verify
from modelward.worker.shared.sha256sums import BadSums, parse_sums
from modelward.worker.validate.gates import integrity, signature
from modelward.worker.validate.onnx_graph import BadGraph, Signature, read_graph

VECTORS = Path(__file__).parents[1] / "vectors"
FUNASR, SHERPA = VECTORS / "model-funasr", VECTORS / "model-sherpa"
CMVN = (FUNASR / "am.mvn").read_bytes()
TOKENS = (FUNASR / "tokens.json").read_bytes()
LINES = (SHERPA / "tokens.txt").read_bytes()
SMALL_TOKENS = b'["<blk>", "<|zh|>", "\\u2581a", "<0xE4>", "b"]'
SMALL_LINES = "<blk> 0\n<|zh|> 1\n\u2581a 2\n\u3000 3\n 4\n".encode()


@fuzzed(120)
@given(bytes_like(CMVN))
@example(CMVN.replace(b" ] \n", b" 1e39 ] \n"))
@example(b"<AddShift> [ " + b"1e39 " * 560 + b"] <Rescale> [ " + b"1 " * 560 + b"]")
@example(b"<AddShift> [ " + b"9" * 400 + b" ] <Rescale> [ 1 ]")
def test_a_normalisation_is_560_finite_numbers_twice_or_refused(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "am.mvn"
        path.write_bytes(data)
        try:
            shift, scale = read_cmvn(path)
        except BadSenseVoiceFiles as e:
            assert str(e).startswith("cannot") and len(str(e)) < 1000
            return
    for numbers in (shift, scale):
        assert numbers.shape == (560,) and numbers.dtype == np.float32 and np.isfinite(numbers).all()


@fuzzed(150)
@given(st.sampled_from((".json", ".txt")), bytes_like(SMALL_TOKENS, SMALL_LINES, TOKENS, LINES))
@example(".json", deep(20_000))
@example(".json", b'["\\ud800"]')
@example(".json", b"[" + b"1" * 5000 + b"]")
@example(".txt", "a ٣\n".encode())
def test_a_token_table_is_whole_or_refused(suffix: str, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / f"tokens{suffix}"
        path.write_bytes(data)
        try:
            vocabulary = read(path)
        except BadTokenTable as e:
            assert str(e).startswith(f"cannot read tokens{suffix}") and len(str(e)) < 1000
            return
        again = Path(directory) / "again.json"
        again.write_text(json.dumps(vocabulary.pieces), encoding="utf-8")
        assert read(again) == vocabulary and len(vocabulary) > 0
    for token in range(min(len(vocabulary), 50)):
        vocabulary.tag(token)
        vocabulary.text(token).encode()
        assert vocabulary.byte(token) is None or 0 <= vocabulary.byte(token) <= 255  # type: ignore[operator]


SUMS = b"".join(
    hashlib.sha256(name).hexdigest().encode() + b"  " + name + b"\n" for name in (b"model.onnx", b"a/b.txt")
)
ESCAPED = b"\\" + hashlib.sha256(b"").hexdigest().encode() + b" *./with\\nnewline\\\\\n"


@fuzzed(200)
@given(bytes_like(SUMS, ESCAPED, SUMS + ESCAPED))
def test_a_list_of_sums_names_files_inside_or_is_refused(data: bytes) -> None:
    try:
        sums = parse_sums(data)
    except BadSums as e:
        assert str(e)
        return
    for name, sha256 in sums.items():
        assert len(sha256) == 64 and int(sha256, 16) >= 0
        assert not any(part in ("", ".", "..") for part in name.split("/"))
    assert parse_sums("".join(f"{_listed(name, sha256)}\n" for name, sha256 in sums.items()).encode()) == sums


def _listed(name: str, sha256: str) -> str:
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == name else chr(92)}{sha256}  {escaped}"


@fuzzed(60)
@given(bytes_like(SUMS, ESCAPED))
@example(SUMS.replace(b"a/b.txt", b"../../etc/passwd"))
def test_a_look_at_a_version_with_any_sums_tells_what_is_there(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        version = Path(directory) / "v1"
        version.mkdir()
        (version / "SHA256SUMS").write_bytes(data)
        (version / "model.onnx").write_bytes(b"x")
        sight = scan_root(Path(directory), IN_ROOT, writing_of={"v1"})
        assert isinstance(sight, RootSeen) and sight.versions[0].has_sums and not sight.versions[0].error
        made = context(version, checksums="required")
        assert not integrity.check(made).passed or sight.versions[0].files == 2


SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))), b"12345678")
SIGNED = SIGNER.sign(SUMS)


@fuzzed(200)
@given(bytes_like(SIGNED, SIGNER.sign(SUMS, prehashed=False)), st.one_of(st.just(SUMS), altered(SUMS)))
def test_a_signature_is_good_for_what_was_signed_alone(made: bytes, data: bytes) -> None:
    try:
        comment = verify(data, made, [parse_key(SIGNER.public)])
    except BadSignature as e:
        assert str(e)
        return
    assert data == SUMS and comment == "timestamp:1"


@fuzzed(150)
@given(st.one_of(ODD_TEXTS, bytes_like(SIGNER.public.encode()).map(lambda data: data.decode(errors="replace"))))
@example("\ud800")
def test_a_public_key_is_one_or_refused(text: str) -> None:
    try:
        key = parse_key(text)
    except BadSignature as e:
        assert str(e)
        return
    assert len(key.key_id) == 8 and len(key.ed25519) == 32 and key.name
    try:
        verify(SUMS, SIGNED, [key])
    except BadSignature as e:
        assert str(e)


_DESCRIPTION = {
    "version": "v1.0", "digest": "0" * 64, "kind": "sensevoice", "model": "model.onnx", "onnxruntime": "1.32.0",
    "files": {"model.onnx": {"bytes": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}}, "form": "plain",
    "compiled_model": "", "level": "", "key": "", "load_bytes": 5, "format": 1, "compiled": {"form": "plain"},
    "gates": [{"type": "gate_done", "gate": "load", "passed": True, "seconds": 0.5, "because": "", "warning": False}],
}  # fmt: skip
_DESCRIBED = json.dumps(_DESCRIPTION)
_DESCRIPTIONS = st.one_of(
    twisted(_DESCRIPTION).map(lambda value: json.dumps(value).encode()),
    bytes_like(_DESCRIBED.encode()),
    st.just(b'{"x":' + deep(20_000) + b"}"),
    st.just(_DESCRIBED.replace('"model.onnx": {', '"\\ud800": {').encode()),
    st.just(_DESCRIBED.replace('"model.onnx": {', '"' + "a" * 5000 + '": {').encode()),
)


@fuzzed(150)
@given(_DESCRIPTIONS)
def test_an_artifact_is_whole_or_refused(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "model.onnx").write_bytes(b"abc")
        (Path(directory) / DESCRIPTION).write_bytes(data)
        is_whole(directory)
        try:
            artifact = read_artifact(Path(directory))
        except BadArtifact as e:
            assert str(e).startswith("cannot use artifact")
            return
    assert artifact.model == "model.onnx" and set(artifact.files) == {"model.onnx"}


_METADATA = ("lang_zh", "with_itn", "blank_id", "vocab_size", "neg_mean", "inv_stddev", "lfr_window_size", "comment")


@st.composite
def twisted_graphs(draw: st.DrawFn) -> tuple[Path, onnx.ModelProto]:
    """A real tiny model whose own word about itself was changed here and there."""
    source = draw(st.sampled_from((FUNASR, SHERPA)))
    model = onnx.ModelProto()
    model.CopyFrom(_graph(source))
    for _ in range(draw(st.integers(1, 4))):
        _twist(draw, model)
    return source, model


@functools.cache
def _graph(source: Path) -> onnx.ModelProto:
    return onnx.load(source / MODEL)


def _twist(draw: st.DrawFn, model: onnx.ModelProto) -> None:
    text = draw(ODD_TEXTS.map(lambda t: t.encode(errors="replace").decode()[:2000]))
    number = draw(st.sampled_from((-1, 0, 1, 3, 7, 80, 560, 2**31, 2**40, 2**62)))
    port = draw(st.sampled_from([*model.graph.input, *model.graph.output]))
    how = draw(st.integers(0, 9))
    if how <= 3:
        entry = model.metadata_props.add() if how == 0 or not model.metadata_props else model.metadata_props[0]
        entry.key = draw(st.sampled_from(_METADATA))
        entry.value = draw(
            st.one_of(st.just(text), ODD_NUMBERS.map(lambda n: f"{n:.0f}" if isinstance(n, float) else str(n)))
        )
    elif how == 4:
        port.name = text
    elif how == 5 and port.type.tensor_type.shape.dim:
        port.type.tensor_type.shape.dim[-1].dim_value = number
    elif how == 6:
        port.type.tensor_type.elem_type = draw(st.integers(0, 25))
    elif how == 7:
        del port.type.tensor_type.shape.dim[draw(st.integers(0, 3)) :]
    elif how == 8 and model.graph.initializer:
        tensor = model.graph.initializer[0]
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key in draw(st.lists(st.sampled_from(("location", "offset", "length")), max_size=3)):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, draw(st.sampled_from((text, str(number), "am.mvn", "../x", "9" * 5000)))
    else:
        model.opset_import[0].version = number
        model.graph.node[0].op_type = draw(st.sampled_from(("Add", text)))


@fuzzed(120)
@given(twisted_graphs())
def test_what_a_graph_says_of_itself_is_used_in_bounds_or_refused(made: tuple[Path, onnx.ModelProto]) -> None:
    source, model = made
    with tempfile.TemporaryDirectory() as parent:
        directory = Path(parent) / "v1"
        shutil.copytree(source, directory)
        (directory / MODEL).write_bytes(model.SerializeToString())
        answer = signature.check(context(directory))
        assert answer.because
        if not answer.passed:
            return
        known = describe(Signature(model), find(directory, MODEL))  # type: ignore[arg-type]
    _feeds(known)


def _feeds(known: Description) -> None:
    """A request can be put together of it."""
    for itn in (False, True):
        feeds = Recognizer(None, known).feeds(np.zeros((3, 560), np.float32), language="zh", itn=itn)  # type: ignore[arg-type]
        assert [array.dtype for array in feeds.values()] == [np.float32, np.int32, np.int32, np.int32]


GRAPHS = tuple((directory / MODEL).read_bytes() for directory in (FUNASR, SHERPA))


@fuzzed(80)
@given(altered(*GRAPHS, head=600))
@example(GRAPHS[0].replace(b"MatMul", b"Mat\xfful"))
@example(GRAPHS[1].replace(b"vocab_size", b"vocab\xffsize"))
@example(GRAPHS[1].replace(b"text_norm", b"text\xffnorm"))
def test_a_damaged_graph_is_judged_or_refused(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as parent:
        directory = Path(parent) / "v1"
        shutil.copytree(FUNASR, directory)
        (directory / MODEL).write_bytes(data)
        try:
            read_graph(directory / MODEL)
        except BadGraph as e:
            assert str(e)
        assert signature.check(context(directory)).because


@fuzzed(3)
@given(st.one_of(altered(*GRAPHS[:1], head=2000), twisted_graphs()))
def test_the_validator_gives_a_verdict_on_any_graph(made: bytes | tuple[Path, onnx.ModelProto]) -> None:
    with tempfile.TemporaryDirectory() as parent:
        directory = Path(parent) / "v1.0"
        source, data = (FUNASR, made) if isinstance(made, bytes) else (made[0], made[1].SerializeToString())
        shutil.copytree(source, directory)
        (directory / MODEL).write_bytes(data)
        outcome = judge(directory, timeout_seconds=PATIENCE_SECONDS)
    assert outcome.status == 0 and outcome.verdict.because
    assert "cannot judge it" not in outcome.verdict.because, outcome.verdict.because


@fuzzed(2)
@given(st.data())
def test_the_validator_gives_a_verdict_on_any_tensor_model(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as parent:
        directory = tensor_version(Path(parent), "adder-v1")
        model = (directory / MODEL).read_bytes()
        (directory / MODEL).write_bytes(data.draw(altered(model)))
        outcome = judge(directory, kind="tensor", timeout_seconds=PATIENCE_SECONDS)
    assert outcome.status == 0 and outcome.verdict.because
    assert "cannot judge it" not in outcome.verdict.because, outcome.verdict.because
