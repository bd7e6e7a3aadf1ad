"""Flask as such services are often written: one process, one global model, one lock for requests and for reloading."""

from __future__ import annotations

import sys
import threading

from tests.bench.load import post
from tests.bench.peers.peer import (
    RECOGNIZER,
    Peer,
    Place,
    asked_by_form,
    itself,
)


def serve(link: str, port: int, threads: int) -> None:
    import logging

    from flask import Flask, jsonify, request
    from tests.bench.peers.recognizer import Recognizer

    app, lock = Flask(__name__), threading.Lock()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    state = {"model": Recognizer(link, threads)}

    @app.post("/api/predict")
    def predict():
        audio = request.files["audio"].read()
        with lock:
            return jsonify(result=state["model"].text(audio), version=state["model"].version)

    @app.post("/api/reload-model")
    def reload_model():
        with lock:
            state["model"] = Recognizer(link, threads)
        return jsonify(success=True)

    app.run("127.0.0.1", port, threaded=True)


def reload(place: Place) -> None:
    post(place.port, "/api/reload-model", b"", "application/json")


PEER = Peer(
    name="flask",
    title="Flask + lock",
    requirements=("flask", *RECOGNIZER),
    command=itself("tests.bench.peers.flask_lock"),
    ask=asked_by_form("/api/predict"),
    replace=reload,
    setup="one process, `app.run(threaded=True)`, one lock, one session with a thread for each core",
)

if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
