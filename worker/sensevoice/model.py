"""Describes a SenseVoice version: its graph's flavour, prompt ids, normalisation and tokens, checked against each
other.

The two exports in use, FunASR's and sherpa-onnx's, are distinguished by the names of the graph's inputs, never by file
names. It runs nothing: everything is known from a session's signature and metadata and from two small files. An answer
may be logits (float) or the best ids (integers).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import onnxruntime as ort
from msgspec import Struct

from .decode import BLANK
from .files import (
    BadSenseVoiceFiles,
    ModelFiles,
    cmvn_from,
    find,
    read_cmvn,
)
from .frontend import (
    FEATURE_SIZE,
    STACK_FRAMES,
    STACK_SHIFT,
    Floats,
)
from .tokens import BadTokenTable, Vocabulary, read

__all__ = ["LANGUAGES", "BadSenseVoiceFiles", "Description", "ModelFiles", "describe", "find"]

# ids of the prompt table that all published SenseVoice-small models share
LANGUAGES: Final[Mapping[str, int]] = MappingProxyType(
    {"auto": 0, "zh": 3, "en": 4, "yue": 7, "ja": 11, "ko": 12, "nospeech": 13}
)
WITH_ITN: Final = 14
WITHOUT_ITN: Final = 15

_FLAVOURS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "funasr": ("speech", "speech_lengths", "language", "textnorm"),
        "sherpa": ("x", "x_length", "language", "text_norm"),
    }
)
_INT32: Final = 1 << 31
_LENGTH_OUTPUT: Final = "encoder_out_lens"


class Description(Struct, frozen=True):
    """One version. `logits_width` is None where the graph leaves it open or answers with ids.

    `languages` maps the names that a client may use to prompt ids. `length_output` is "" when the graph has none; then
    the answer has as many frames as the input and four more.
    """

    files: ModelFiles
    flavour: str
    inputs: tuple[str, str, str, str]
    answer_output: str
    length_output: str
    answers_ids: bool
    logits_width: int | None
    vocabulary: Vocabulary
    stated_vocabulary: int | None
    shift: Floats
    scale: Floats
    languages: Mapping[str, int]
    with_itn: int
    without_itn: int
    blank: int

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens in the table."""
        return len(self.vocabulary)

    def check_vocabulary(self) -> None:
        """Raises BadSenseVoiceFiles when the tokens do not match the width of the logits, as stated or as declared."""
        for what, size in (
            ("metadata states a vocabulary of", self.stated_vocabulary),
            ("answers logits of width", self.logits_width),
        ):
            if size is not None and size != self.vocabulary_size:
                raise BadSenseVoiceFiles(
                    f"cannot use {self.files.tokens.name}: it has {self.vocabulary_size} tokens, "
                    f"but {self.files.model.name} {what} {size}"
                )


def describe(session: ort.InferenceSession, files: ModelFiles) -> Description:
    """Reads the graph's signature and metadata and the files beside it. Raises BadSenseVoiceFiles with file and
    cause.
    """
    name = files.model.name
    metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map
    inputs = session.get_inputs()
    flavour = _flavour(inputs, metadata, name)
    _check_inputs(inputs, name)
    outputs = session.get_outputs()
    answer = outputs[0]
    if answer.type not in ("tensor(float)", "tensor(float16)", "tensor(int64)", "tensor(int32)"):
        raise BadSenseVoiceFiles(f"cannot use {name}: output '{answer.name}' is {answer.type}, expected logits or ids")
    ids = "int" in answer.type
    if len(answer.shape) != (2 if ids else 3):
        raise BadSenseVoiceFiles(f"cannot use {name}: output '{answer.name}' has shape {answer.shape}")
    width = answer.shape[-1]
    _check_front_end(metadata, name)
    try:
        vocabulary = read(files.tokens)
    except BadTokenTable as e:
        raise BadSenseVoiceFiles(str(e)) from e
    shift, scale = _cmvn(files, metadata, flavour)
    description = Description(
        files=files,
        flavour=flavour,
        inputs=(inputs[0].name, inputs[1].name, inputs[2].name, inputs[3].name),
        answer_output=answer.name,
        length_output=_LENGTH_OUTPUT if any(output.name == _LENGTH_OUTPUT for output in outputs) else "",
        answers_ids=ids,
        logits_width=width if isinstance(width, int) and not ids else None,
        vocabulary=vocabulary,
        stated_vocabulary=_integer(metadata, "vocab_size", 0, name) if "vocab_size" in metadata else None,
        shift=shift,
        scale=scale,
        languages=_languages(metadata, name),
        with_itn=_integer(metadata, "with_itn", WITH_ITN, name),
        without_itn=_integer(metadata, "without_itn", WITHOUT_ITN, name),
        blank=_integer(metadata, "blank_id", BLANK, name),
    )
    description.check_vocabulary()
    return description


def _flavour(inputs: list[Any], metadata: Mapping[str, str], name: str) -> str:
    names = tuple(entry.name for entry in inputs)
    for flavour, expected in _FLAVOURS.items():
        if names == expected:
            return flavour
    if names[:1] == ("x",) and "Nano" in metadata.get("comment", ""):
        raise BadSenseVoiceFiles(f"cannot use {name}: it is a Fun-ASR-Nano model, not SenseVoice")
    if len(names) == 2 and [entry.type for entry in inputs] == ["tensor(float)", "tensor(int64)"]:
        raise BadSenseVoiceFiles(f"cannot use {name}: it is an encoder-only export without the prompt table")
    first = f"input 0 is '{names[0]}'" if names else "it has no inputs"
    if names and names[0] in ("speech", "x"):
        flavour = "funasr" if names[0] == "speech" else "sherpa"
        raise BadSenseVoiceFiles(f"cannot use {name}: inputs are {_list(names)}; expected {_list(_FLAVOURS[flavour])}")
    raise BadSenseVoiceFiles(f"cannot use {name}: {first}; expected speech or x, the inputs of a SenseVoice export")


def _check_inputs(inputs: list[Any], name: str) -> None:
    for entry, kind, rank in zip(inputs, ("tensor(float)", *["tensor(int32)"] * 3), (3, 1, 1, 1), strict=True):
        if entry.type != kind or len(entry.shape) != rank:
            raise BadSenseVoiceFiles(
                f"cannot use {name}: input '{entry.name}' is {entry.type} {entry.shape}, expected {kind} of rank {rank}"
            )
    size = inputs[0].shape[2]
    if isinstance(size, int) and size != FEATURE_SIZE:
        raise BadSenseVoiceFiles(
            f"cannot use {name}: input '{inputs[0].name}' takes {size} features, expected {FEATURE_SIZE}"
        )


def _check_front_end(metadata: Mapping[str, str], name: str) -> None:
    for key, only in (("lfr_window_size", STACK_FRAMES), ("lfr_window_shift", STACK_SHIFT), ("normalize_samples", 0)):
        value = _integer(metadata, key, only, name)
        if value != only:
            raise BadSenseVoiceFiles(f"cannot use {name}: metadata {key} is {value}, only {only} is supported")


def _cmvn(files: ModelFiles, metadata: Mapping[str, str], flavour: str) -> tuple[Floats, Floats]:
    """The normalisation: from each flavour's own place, else from the other's."""
    stated = "neg_mean" in metadata and "inv_stddev" in metadata
    if files.cmvn is not None and (flavour == "funasr" or not stated):
        return read_cmvn(files.cmvn)
    if not stated:
        raise BadSenseVoiceFiles(
            f"cannot normalise features: there is no am.mvn, and {files.model.name} has no neg_mean and inv_stddev"
        )
    shift, scale = (
        cmvn_from(metadata[key].split(","), files.model.name, f"metadata {key}") for key in ("neg_mean", "inv_stddev")
    )
    return shift, scale


def _languages(metadata: Mapping[str, str], name: str) -> Mapping[str, int]:
    return MappingProxyType(
        {language: _integer(metadata, f"lang_{language}", token, name) for language, token in LANGUAGES.items()}
    )


def _integer(metadata: Mapping[str, str], key: str, default: int, name: str) -> int:
    text = metadata.get(key)
    if text is None:
        return default
    try:
        value = int(text)
    except ValueError:
        raise BadSenseVoiceFiles(
            f"cannot use {name}: metadata {key} is {text[:40]!r}, expected a whole number"
        ) from None
    if not -_INT32 <= value < _INT32:  # graphs take their ids as 32-bit numbers
        raise BadSenseVoiceFiles(f"cannot use {name}: metadata {key} is {text[:40]}, beyond what 32 bits hold")
    return value


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names[:6])
