"""Turns an accepted version into forms that workers map: same answers, less time, less memory, quicker to load.

`compiler` makes them: `compile_mapped` the cheap one, `compile_rewritten` the faster one. `requantise`, `padding`,
`tidy`, `attention`, `memory` and `answers` rewrite the graph, `steps` orders them; `trial` tries them on a `sample`,
`recipe` keeps what was found; `finish` writes a form and holds it against the original on `probes` by `prove`.
`weights` and `optimise` deal with files and ONNX Runtime, `key` names what a form depends on. Only a child of its own
imports these modules: they bring in onnx (`key` alone does not).
"""
