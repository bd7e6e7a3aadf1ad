"""The validator: judges one version in a process of its own, from a private copy, gate after gate.

Each gate is one file with `check(context) -> GateAnswer`. A gate decides and explains; it prints and removes nothing.
"""
