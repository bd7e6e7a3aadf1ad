"""Versions that must not go live, each broken in one way, and where that can first be noticed.

Every one starts as a good version of the demo recogniser; `alter` breaks the directory in place.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import onnx
from tests import broken_graphs as graphs
from tests.broken_graphs import edit
from tests.good_versions import (
    DATA,
    MODEL,
    good_version,
    move_weights_out,
    sherpa_version,
)

Caught = Literal[
    "files", "load", "signature", "vocabulary", "cmvn", "run", "time", "memory", "golden", "latency", "serving"
]


@dataclass(frozen=True)
class Broken:
    """How a version is broken and what is the first to notice: `caught` names it.

    files: looking at the directory; load: opening the session; signature, vocabulary, cmvn: comparing; run: one run,
    by an error or by logits that are not finite; time, memory: one run under limits; golden: a wrong text; latency:
    against the live version; serving: only requests show it. `words` are in a good reason, any of them.
    """

    alter: Callable[[Path], None]
    caught: Caught
    words: tuple[str, ...] = ()
    not_as_root: bool = False  # root can read everything


def broken_version(root: Path, broken: str, name: str = "dtmf-v1.1", *, golden: bool = True) -> Path:
    """The directory root/name, broken as BROKEN[broken] says."""
    directory = good_version(root, name, golden=golden)
    BROKEN[broken].alter(directory)
    return directory


# files


def _truncated(directory: Path) -> None:
    os.truncate(directory / MODEL, (directory / MODEL).stat().st_size // 2)


def _garbage(directory: Path) -> None:
    (directory / MODEL).write_bytes(np.random.default_rng(0).bytes(100_000))


def _empty(directory: Path) -> None:
    (directory / MODEL).write_bytes(b"")


def _no_model(directory: Path) -> None:
    (directory / MODEL).unlink()


def _fifo(directory: Path) -> None:
    _no_model(directory)
    os.mkfifo(directory / MODEL)


def _socket(directory: Path) -> None:
    _no_model(directory)
    here = os.open(directory, os.O_PATH)  # the path of a socket may have 107 bytes, a temporary directory's has more
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{here}/{MODEL}")
    finally:
        os.close(here)


def _directory(directory: Path) -> None:
    _no_model(directory)
    (directory / MODEL).mkdir()


def _unreadable(directory: Path) -> None:
    (directory / MODEL).chmod(0)


def _link(name: str, target: str) -> Callable[[Path], None]:
    def alter(directory: Path) -> None:
        (directory / name).unlink()
        (directory / name).symlink_to(target)

    return alter


def _elsewhere(directory: Path, name: str) -> Path:
    """`name` moved out of the version, to a directory beside it whose name no scan takes for a version."""
    outside = directory.parent / ".elsewhere"
    outside.mkdir(exist_ok=True)
    return Path(shutil.move(directory / name, outside / name))


def _linked_model(directory: Path) -> None:
    outside = _elsewhere(directory, MODEL)
    (directory / MODEL).symlink_to(Path("..") / outside.relative_to(directory.parent))


def _external(location: Callable[[Path], str]) -> Callable[[Path], None]:
    """Weights outside the version; `location` makes what the graph says of where they are."""

    def alter(directory: Path) -> None:
        move_weights_out(directory)
        said = location(_elsewhere(directory, DATA))

        def change(model: onnx.ModelProto) -> None:
            for tensor in model.graph.initializer:
                for entry in tensor.external_data:
                    if entry.key == "location":
                        entry.value = said

        edit(directory, change)

    return alter


def _external_linked(directory: Path) -> None:
    move_weights_out(directory)
    outside = _elsewhere(directory, DATA)
    (directory / DATA).symlink_to(outside)


def _external_missing(directory: Path) -> None:
    move_weights_out(directory)
    (directory / DATA).unlink()


def _external_truncated(directory: Path) -> None:
    move_weights_out(directory)
    os.truncate(directory / DATA, (directory / DATA).stat().st_size // 2)


def _external_hole(directory: Path) -> None:
    """The right size, but what a copier that died had not written yet is zero."""
    move_weights_out(directory)
    size = (directory / DATA).stat().st_size
    with open(directory / DATA, "r+b") as file:
        file.seek(size // 4)
        file.write(bytes(size // 2))


# tokens and normalisation


def _tokens(change: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    def alter(directory: Path) -> None:
        path = directory / "tokens.json"
        pieces = change(json.loads(path.read_text(encoding="utf-8")))
        path.write_text(json.dumps(pieces, ensure_ascii=False), encoding="utf-8")

    return alter


def _remove(name: str) -> Callable[[Path], None]:
    return lambda directory: (directory / name).unlink()


def _cmvn_short(directory: Path) -> None:
    path = directory / "am.mvn"
    lines = path.read_text(encoding="ascii").splitlines(keepends=True)
    cut = [" ".join([*line.split()[:83], "]\n"]) if line.startswith("<LearnRateCoef>") else line for line in lines]
    path.write_text("".join(cut), encoding="ascii")


def _metadata_missing(directory: Path) -> None:
    shutil.rmtree(directory)
    sherpa_version(directory.parent, directory.name)
    edit(directory, lambda model: model.ClearField("metadata_props"))


def _rotated(pieces: list[str]) -> list[str]:
    """Every key is written as its neighbour."""
    return [*pieces[:3], *pieces[4:13], pieces[3], *pieces[13:]]


BROKEN: Final[dict[str, Broken]] = {
    "truncated": Broken(_truncated, "load", ("truncated", "parse", "corrupt", "protobuf")),
    "garbage": Broken(_garbage, "load", ("parse", "corrupt", "protobuf")),
    "empty": Broken(_empty, "load", ("empty", "0 bytes")),
    "no_model": Broken(_no_model, "files", ("no model", "onnx")),
    "fifo": Broken(_fifo, "files", ("fifo", "pipe", "regular file")),
    "socket": Broken(_socket, "files", ("socket", "regular file")),
    "directory": Broken(_directory, "files", ("directory", "model", "onnx")),
    "unreadable": Broken(_unreadable, "files", ("permission", "read"), not_as_root=True),
    "link_to_system_file": Broken(_link("config.yaml", "/etc/passwd"), "files", ("outside", "link")),
    "link_to_sibling": Broken(_linked_model, "files", ("outside", "link")),
    "link_dangling": Broken(_link("tokens.json", "tokens-that-never-came.json"), "files", ("link", "missing")),
    "link_to_itself": Broken(_link("tokens.json", "tokens.json"), "files", ("link", "loop")),
    "external_above": Broken(_external(lambda data: f"../{data.parent.name}/{data.name}"), "files", ("outside",)),
    "external_absolute": Broken(_external(str), "files", ("outside", "absolute")),
    "external_linked": Broken(_external_linked, "files", ("outside", "link")),
    "external_missing": Broken(_external_missing, "load", ("missing", DATA)),
    "external_truncated": Broken(_external_truncated, "load", ("short", "truncated", "bytes", DATA)),
    "external_hole": Broken(_external_hole, "golden", ("golden",)),
    "tokens_missing": Broken(_remove("tokens.json"), "vocabulary", ("tokens",)),
    "tokens_short": Broken(_tokens(lambda pieces: pieces[:-5]), "vocabulary", ("tokens",)),
    "tokens_permuted": Broken(_tokens(_rotated), "golden", ("golden",)),
    "cmvn_missing": Broken(_remove("am.mvn"), "cmvn", ("am.mvn", "CMVN", "metadata")),
    "cmvn_short": Broken(_cmvn_short, "cmvn", ("am.mvn", "CMVN", "560")),
    "metadata_missing": Broken(_metadata_missing, "cmvn", ("metadata", "CMVN", "neg_mean")),
    "wrong_signature": Broken(graphs.wrong_signature, "signature", ("input", "signature")),
    "wide_lengths": Broken(graphs.wide_lengths, "signature", ("int32", "int64", "signature")),
    "feature_size": Broken(graphs.feature_size, "signature", ("560", "400")),
    "custom_operator": Broken(graphs.custom_operator, "load", ("Mystery", "com.example")),
    "future_opset": Broken(graphs.future_opset, "load", ("opset",)),
    "nan_weights": Broken(graphs.nan_weights, "run", ("finite", "NaN")),
    "endless_loop": Broken(graphs.endless_loop, "time", ("time", "seconds", "longer", "within")),
    "gigabytes_in_pieces": Broken(graphs.gigabytes_in_pieces, "memory", ("memory", "allocate")),
    "gigabytes": Broken(graphs.gigabytes, "memory", ("memory", "allocate")),
    "slow": Broken(graphs.slow_down, "latency", ("slow", "latency", "times")),
    "crashes_on_longer_audio": Broken(graphs.crashes_on_longer_audio, "serving"),
    "kills_on_longer_audio": Broken(graphs.kills_on_longer_audio, "serving"),
    "fails_one_in_ten": Broken(graphs.fails_one_in_ten, "serving"),
}
