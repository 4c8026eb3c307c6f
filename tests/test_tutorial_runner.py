"""The runner of tutorial pages: what it takes for right, and what it does not let pass."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tutorial import matches, merged, reader, run_page

PAGE = """# A page

```sh
mkdir made && cd made
echo one
```

```text
one
```

Words.

```python file=sub/a.py
X = 1


class A:
    y = 2

    def f(self):
        return self.y
```

```python into=sub/a.py
import sys

X = 10


class A:
    def f(self):
        return self.y * X

    def g(self):
        return sys.maxsize > 0
```

```sh exit=3
python -c "from sub.a import *; print(A().f(), A().g()); raise SystemExit(3)"
```

```text
2… True
```
"""


def page(folder: Path, text: str) -> Path:
    path = folder / "page.md"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_page_is_run_in_order(tmp_path: Path) -> None:
    run_page(page(tmp_path, PAGE), tmp_path, reader(tmp_path))
    assert (tmp_path / "made" / "sub" / "a.py").read_text().startswith("import sys\nX = 10\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("```sh\nfalse\ntrue\n```\n", r"page\.md:2: ended with 1, not 0"),
        ("```sh exit=2\ntrue\n```\n", r"page\.md:2: ended with 0, not 2"),
        ("\n```sh\necho one\n```\n\n```text\ntwo\n```\n", r"page\.md:3: the page shows\ntwo\n"),
        ("```python append=absent.py\n```\n", r"there is no absent\.py"),
    ],
    ids=["fails", "does not fail", "prints other", "no file"],
)
def test_what_is_not_so_is_told_with_its_line(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=said):
        run_page(page(tmp_path, text), tmp_path, dict(os.environ))


def test_what_varies() -> None:
    assert matches("a … b\n…\nend", "a 12 s b\nx\ny\nend\n")
    assert matches("…\nend", "end")
    assert not matches("a … b", "a 1 b\nmore")
    assert not matches("a\nb", "a b")


def test_merging_keeps_what_is_not_shown() -> None:
    before = (
        "import os\n\n\nclass A:\n    @property\n    def f(self):\n        return 1\n\n    z = 3\n\n\nW = 5\n"
    )
    after = merged(before, "class A:\n    def f(self):\n        return 2\n\n    z = 4\n")
    assert after == "import os\n\n\nclass A:\n    def f(self):\n        return 2\n\n    z = 4\n\n\nW = 5\n"


def test_what_is_new_comes_before_what_it_is_shown_before() -> None:
    shown = "from os import path\n\na = 1\n\n\ndef f():\n    return a\n\n\nT = {1: f}\nz = T\n"
    after = merged("import os\n\nT = {}\n\nlast = 0\n", shown)
    told = "import os from os import path a = 1 def f(): return a T = {1: f} last = 0 z = T"
    assert " ".join(after.split()) == told


def test_a_reader_has_the_commands(tmp_path: Path) -> None:
    import portwright

    shown = "```sh\npython -c 'import portwright; print(portwright.__version__)'\nportwright --version\n```\n"
    shown += f"\n```text\n{portwright.__version__}\n…{portwright.__version__}\n```\n"
    run_page(page(tmp_path, shown), tmp_path, reader(tmp_path))
