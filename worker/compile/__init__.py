"""Turns an accepted version into forms that workers map: same answers, less time, less memory, faster loading.

`compiler` makes them: `compile_mapped` the cheap one, `compile_rewritten` the faster one. `requantise`, `padding`,
`tidy`, `attention`, `memory` and `answers` rewrite the graph, and `steps` orders them. `trial` tries them on a
`sample`, and `recipe` keeps the result. `finish` writes a form and compares it with the original on `probes` by
`prove`. `weights` and `optimise` handle files and ONNX Runtime; `key` names what a form depends on. Only a child
process imports these modules, because they import onnx (`key` alone does not).
"""
