"""The check of the pages' scripts finds what would fail in a browser alone, and our scripts pass it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.javascript import scripts, wrong_in

OTHER = "export const one = 1;\nexport function two() { return one; }\n"
FAULTS = {
    "import { three } from './other.js';\nthree();": "./other.js exports no three",
    "import * as o from './other.js';\no.two(o.three);": "./other.js exports no three",
    "import { one } from './nowhere.js';\none();": "./nowhere.js is not there",
    "import { one, two } from './other.js';\ntwo();": "one is imported and not used",
    "function alone() {}": "alone is not used",
    "export function a(x) { return x + y; }": "y is not declared",
    "export const a = (x = z) => x;": "z is not declared",
    "export const a = ({ b: c }) => b + c;": "b is not declared",
    "export const a = `one ${two}`;": "two is not declared",
    "export const a = (b) => { if (b === 1) { return c; } };": "c is not declared",
    "export const a = (b) => b == 1;": "==: use ===",
    "export const a = () => { var b = 1; return b; };": "var: use const or let",
    "export const a = () => { console.log(1); };": "console: use nothing",
    "export const a = () => { [1; };": "a } closes nothing",
    "export const a = () => {": "a { is not closed",
}
GOOD = """
import { one, two as zwei } from './other.js';
// a comment with `words` and 'quotes
export const a = ({ b: { c }, d = one }, ...rest) => [c, d, rest, zwei(), /[`'"/]\\/x/u.test('y'), `${`${one}`} b: e`];
export class F extends Map {
  static #g = 1;
  get h() { return this.i?.j; }
  k(l) { for (const m of l) { try { m(); } catch (n) { throw n; } } }
}
export function o(p) {
  const [q, { r = 1 }] = p, s = { t: q, r, u() { return s; } };
  switch (q) { case r: return s.t ? q : r; default: return one / 2 / r; }
}
"""


@pytest.mark.parametrize("source", FAULTS, ids=range(len(FAULTS)))
def test_finds_what_is_wrong(tmp_path: Path, source: str) -> None:
    (tmp_path / "other.js").write_text(OTHER)
    (tmp_path / "it.js").write_text(source)
    assert FAULTS[source] in wrong_in(tmp_path / "it.js")


def test_finds_nothing_where_nothing_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "other.js").write_text(OTHER)
    (tmp_path / "it.js").write_text(GOOD)
    assert wrong_in(tmp_path / "it.js") == []


@pytest.mark.parametrize("path", scripts(), ids=lambda path: path.name)
def test_our_scripts_are_in_order(path: Path) -> None:
    assert wrong_in(path) == []
