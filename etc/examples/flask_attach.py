"""A Flask page that joins modelward: reloaded like a worker, no request lost, no code of its own for it."""

import sys
from pathlib import Path
from typing import Any

from flask import Flask, request

from modelward.worker.attach import attach
from modelward.worker.audio.decode import decode
from modelward.worker.sensevoice.pipeline import Recognizer

app = Flask(__name__)
ward = attach(load=lambda artifact, version: Recognizer.load(Path(artifact)), name="flask", socket=sys.argv[1])


@app.post("/recognize")
def recognize() -> dict[str, Any]:
    with ward.request() as recognizer:
        return {
            "text": recognizer.transcribe(decode(request.get_data(), max_seconds=600)).text,
            "version": ward.version,
        }


if __name__ == "__main__":
    ward.wait(60)
    app.run(port=int(sys.argv[2]), threaded=True)
