"""The model that Triton's Python backend runs: a recogniser loaded from the link when an instance starts."""

import base64
import json
import sys

import numpy as np
import triton_python_backend_utils as pb


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        given = json.loads(args["model_config"])["parameters"]
        sys.path[:0] = given["import_from"]["string_value"].split(":")
        from tests.bench.peers.recognizer import Recognizer

        self.recognizer = Recognizer(given["link"]["string_value"], 1)

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        audio = pb.get_input_tensor_by_name(request, "audio").as_numpy()[0]
        said = {"text": self.recognizer.text(base64.b64decode(audio)), "version": self.recognizer.version}
        tensors = [pb.Tensor(name, np.array([value], dtype=object)) for name, value in said.items()]
        return pb.InferenceResponse(output_tensors=tensors)
