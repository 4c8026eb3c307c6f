"""``portwright report``: the page is whole, safe and readable, in a real browser where there is one."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser import find, look_at
from certificates import Chip, Document, changed, climb, slipping, written

from portwright.cli.main import main
from portwright.conformance import certificate
from portwright.conformance.form import read
from portwright.conformance.ladder import Rung
from portwright.conformance.page import Cell, ladder, matrix, page
from portwright.conformance.verify import verify
from portwright.core.dtype import ALL
from portwright.core.ops import ALL_OPS

pytestmark = [
    pytest.mark.skipif(
        not any(map(shutil.which, ("cc", "gcc", "clang"))),
        reason="the CPU port needs a C compiler on the PATH",
    ),
    pytest.mark.xdist_group("report_page"),  # one worker climbs once for all of these
]
in_a_browser = pytest.mark.skipif(
    find() is None, reason="no Chromium on the PATH (Debian, Ubuntu: apt-get install chromium)"
)
KEPT = Path(__file__).resolve().parent.parent / "docs" / "certificates"
EVIL = "<script>hit()</script><img src=x onerror=hit()>\"'{{ 7 * 7 }}</pre></style>"


@pytest.fixture(scope="module")
def document() -> Document:
    """A chip that passes, fails, fails as expected, and does not claim."""
    return slipping()


@pytest.fixture(scope="module")
def made(document: Document, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its page, by the command."""
    path = written(document, tmp_path_factory.mktemp("page") / "chip.json")
    assert main(["report", str(path)]) == 0
    return path.with_suffix(".html")


class Tags(HTMLParser):
    """Collects what a page is made of, and holds every element to be closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def rendered(document: Document) -> str:
    return page(document, verify(certificate.canonical(document)))


def test_the_page_is_one_file_without_scripts(made: Path) -> None:
    tags = Tags(made.read_text(encoding="utf-8")).tags
    assert {name for name, _ in tags} & {"script", "link", "img", "iframe", "object", "base", "form"} == set()
    assert not [a for _, attributes in tags for a in attributes if a.startswith("on") or a in ("src", "href")]
    assert dict(tags)["html"] == {"lang": "en"}
    assert "url(" not in made.read_text(encoding="utf-8")


def test_what_a_certificate_says_is_shown_as_text(document: Document) -> None:
    def poison(d: Document) -> None:
        d["port"]["opened_as"] = d["port"]["class"] = d["compiler"] = d["driver"]["flags"] = EVIL
        name = next(n for n, c in d["cases"].items() if c["outcome"] == "failed")
        d["cases"][name]["reason"] = f"{EVIL}\n  kernel\n    {EVIL}"
        other = next(n for n, c in d["cases"].items() if c["outcome"] == "unclaimed")
        d["cases"][other]["reason"] = EVIL
        d["cases"][f"primitives::{EVIL}"] = {"outcome": "expected", "reason": EVIL}
        d["accuracy"]["ADD"]["float32"]["bound"] = EVIL

    text = rendered(changed(document, poison))
    tags = Tags(text).tags
    assert {name for name, _ in tags} & {"script", "img"} == set()
    assert not [a for _, attributes in tags for a in attributes if a.startswith("on")]
    assert text.count("&lt;script&gt;hit()&lt;/script&gt;") >= 8
    assert "{{ 7 * 7 }}" in text
    assert "<script" not in text


def test_the_ladder_counts_every_case(document: Document) -> None:
    steps = {s.rung: s for s in ladder(document)}
    assert [s.state for s in steps.values()] == ["passed", "failed"]
    counts = steps["primitives"].counts
    outcomes = [c["outcome"] for n, c in document["cases"].items() if n.startswith("primitives::")]
    assert counts["cases"] == len(outcomes) > 15
    assert counts["failed"] == outcomes.count("failed") > 0
    assert counts["expected"] == 1
    assert counts["unclaimed"] == outcomes.count("unclaimed") > 0


def test_the_matrix_says_what_came_of_each(document: Document) -> None:
    at = [d.name for d in ALL]
    cells = {
        (row.op, dtype): cell for row in matrix(document) for dtype, cell in zip(at, row.cells, strict=True)
    }
    assert len(cells) == len(ALL_OPS) * len(ALL)
    assert cells["SUB", "float32"] == Cell("native", "failed", "failed")
    assert cells["SUB", "float16"] == Cell("legalized", "expected", "expected")
    assert cells["NEG", "float32"] == Cell("native", "passed", "exact")
    assert cells["ADD", "float32"].said == "0.5 ulp"
    assert cells["ADD", "float64"] == Cell("unclaimed")
    assert cells["SIN", "float32"] == Cell("legalized", "not tried", "not tried")
    assert cells["SIN", "int8"] == Cell("")
    assert cells["CAST", "float32"].result == "not tried"


def test_casts_and_moves_have_their_place() -> None:
    at = [d.name for d in ALL]
    cells = {
        (row.op, dtype): cell
        for row in matrix(read(KEPT / "ADRENO.json"))
        for dtype, cell in zip(at, row.cells, strict=True)
    }
    assert not [k for k, cell in cells.items() if cell.result in ("failed", "not tried")]
    assert cells["CAST", "float32"].said == "0.5 ulp"
    assert cells["LOAD", "float16"] == Cell("legalized", "passed", "exact")
    assert cells["STORE", "int8"] == cells["BITCAST", "int8"] == Cell("native", "passed", "exact")
    assert cells["SIN", "float32"].kind == "legalized"


@pytest.mark.parametrize("path", sorted(KEPT.glob("*.json")), ids=lambda p: p.stem)
def test_an_older_certificate_has_a_page_that_says_so(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "old.html"
    assert main(["report", str(path), "-o", str(out)]) == 0
    text = out.read_text(encoding="utf-8")
    Tags(text)
    assert "<strong>refused</strong>" in text
    assert "rungs[].expected" in text


def test_an_edited_certificate_has_none(
    document: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written({**document, "verdict": "passed"}, tmp_path / "edited.json")
    assert main(["report", str(path)]) == 2
    assert "was changed" in capsys.readouterr().err
    assert not path.with_suffix(".html").exists()


def test_a_page_that_cannot_be_written(
    document: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(document, tmp_path / "chip.json")
    assert main(["report", str(path), "-o", str(tmp_path / "no" / "chip.html")]) == 2
    assert "cannot write" in capsys.readouterr().err


FACTS = """
const all = [...page.querySelectorAll("*")];
const text = (selector) => [...page.querySelectorAll(selector)].map((e) => e.textContent.trim());
return {
  wide: page.documentElement.scrollWidth, seen: page.documentElement.clientWidth,
  beyond: all.filter((e) => e.getBoundingClientRect().right > page.documentElement.clientWidth + 0.5
      && !e.closest(".scroll, pre")).map((e) => e.tagName + "." + e.className),
  inside: [...page.querySelectorAll(".scroll")].map((e) => [e.scrollWidth, e.clientWidth]),
  lang: page.documentElement.lang, title: page.title, h1: text("h1"), marks: text("header .mark"),
  rungs: text(".ladder tbody th"), states: text(".ladder tbody .mark"),
  failed: text(".matrix td.failed"), columns: text(".matrix thead th"), primitives: text(".matrix tbody th"),
  headless: [...page.querySelectorAll("th")].filter((e) => !e.scope).length,
  unnamed: [...page.querySelectorAll("svg, .scroll")].filter(
      (e) => !e.getAttribute("aria-label") && !e.getAttribute("aria-labelledby")).length,
  bars: [...page.querySelectorAll("svg")].map((e) => [...e.querySelectorAll("rect")].filter(
      (r) => r.getBoundingClientRect().height > 0).length),
  open: page.querySelectorAll("details[open]").length, details: text("details pre"),
  requests: inner.performance.getEntriesByType("resource").length,
  scripts: page.scripts.length, hit: typeof inner.hit,
};
"""
CONTRAST = """
const part = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const numbers = (c) => c.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
function behind(e) {
  for (; e; e = e.parentElement) {
    const c = numbers(inner.getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] === 1) return c;
  }
  return [255, 255, 255];
}
const found = [];
for (const e of page.body.querySelectorAll("*")) {
  if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) || e.closest("svg")) continue;
  const [a, b] = [light(numbers(inner.getComputedStyle(e).color)), light(behind(e))];
  found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.tagName + "." + e.className]);
}
return {least: found.sort((x, y) => x[0] - y[0])[0], tried: found.length, page: behind(page.body)};
"""


@in_a_browser
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_page_fits_the_screen(made: Path, width: int) -> None:
    facts = look_at(made, FACTS, width)
    assert facts["seen"] == width
    assert facts["wide"] == width
    assert facts["beyond"] == []
    assert len(facts["inside"]) == 2
    if width < 1000:
        assert all(content > box for content, box in facts["inside"])  # wide tables scroll by themselves


@in_a_browser
def test_what_a_browser_makes_of_it(made: Path, document: Document) -> None:
    facts = look_at(made, FACTS)
    assert (facts["lang"], facts["h1"]) == ("en", ["CHIP"])
    assert facts["title"] == "CHIP: conformance failed"
    assert facts["marks"] == ["failed", "measured", "a part of the ladder"]
    assert dict(zip(facts["rungs"], facts["states"], strict=True)) == {
        "open": "passed",
        "primitives": "failed",
    }
    assert facts["columns"] == ["primitive", *(d.name for d in ALL)]
    assert len(facts["primitives"]) == len(ALL_OPS)
    failing = [n for n, c in document["cases"].items() if c["outcome"] == "failed"]
    assert len(facts["failed"]) == len(failing)
    assert all(cell.endswith("failed") for cell in facts["failed"])  # in words, not by colour alone
    assert (facts["headless"], facts["unnamed"]) == (0, 0)
    entries = [a for by_dtype in document["accuracy"].values() for a in by_dtype.values()]
    assert sorted(facts["bars"]) == sorted(len(a["histogram"]) for a in entries)
    assert facts["open"] == 0
    assert any("void " in text for text in facts["details"])  # the generated source
    assert (facts["requests"], facts["scripts"], facts["hit"]) == (0, 0, "undefined")


@in_a_browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_text_stands_out(made: Path, dark: bool) -> None:
    found = look_at(made, CONTRAST, dark=dark)
    assert found["tried"] > 200
    assert found["least"][0] >= 4.5, found["least"]  # WCAG 2, level AA
    assert (max(found["page"][:3]) < 64) is dark


@in_a_browser
def test_a_browser_runs_nothing_of_a_poisoned_certificate(document: Document, tmp_path: Path) -> None:
    def poison(d: Document) -> None:
        d["port"]["opened_as"] = EVIL
        d["driver"]["flags"] = EVIL

    path = tmp_path / "evil.html"
    # without the page's own policy, which would stop a script that got through
    path.write_text(
        re.sub(r"<meta http-equiv[^>]+>", "", rendered(changed(document, poison))), encoding="utf-8"
    )
    facts = look_at(path, FACTS)
    assert facts["h1"] == [EVIL]
    assert (facts["requests"], facts["scripts"], facts["hit"]) == (0, 0, "undefined")


def test_the_pictures_say_what_was_counted(document: Document) -> None:
    text = rendered(document)
    entry = document["accuracy"]["ADD"]["float32"]
    bins = sorted((float(edge), n) for edge, n in entry["histogram"].items())
    wanted = "; ".join(f"to {edge:g} ulp: {n:,}" if edge else f"exact: {n:,}" for edge, n in bins)
    assert f'aria-label="ADD float32: {wanted}"' in text


SPEED = "test_name or (test_limit and (copy or read or launch or float32)) or matmul_256 or softmax or gather"
ROOFLINE = """
const svg = page.querySelector(".roofline svg"), box = (e) => e.getBoundingClientRect();
const part = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const light = (c) => c.match(/[\\d.]+/g).map(Number).slice(0, 3).reduce(
  (sum, v, i) => sum + [0.2126, 0.7152, 0.0722][i] * part(v), 0);
const behind = light(inner.getComputedStyle(page.body).backgroundColor);
const apart = (c) => (Math.max(light(c), behind) + 0.05) / (Math.min(light(c), behind) + 0.05);
const texts = [...svg.querySelectorAll("text")], flat = texts.filter((e) => !e.hasAttribute("transform"));
const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
return {
  wide: page.documentElement.scrollWidth, width: box(svg).width, height: box(svg).height,
  named: svg.getAttribute("aria-labelledby").split(" ").map((id) => page.getElementById(id).textContent),
  points: svg.querySelectorAll("circle").length, roof: box(svg.querySelector(".roof")).width,
  numbers: [...svg.querySelectorAll(".number")].map((e) => e.textContent),
  outside: texts.filter((e) => box(e).left < box(svg).left || box(e).right > box(svg).right
      || box(e).top < box(svg).top || box(e).bottom > box(svg).bottom).map((e) => e.textContent),
  covered: flat.flatMap((a, i) => flat.slice(0, i).filter((b) => meet(box(a), box(b))).map(
      (b) => a.textContent + " and " + b.textContent)),
  pixels: Math.min(...texts.map(
    (e) => parseFloat(inner.getComputedStyle(e).fontSize) * box(svg).width / svg.viewBox.baseVal.width)),
  contrast: Math.min(...texts.map((e) => apart(inner.getComputedStyle(e).fill))),
  dots: apart(inner.getComputedStyle(svg.querySelector("circle")).fill),
  line: apart(inner.getComputedStyle(svg.querySelector(".roof")).stroke),
  rows: [...page.querySelectorAll(".times tbody tr")].map((r) => [...r.children].map((c) => c.textContent)),
  limits: [...page.querySelectorAll(".limits dt")].map((e) => e.textContent),
};
"""


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a chip whose speed was measured."""
    path = written(
        climb(Chip(), [Rung.OPEN, Rung.SPEED], SPEED), tmp_path_factory.mktemp("speed") / "chip.json"
    )
    assert main(["report", str(path)]) == 0
    return path.with_suffix(".html")


@in_a_browser
@pytest.mark.parametrize(("width", "dark"), [(320, False), (390, True), (1280, False)])
def test_the_roofline_can_be_read(timed: Path, width: int, dark: bool) -> None:
    facts = look_at(timed, ROOFLINE, width, dark=dark)
    assert facts["wide"] == width
    assert 250 < facts["width"] <= width
    assert facts["height"] > 0.7 * facts["width"]
    assert facts["points"] == 2  # a gather computes nothing: it stands in the table alone
    assert facts["numbers"] == ["1", "2"]
    assert facts["roof"] > 0.5 * facts["width"]
    assert facts["outside"] == []
    assert facts["covered"] == []
    assert facts["pixels"] >= 9
    assert facts["contrast"] >= 4.5  # WCAG 2, level AA
    assert min(facts["dots"], facts["line"]) >= 3  # of what is no text
    title, said = facts["named"]
    assert title == "Roofline of CHIP"
    assert "1 softmax" in said
    assert "2 matmul_256" in said
    assert [row[0] for row in facts["rows"]] == ["1 softmax", "2 matmul_256", "gather"]
    assert all(row[1].endswith(" %") for row in facts["rows"])
    assert facts["limits"] == [
        "copies by a kernel",
        "reads by a kernel",
        "host to device",
        "device to host",
        "launch, one element",
        "multiply-add float32",
    ]


@in_a_browser
@pytest.mark.parametrize("factor", [0.1, 1, 10])
def test_ticks_of_any_length_stand_apart(timed: Path, tmp_path: Path, factor: float) -> None:
    def wider(document: Document) -> None:
        for kernel in document["speed"]["kernels"].values():
            kernel["bytes"] = int(kernel["bytes"] * factor)

    page = tmp_path / "page.html"
    written_once = json.loads(timed.with_suffix(".json").read_text(encoding="utf-8"))
    page.write_text(rendered(changed(written_once, wider)), encoding="utf-8")
    for width in 320, 390, 1280:
        facts = look_at(page, ROOFLINE, width)
        assert (facts["covered"], facts["outside"]) == ([], [])


def test_a_page_without_times_says_why(document: Document, made: Path) -> None:
    assert "None is shown: the rung of speed was not climbed." in made.read_text(encoding="utf-8")
    older = rendered(changed(document, lambda d: d.pop("speed")))
    assert "an older Portwright made the certificate, which measured no speed" in older
    assert "<svg viewBox" in older  # the histograms
    assert 'class="roofline"' not in older


@in_a_browser
def test_the_page_with_times_fits_and_stands_out(timed: Path) -> None:
    facts = look_at(timed, FACTS, 320)
    assert (facts["wide"], facts["beyond"], facts["unnamed"], facts["headless"]) == (320, [], 0, 0)
    assert (facts["requests"], facts["scripts"]) == (0, 0)
    for dark in (False, True):
        found = look_at(timed, CONTRAST, dark=dark)
        assert found["least"][0] >= 4.5, found["least"]
