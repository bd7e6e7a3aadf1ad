"""The words that people put around a version's number, and what each means for the order. Pure tables.

A word that is in none of them belongs to the model: two names that differ in such a word are not compared.
"""

from __future__ import annotations

import re
from typing import Final

MARKS: Final = frozenset({"v", "ver", "version", "版本"})
"""Before the number, and no part of anything."""

STAGES: Final = {
    "dev": 0, "snapshot": 0, "nightly": 0, "alpha": 1, "a": 1, "内测": 1, "beta": 2, "b": 2, "公测": 2,
    "pre": 3, "preview": 3, "预览": 3, "预览版": 3, "rc": 4, "候选": 4, "候选版": 4,
}  # fmt: skip
"""Below the number itself, the lowest first."""

RELEASES: Final = frozenset(
    {"final", "release", "ga", "stable", "lts", "正式", "正式版", "最终", "最终版", "发布", "发布版"}
)
"""The same as the number alone."""

FIXES: Final = {
    "hotfix": "fix", "fix": "fix", "bugfix": "fix", "patch": "fix", "p": "fix", "修复": "fix", "热修复": "fix",
    "补丁": "fix", "post": "post", "rev": "revision", "revision": "revision", "r": "revision", "build": "build",
    "update": "update", "u": "update", "更新": "update", "sp": "sp",
}  # fmt: skip
"""Above the number itself; two are compared only when they mean the same."""

VARIANT: Final = re.compile(
    r"""(?:u?int|fp|bf|float|q) (?:2|4|8|16|32|64)      # int8, fp16, q8
        | w[0-9]{1,2} a[0-9]{1,2} | [0-9]{1,2} bits?    # w8a8, 8bit
        | (?:8|16|22|24|32|44|48) k(?:hz)?              # 16k
        | quant(?:i[sz]ed)? | onnx | ort | trt | tensorrt | openvino | cpu | gpu | cuda | npu | x86 | amd64 | x64 | arm
        | arm64 | aarch64 | avx2 | avx512 | vnni | dynamic | static | simplified | optimi[sz]ed | fused | fp | int
        | sherpa | funasr | 量化 | 量化版""",
    re.VERBOSE,
)
"""Another form of the same version: no form is newer than another."""

NO_NUMBER: Final = frozenset(
    {
        "int", "uint", "fp", "bf", "float", "q", "w", "k", "top", "mp", "cu", "cuda", "cudnn", "rocm", "ort", "opset",
        "onnx", "onnxruntime", "torch", "pytorch", "python", "py", "java", "node", "glibc", "ubuntu", "debian", "el",
        "win", "x", "arm", "avx", "sm", "port", "gpu", "cpu", "utf", "sha", "md", "base", "lang", "beam", "dim",
    }
)  # fmt: skip
"""Digits that are written to these words are no version of the model: opset17, cuda12.1."""

NO_MARK: Final = frozenset({"conv", "deconv", "prev", "priv", "serv"})
"""Words whose last letter is no mark of a version: conv2."""

PADDING: Final = frozenset({"第", "版", "号", ""})
"""Around a number, and no part of anything: 第3版."""

SHORT: Final = frozenset({"a", "b", "p", "r", "u"})
"""These mean something only beside a digit: v1.0b2, -r3."""
