"""What a failure tells: what differs and where, a script that shows it alone, and a folder that holds all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
import pytest
from failing import Bench

from portwright.cli.main import main
from portwright.conformance import certificate, folder, runner
from portwright.conformance.alone import check, show
from portwright.conformance.case import Case, place
from portwright.conformance.folder import MARK, names
from portwright.conformance.judge import Mismatch, require, require_form, require_unchanged
from portwright.conformance.ladder import Rung
from portwright.conformance.mutants.bases import base_name, spoiled
from portwright.conformance.mutants.catalogue import mutant
from portwright.conformance.outcome import CaseResult, Outcome
from portwright.conformance.script import script
from portwright.conformance.selection import Selection
from portwright.conformance.teach import told
from portwright.core import engine, graph, registry
from portwright.core.device import Device
from portwright.core.dtype import bfloat16, float32, int64, uint8
from portwright.core.errors import CompileError
from portwright.core.graph import Node
from portwright.core.ops import Op
from portwright.core.registry import open_device

FEW = ("--rung", "primitives", "--rung", "fused", "-k", "test_binary[MUL-float32] or test_random[float32-2]")
PRODUCT = "primitives::test_binary[MUL-float32]"
PROGRAM = "fused::test_random[float32-2]"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A port whose products are wrong, and its report."""
    made = Bench(tmp_path_factory.mktemp("failures"), "wrong")
    out, _ = made.certify(*FEW, "--report", "report", status=1)
    assert f"report: {Path('report', 'report.html')}" in out
    return made


class Links(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def test_the_folder_holds_the_whole_report(bench: Bench) -> None:
    report = bench.folder / "report"
    document = certificate.load(report / "certificate.json")
    failed = [name for name, c in document["cases"].items() if c["outcome"] == "failed"]
    assert sorted(failed) == [PROGRAM, PRODUCT]
    scripts = sorted(p.name for p in (report / "failures").iterdir())
    assert scripts == [
        "fused-test_random-float32-2.py", "fused-test_random-float32-2.txt",
        "primitives-test_binary-MUL-float32.py", "primitives-test_binary-MUL-float32.txt",
    ]  # fmt: skip
    assert (report / "badge.svg").read_text().startswith("<svg")
    assert len(list(Xml.parse(report / "junit.xml").getroot().iter("failure"))) == 2
    links = Links((report / "report.html").read_text(encoding="utf-8")).found
    assert sorted(links) == sorted(f"failures/{name}" for name in scripts)
    text = (report / "failures" / "primitives-test_binary-MUL-float32.txt").read_text(encoding="utf-8")
    assert document["cases"][PRODUCT]["reason"] in text


def test_a_script_shows_the_failure_until_it_is_gone(bench: Bench) -> None:
    scripts = sorted((bench.folder / "report" / "failures").glob("*.py"))
    texts = {path: path.read_text(encoding="utf-8") for path in scripts}
    assert all(t.splitlines()[1].startswith("# portwright certify ACME --rung ") for t in texts.values())
    assert all(t.count("leaf(DEVICE") >= 1 for t in texts.values())
    assert all(len(t) < 1500 for t in texts.values()), "operands are not cut down"
    for path in scripts:
        ran = bench.run(path)
        assert ran.returncode == 1, ran.stdout + ran.stderr
        assert re.search(r"^got\n.*^wanted\n.*1 of \d elements are not", ran.stdout, re.M | re.S)
    bench.tell("wrong", on=False)
    try:
        for path in scripts:
            ran = bench.run(path)
            assert ran.returncode == 0, ran.stdout + ran.stderr
            assert "right: nothing differs" in ran.stdout
    finally:
        bench.tell("wrong")


def test_a_random_program_is_told_as_its_smallest(bench: Bench) -> None:
    reason = certificate.load(bench.folder / "report" / "certificate.json")["cases"][PROGRAM]["reason"]
    shrunk = re.search(r"shrunk from (\d+) operations to ([123]), in (\d+) tries", reason)
    assert shrunk, reason
    assert int(shrunk[1]) > 5
    shape = re.match(r"\w+ float32, shape \[(.*)\]: 1 of (\d) elements", reason)
    assert shape, reason
    assert int(shape[2]) == 2
    for line in (
        "  first at [",
        "  got        ",
        "  wanted     ",
        "  seed       0",
        "  again      portwright",
    ):
        assert f"\n{line}" in reason
    assert "\n  script\nimport sys\n" in reason


def test_a_case_that_crashes_has_a_script_that_runs_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "crashes")
    bench.certify("--rung", "primitives", "-k", "test_binary[MUL-int8]", "--report", "here/there", status=1)
    (path,) = (tmp_path / "here" / "there" / "failures").glob("*.py")
    assert "run_again('ACME', 'primitives::test_binary[MUL-int8]', seed=0)" in path.read_text()
    ran = bench.run(path)
    assert ran.returncode == 1
    assert ran.stdout.startswith("CRASHED primitives::test_binary[MUL-int8]")
    bench.tell("crashes", on=False)
    assert bench.run(path).returncode == 0


def test_a_run_that_is_cut_short_leaves_a_report_of_what_it_did(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "wrong")
    cases = "test_binary and MUL and (bool or float16) and not bfloat16"
    said = bench.interrupted("--rung", "primitives", "-k", cases, "--report", "report")
    assert "report, as far as it came" in said
    document = certificate.load(tmp_path / "report" / "certificate.json")
    assert document["verdict"] == "failed"
    assert "not reached" in {c["outcome"] for c in document["cases"].values()}
    assert (tmp_path / "report" / "report.html").exists()


def climbed(path: Path, results: list[CaseResult]) -> None:
    outcome = Outcome("NUMPY", Selection((Rung.OPEN,)), [r.id for r in results], results)
    document = certificate.build(outcome, open_device("NUMPY"))
    folder.prepare(path)
    folder.write(path, outcome, document)


def failures(path: Path) -> list[str]:
    return sorted(p.name for p in (path / "failures").iterdir())


def test_written_again_it_removes_its_own_and_nothing_else(tmp_path: Path) -> None:
    first = CaseResult("open::test_a", "failed", 0.1, "why")
    climbed(tmp_path, [first, CaseResult("open::test_b", "failed", 0.1, "why")])
    (tmp_path / "failures" / "mine.py").write_text("print('kept')\n")
    (tmp_path / "failures" / "notes.md").write_text(f"{MARK}\n")
    (tmp_path / "notes.txt").write_text("kept")
    before = ["mine.py", "notes.md", "open-test_a.py", "open-test_a.txt"]
    assert failures(tmp_path) == [*before, "open-test_b.py", "open-test_b.txt"]
    climbed(tmp_path, [first])
    assert failures(tmp_path) == before
    climbed(tmp_path, [CaseResult("open::test_a", "passed", 0.1)])
    assert failures(tmp_path) == ["mine.py", "notes.md"]
    assert (tmp_path / "notes.txt").read_text() == "kept"


def test_names_are_files_on_every_system() -> None:
    cases = [
        "views::test_empty[(0, 3)]", "views::test_empty[(0-3)]", "a::test[x/../y]", "a::Test[X-Y]",
        "a::test[x*y]", f"fused::test[{'n' * 300}]", f"fused::test[{'n' * 301}]", "open::test[é…:|<>\"?\\]",
    ]  # fmt: skip
    made = [w.stem.removeprefix("failures/") for w in names(cases)]
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,110}", name) for name in made), made
    assert not [name for name in made if name.endswith(".") or ".." in name]
    assert len({name.casefold() for name in made}) == len(cases)
    assert [w.stem for w in names(cases)] == [w.stem for w in names(cases)]


@pytest.mark.parametrize("where", ["a file", "below a file", "no rights"])
def test_a_folder_that_cannot_be_written_is_said_before_anything_runs(
    where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    target = {"a file": file, "below a file": file / "deep", "no rights": Path("/proc/nowhere")}[where]
    if where == "no rights" and not Path("/proc").is_dir():
        target = file / "deep" / "deeper"
    assert main(["certify", "NUMPY", "--rung", "open", "--jobs", "0", "--report", str(target)]) == 2
    said = capsys.readouterr()
    assert str(target) in said.err
    assert "cases passed" not in said.out


def test_last_failed_makes_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["certify", "NUMPY", "--last-failed", "--report", str(tmp_path)]) == 2
    assert "--report" in capsys.readouterr().err


NUMBERS = [
    np.array([[0.1, -0.0], [np.inf, np.nan]], np.float32),
    np.array([1.5, -2.25, 3e38], bfloat16.numpy),
    np.array([2**63 - 1, -(2**63), 0], np.int64),
    np.array([True, False]),
    np.array([0x7FC12345, 0xFFC00001], np.uint32).view(np.float32),
    np.arange(3000, dtype=np.uint8),
    np.array(2.5),
    np.zeros((0, 3), np.int16),
]


@pytest.mark.parametrize("array", NUMBERS, ids=lambda a: f"{a.dtype}-{a.size}")
def test_a_script_holds_operands_to_the_bit(array: np.ndarray) -> None:
    placed = place(array, "NUMPY")
    root = graph.contiguous(graph.flip(placed, range(len(array.shape))))
    names: dict[str, object] = {}
    text = script([root], "NUMPY", engine.read)
    exec(text.partition("sys.exit")[0], names)
    made = [n for n in names.values() if isinstance(n, Node) and n.storage is not None]
    (read,) = (engine.read(n) for n in made)
    assert (read.dtype, read.shape, read.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert len(text) < 1200


def nodes() -> Iterator[Node]:
    """Values of every kind that a script can spell."""
    x = place(np.arange(12, dtype=np.float32).reshape(3, 4), "NUMPY")
    i = place(np.array([2, 0, 5]), "NUMPY")
    y = graph.elementwise(Op.WHERE, graph.elementwise(Op.CMPLT, x, x), x, graph.full(-0.5, x.shape, float32))
    yield graph.reduce(Op.MAX, graph.window(graph.pad(y, ((1, 0), (0, 2))), 1, 3, 2), (0, 2))
    yield graph.gather(graph.permute(graph.shrink(x, ((0, 3), (1, 4))), (1, 0)), i)
    yield graph.scatter(x, i, x, Op.ADD)
    yield graph.scatter(x, i, x)
    yield graph.cast(graph.bitcast(graph.expand(graph.reshape(x, (3, 4, 1)), (3, 4, 2)), graph.int32), uint8)
    yield graph.elementwise(Op.ADD, graph.iota(3, int64), i)


@pytest.mark.parametrize("root", list(nodes()), ids=lambda n: n.op.name)
def test_a_script_means_what_the_graph_means(root: Node, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        exec(script([root, graph.contiguous(root)], "NUMPY", engine.read), {})
    assert ended.value.code == 0
    said = capsys.readouterr().out
    engine.realize([root], "NUMPY")
    assert said.count(str(engine.read(root).reshape(root.shape))) == 4  # got and wanted of each


def wrong(name: str) -> Device:
    """A good device with one fault."""
    chosen = mutant(name)
    return registry.adopt(spoiled(chosen, base_name(chosen.base)))


def failed(device: Device, rung: Rung, keyword: str) -> CaseResult:
    """The first case that fails."""
    outcome = runner.run(device, Selection((rung,), keyword))
    return outcome.failures[0]


TOLD: dict[str, tuple[str, Rung, str, str]] = {
    "a primitive": (
        "floor_division", Rung.PRIMITIVES, "test_binary and IDIV-int32",
        r"IDIV int32, shape \[\d+\]: .* are not equal to the bit\n  first at \[\d+\]\n"
        r"  operand 0  -?\d+ \(0x\w{8}\)\n  operand 1  -?\d+ \(0x\w{8}\)\n"
        r"  got        -?\d+ \(0x\w{8}\)\n  wanted     -?\d+ \(0x\w{8}\)\n",
    ),
    "movement": (
        "no_masks", Rung.VIEWS, "test_composed and flip_after_pad",
        r"composition \(PAD, FLIP\), float32, shape \[18, 21\]: .*\n  first at \[0, 0\]\n"
        r"  got   .*0x.*\n  wanted  .*0x",
    ),
    "a sum": (
        "sums_start_at_1", Rung.REDUCTIONS, "test_sum[float32]",
        r"sum of \d+ float32, .*\n  first at .*\n  got .* ulp away\n"
        r"  wanted .*\(0x\w{8} when rounded to float32\)\n",
    ),
    "a bool": (
        "true_is_255", Rung.CASTS, "test_cast[float32-bool]",
        r"CAST float32 to bool, shape .* bools are neither 0 nor 1\n"
        r"  first at \[\d+\]\n  got        the byte 255 \(0xff\)\n",
    ),
    "a buffer's end": (
        "stores_once_more", Rung.VIEWS, "test_single[vector]",
        r"\d+ bytes were written past the end of a buffer .*\n"
        r"  ran        CONTIGUOUS float32 \[[13, ]*37[1, ]*\]\n",
    ),
    "no error": (
        "compile_errors_swallowed", Rung.PRIMITIVES, "test_refuses_half_a_kernel",
        r"no error is raised; it must be: CompileError\n  expected   A text that ends .*\n",
    ),
    "a model": (
        "long_programs_negated", Rung.GRADIENTS, "test_mlp",
        r"loss, step 0, float32, shape \[1\]: .*\n  first at \[0\]\n  got .* ulp away\n  wanted .*\(0x",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "rung", "keyword", "said"), TOLD.values(), ids=TOLD.keys())
def test_every_rung_tells_what_is_wrong_and_where(
    fresh: None, name: str, rung: Rung, keyword: str, said: str
) -> None:
    result = failed(wrong(name), rung, keyword)
    assert re.match(said, result.message), result.message[:800]
    assert re.search(r"\n  seed       0\n  again      portwright certify \w+ --rung ", result.message)
    assert "\n  kernel\n    " in result.message


def test_what_fails_together_is_told_together(fresh: None) -> None:
    result = failed(wrong("outputs_alike"), Rung.FUSED, "test_random and float32-1")
    assert "each part of it is right when it is computed alone" in result.message
    assert re.search(r"sys\.exit\(show\(\[n\d+, n\d+\], DEVICE\)\)", result.script)


def test_a_program_is_held_against_what_the_contract_allows(
    fresh: None, capsys: pytest.CaptureFixture[str]
) -> None:
    device = wrong("reciprocal_4_units")
    x = place(np.array([3.0, 7.0, 11.0], np.float32), device.name)
    assert show([graph.elementwise(Op.SQRT, x)], device.name) == 0
    assert show([graph.elementwise(Op.RECIP, x)], device.name) == 1
    assert "are not within 2.5 ulp" in capsys.readouterr().out
    with pytest.raises(Mismatch, match="RECIP float32"):
        check([graph.elementwise(Op.RECIP, x)], device.name, None)


def test_differences_are_told_in_numbers_that_can_be_compared() -> None:
    got, wanted = np.array([1.0, 2.0], np.float32), np.array([1.0, 2.0 + 2.0**-20])
    with pytest.raises(Mismatch) as error:
        require("a thing", got != wanted, got, wanted)
    assert error.value.at == (1,)
    assert "a thing, float32, shape [2]: 1 of 2 elements" in str(error.value)
    assert "got        2.0 (0x40000000), 4 ulp away" in str(error.value)
    assert "wanted     2.00000095367431" in str(error.value)
    assert "(0x40000004 when rounded to float32)" in str(error.value)
    with pytest.raises(Mismatch, match=r"an input changed, uint8, shape \[2\]: 1 of 2"):
        require_unchanged(np.array([1, 3], np.uint8), np.array([1, 2], np.uint8))
    with pytest.raises(Mismatch, match=r"first at \[1, 0\]") as bools:
        require_form("b", np.array([[1], [7]], np.uint8).view(np.bool_), np.array([[True], [True]]))
    assert bools.value.at == (1, 0)


def test_notes_and_what_was_meant_are_told() -> None:
    device = open_device("NUMPY")
    noted = Mismatch("it differs")
    noted.add_note("shrunk from 3 operations to 1, in 9 tries")
    assert told(noted, device, "") == "it differs\n  shrunk from 3 operations to 1, in 9 tries"
    plain = AssertionError("threads 0\nassert 0 >= 1")
    assert (
        told(plain, device, "trace", "Limits are numbers.") == "threads 0\n  expected   Limits are numbers."
    )


def test_a_compilers_log_is_told(fresh: None) -> None:
    from portwright.conformance.tell import tell

    case = Case("NUMPY", 3, "primitives::test_unary[NEG-float32]")
    error = CompileError("the compiler said no", log="k.c:3: error: no\nk.c:9: error: nor here")
    text = tell(case, error, "CompileError: the compiler said no").text
    assert "\n  log\n    k.c:3: error: no\n    k.c:9: error: nor here" in text
    assert "--seed 3" in text


def test_what_cannot_be_looked_into_does_not_hide_the_failure(fresh: None) -> None:
    from portwright.conformance.tell import tell

    case = Case("NUMPY", 0, "primitives::test_unary[NEG-float32]")
    x = place(np.arange(3, dtype=np.float32), "NUMPY")
    case.shows([graph.elementwise(Op.NEG, x)])

    def broken(*arguments: object) -> None:
        raise OSError("the board is gone")

    device = open_device("NUMPY")
    device.__dict__["compute"] = broken
    text = tell(case, Mismatch("it differs"), "it differs").text
    assert text.startswith("it differs\n")
    assert "OSError: the board is gone" in text
