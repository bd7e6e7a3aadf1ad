"""Turns an accepted version into the form that workers map: same answers, less time, less memory, quicker to load.

`compiler.compile_model` does it; one idea a file: `requantise`, `padding`, `tidy`, `attention`, `memory` and `answers`
rewrite the graph, `steps` orders them, `prove` decides whether answers stayed the same, `optimise` is ONNX Runtime's
part, `key` names what a form depends on. Only the validator's child imports these modules: they bring in onnx (`key`
alone does not).
"""
