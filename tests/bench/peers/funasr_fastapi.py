"""funasr-onnx behind FastAPI and uvicorn, one process for each core.

funasr-onnx itself takes a clip in one run, whatever its length; the server cuts long ones every 30 s.
Annotations are not postponed in this file: FastAPI reads them, and `UploadFile` is known only inside the function.
"""

import os
import re
import sys

from tests.bench.peers.peer import (
    CORES,
    Peer,
    asked_by_form,
    itself,
)
from tests.bench.precision import of

WINDOW = 30 * 16000


def create_app():
    import io
    from pathlib import Path

    import numpy as np
    import soundfile
    from fastapi import FastAPI, File, UploadFile
    from funasr_onnx import SenseVoiceSmall

    directory = Path(os.environ["BENCH_LINK"]).resolve()
    model = SenseVoiceSmall(str(directory), batch_size=1, quantize=of(directory) == "int8", intra_op_num_threads=1)
    app = FastAPI()

    @app.post("/api/predict")
    def predict(audio: UploadFile = File()):  # noqa: B008 - how FastAPI is told
        samples, _ = soundfile.read(io.BytesIO(audio.file.read()), dtype="float32")
        pieces = [np.ascontiguousarray(samples[at : at + WINDOW]) for at in range(0, len(samples), WINDOW)]
        said = [model(piece, language="auto", textnorm="woitn")[0] for piece in pieces if len(piece) >= 400]
        return {"result": " ".join(re.sub(r"<\|[^|]*\|>", "", text).strip() for text in said)}

    return app


def serve(link: str, port: int, workers: int) -> None:
    import uvicorn

    os.environ["BENCH_LINK"] = link
    uvicorn.run(
        "tests.bench.peers.funasr_fastapi:create_app", factory=True, port=port, workers=workers, log_level="warning"
    )


PEER = Peer(
    name="funasr",
    title="funasr-onnx, FastAPI",
    requirements=("funasr-onnx", "fastapi", "uvicorn", "python-multipart", "soundfile", "onnxruntime"),
    command=itself("tests.bench.peers.funasr_fastapi"),
    ask=asked_by_form("/api/predict"),
    parallel=CORES,
    setup="uvicorn with one process for each core, one thread for each session, dither 0",
)

if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
