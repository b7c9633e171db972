"""The blocks of Python in Markdown run as they stand, each by itself. The pages of the site run when it is built."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDES = ROOT / "examples/guides"
WRITTEN = [GUIDES / name for name in ("benchmarks-tables.md", "changelog.md", "contributing.md", "map.md", "stream.md")]
"""Pages that the build of the site writes."""

FOLDERS = (ROOT.glob("*.md"), ROOT.glob(".github/**/*.md"), ROOT.glob("arrayinit/**/*.md"), GUIDES.rglob("*.md"))
DOCUMENTS = sorted(
    path for folder in FOLDERS for path in folder if path not in WRITTEN and GUIDES / "gallery" not in path.parents
)
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(path):
    """Line and text of each block of Python that is not a cell of an executed page."""
    text = path.read_text("utf-8")
    return [(text.count("\n", 0, match.start()) + 1, match[1]) for match in BLOCK.finditer(text)]


BLOCKS = [
    pytest.param(path, line, code, id=f"{path.relative_to(ROOT)}:{line}")
    for path in DOCUMENTS
    for line, code in blocks(path)
]


@pytest.mark.parametrize(("path", "line", "code"), BLOCKS)
def test_block_runs_by_itself(path, line, code, tmp_path):
    padded = "\n" * line + code  # so that a traceback names the line of the document
    search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"exec(compile({padded!r}, {str(path)!r}, 'exec'))"],
        capture_output=True, text=True, timeout=300, cwd=tmp_path, env=os.environ | {"PYTHONPATH": search},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(path):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text("utf-8"))
    targets = {link: (path.parent / link).resolve() for link in links if "://" not in link}
    written = {*WRITTEN, GUIDES / "gallery/index.md"}
    assert not [link for link, target in targets.items() if not target.exists() and target not in written]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_powers_are_not_read_as_bold(path):
    text = re.sub(r"^ *```.*?^ *```|`[^`\n]*`|^    .*?$", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert not re.findall(r".*[\w)]\*\*[\w(-].*", text)
