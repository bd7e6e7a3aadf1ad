"""Triton (the server inside NVIDIA's PyTriton wheel) with its Python backend, two instances, in poll mode.

Its interpreter takes no PYTHONPATH, so the model is told where to import from. It polls each second; what it
polls is the repository, so the model's file is touched when the link was moved.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from pathlib import Path

from tests.bench.clips import Clip
from tests.bench.load import Answer, post
from tests.bench.peers.peer import CORES, RECOGNIZER, Peer, Place

ROOT = Path(__file__).resolve().parents[3]
_CONFIG = """
name: "asr"
backend: "python"
max_batch_size: 0
input [ {{ name: "audio", data_type: TYPE_STRING, dims: [ 1 ] }} ]
output [
  {{ name: "text", data_type: TYPE_STRING, dims: [ 1 ] }},
  {{ name: "version", data_type: TYPE_STRING, dims: [ 1 ] }}
]
instance_group [ {{ count: {count}, kind: KIND_CPU }} ]
parameters [
  {{ key: "link", value: {{ string_value: "{link}" }} }},
  {{ key: "import_from", value: {{ string_value: "{root}:{root}/.imports" }} }}
]
"""


def command(place: Place) -> list[str]:
    model = place.scratch / "models" / "asr"
    (model / "1").mkdir(parents=True, exist_ok=True)
    (model / "config.pbtxt").write_text(_CONFIG.format(count=place.workers, link=place.link, root=ROOT))
    shutil.copy(Path(__file__).with_name("triton_model.py"), model / "1" / "model.py")
    python = "python3." + next(place.python.parent.parent.glob("lib/python3.*")).name.rpartition(".")[2]
    packages = place.python.parent.parent / "lib" / python / "site-packages"
    server = packages / "pytriton" / "tritonserver"
    backends = place.scratch / "backends"
    shutil.copytree(server / "backends", backends, dirs_exist_ok=True)
    stub = server / "python_backend_stubs" / python.removeprefix("python") / "triton_python_backend_stub"
    shutil.copy(stub, backends / "python" / stub.name)
    libraries = f"{packages / 'nvidia_pytriton.libs'}"
    return [
        "env",
        f"LD_LIBRARY_PATH={libraries}",
        f"PYTHONPATH={packages}",
        str(server / "bin" / "tritonserver"),
        f"--model-repository={place.scratch / 'models'}",
        f"--backend-directory={backends}",
        "--model-control-mode=poll",
        "--repository-poll-secs=1",
        "--http-address=127.0.0.1",
        f"--http-port={place.port}",
        "--allow-grpc=false",
        "--allow-metrics=false",
        f"--backend-config=python,shm-region-prefix-name=bench{place.port}",
    ]


def ask(port: int, clip: Clip) -> Answer:
    audio = base64.b64encode(clip.wav).decode()
    tensor = {"name": "audio", "shape": [1], "datatype": "BYTES", "data": [audio]}
    body, _ = post(port, "/v2/models/asr/infer", json.dumps({"inputs": [tensor]}).encode(), "application/json")
    said = {output["name"]: output["data"][0] for output in json.loads(body)["outputs"]}
    return Answer(said["text"], said["version"])


def replace(place: Place) -> None:
    os.utime(place.scratch / "models" / "asr" / "1" / "model.py")


PEER = Peer(
    name="triton",
    title="Triton",
    requirements=("nvidia-pytriton", *RECOGNIZER),
    command=command,
    ask=ask,
    replace=replace,
    parallel=CORES,
    setup="Python backend, an instance for each core, one thread each; polls its repository each second",
)
