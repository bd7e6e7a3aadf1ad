"""What a person names is recognised as one version, a model root, a cache or an archive, and never guessed."""

from __future__ import annotations

import pytest

from modelward.daemon.models.layouts import (
    ArchiveFound,
    Found,
    NothingFound,
    RootFound,
    TreeListing,
    VersionFound,
    name_of,
    recognise,
)

HUB = "models--csukuangfj--sherpa-onnx-sense-voice"
OLD, NEW = "1" * 40, "2" * 40
FUNASR = ("model_quant.onnx", "tokens.json", "am.mvn", "config.yaml")
SHERPA = ("model.onnx", "model.int8.onnx", "tokens.txt", "test_wavs/zh.wav")
VAD = ("model.onnx", "am.mvn", "config.yaml")


def tree(*files: str, path: str = "/m/x", **more: object) -> TreeListing:
    return TreeListing(path, "directory", frozenset(files), **more)  # type: ignore[arg-type]


def below(directory: str, *files: str) -> tuple[str, ...]:
    return tuple(f"{directory}/{name}" for name in files)


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        (tree(*FUNASR), VersionFound("/m/x", "x")),
        (tree(*SHERPA, path="/m/v1.0"), VersionFound("/m/v1.0", "v1.0")),
        (tree(*SHERPA, path="/m/current"), VersionFound("/m/current", "model")),
        (tree(*below("inner", *FUNASR), "README.md", *below("other", "a.txt")), VersionFound("/m/x/inner", "inner")),
        # model roots
        (tree(*below("v1", *FUNASR), *below("v2", *SHERPA)), RootFound("/m/x")),
        (tree(*below("v1", *FUNASR)), RootFound("/m/x")),
        (tree(*below("v1", *FUNASR), *below("notes", "a.txt"), link="v1"), RootFound("/m/x")),
        (tree(*below("v1", *FUNASR), *below(".upload-1", "model.onnx")), RootFound("/m/x")),
        # Hugging Face: the hub, one repository, one snapshot
        (
            tree(*below(f"{HUB}/snapshots/{NEW}", *SHERPA), f"{HUB}/refs/main", f"{HUB}/blobs/abc"),
            VersionFound(f"/m/x/{HUB}/snapshots/{NEW}", "sherpa-onnx-sense-voice"),
        ),
        (
            tree(
                *below(f"snapshots/{OLD}", *SHERPA), *below(f"snapshots/{NEW}", *SHERPA), "refs/main",
                path=f"/m/{HUB}", main={"": NEW},
            ),
            VersionFound(f"/m/{HUB}/snapshots/{NEW}", "sherpa-onnx-sense-voice"),
        ),
        (
            tree(
                *below(f"hub/{HUB}/snapshots/{OLD}", *SHERPA), *below(f"hub/{HUB}/snapshots/{NEW}", *SHERPA),
                main={f"hub/{HUB}": OLD},
            ),
            VersionFound(f"/m/x/hub/{HUB}/snapshots/{OLD}", "sherpa-onnx-sense-voice"),
        ),
        (
            tree(*SHERPA, path=f"/m/{HUB}/snapshots/{NEW}"),
            VersionFound(f"/m/{HUB}/snapshots/{NEW}", "sherpa-onnx-sense-voice"),
        ),
        # ModelScope: the model, its owner, the whole cache with a voice detector beside it
        (
            tree(*FUNASR, ".msc", ".mv", path="/c/hub/models/iic/SenseVoiceSmall-onnx"),
            VersionFound("/c/hub/models/iic/SenseVoiceSmall-onnx", "SenseVoiceSmall-onnx"),
        ),
        (
            tree(*below("SenseVoiceSmall-onnx", *FUNASR, ".msc"), path="/c/hub/models/iic"),
            VersionFound("/c/hub/models/iic/SenseVoiceSmall-onnx", "SenseVoiceSmall-onnx"),
        ),
        (
            tree(
                *below("hub/models/iic/Sense___Voice", *FUNASR, ".msc"), *below("hub/models/iic/vad", *VAD, ".msc"),
                path="/c",
            ),
            VersionFound("/c/hub/models/iic/Sense___Voice", "Sense.Voice"),
        ),
        # files
        (TreeListing("/m/sense-1.tar.gz", "file", archive="tar"), ArchiveFound("/m/sense-1.tar.gz", "tar", "sense-1")),
        (TreeListing("/m/sense.zip", "file", archive="zip"), ArchiveFound("/m/sense.zip", "zip", "sense")),
        (TreeListing("/m/v1/a.onnx", "file", frozenset({"tokens.txt"})), VersionFound("/m/v1", "v1", "a.onnx")),
    ],
)  # fmt: skip
def test_what_is_meant_is_found(seen: TreeListing, found: Found) -> None:
    assert recognise(seen) == found


@pytest.mark.parametrize(
    ("seen", "because"),
    [
        (TreeListing("/m/x", "missing"), "there is no such file"),
        (TreeListing("/dev/null", "other"), "neither a file nor a directory"),
        (tree(), "no .onnx file, at any depth; take model_quant.onnx"),
        (tree("a.txt", cut=True), "too many files below it"),
        (tree("model.pt", "config.yaml"), "a model of PyTorch alone, and what is run here is ONNX; take model_quant"),
        (TreeListing("/m/model.pt", "file"), "is a model of PyTorch"),
        (TreeListing("/m/notes.txt", "file"), "neither a model (.onnx) nor a tar or zip"),
        (TreeListing("/m/a.onnx", "file", frozenset(["a.onnx"])), "neither tokens.json nor tokens.txt is beside it"),
        (tree(*below("a/b", *FUNASR), *below("c", *FUNASR), "d/e"), "holds 2 models; name the directory of one: a/b,"),
        (
            tree(*below(f"snapshots/{OLD}", *SHERPA), *below(f"snapshots/{NEW}", *SHERPA), path=f"/m/{HUB}"),
            "holds 2 models",
        ),
        (tree(broken=frozenset(["model.onnx"])), "model.onnx is a link to a file that is not there; name"),
    ],
)  # fmt: skip
def test_what_holds_no_model_is_refused_with_what_to_do(seen: TreeListing, because: str) -> None:
    found = recognise(seen)
    assert isinstance(found, NothingFound) and because in found.because


@pytest.mark.parametrize(
    ("path", "name"),
    [("/m/v1.0/", "v1.0"), ("/", "model"), ("/m/.hidden", "model"), ("/m/x.part", "model"), ("/m/-x", "model")],
)
def test_the_name_is_one_that_a_version_may_have(path: str, name: str) -> None:
    assert name_of(path) == name
