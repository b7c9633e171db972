"""Configuration of the documentation: `nox -s docs` builds it from examples/guides, and runs every block of it."""

import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")  # for the blocks and the gallery, which use Keras
os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # of progress bars, which no page shows
os.environ["IPYTHONDIR"] = str(Path(__file__).parent / "ipython")  # where failing shell commands raise
sys.path.insert(0, str(Path(__file__).parent))

import arrayinit  # after the paths

project = "arrayinit"
author = copyright = "the arrayinit developers"
version = release = arrayinit.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "benchmarks",  # this and the next two stand beside this file
    "docstrings",
    "gallery",
]
html_theme = "furo"
html_title = "arrayinit"
html_static_path = ["static"]
html_css_files = ["arrayinit.css"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
highlight_language = "none"  # what has no language is output

exclude_patterns = ["benchmarks-tables.md", "**.ipynb_checkpoints"]
suppress_warnings = ["mystnb.unknown_mime_type"]
nitpicky = False

# Pages are notebooks: each is executed from top to bottom, and an error in one of its cells fails the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 300
nb_execution_in_temp = True
nb_merge_streams = True
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "groupwise"
autodoc_typehints = "none"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = ["Source", "Warns"]
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


ELSEWHERE = {  # pages whose text stands elsewhere in the repository
    "changelog.md": "CHANGELOG.md",
    "contributing.md": ".github/CONTRIBUTING.md",
    "map.md": "arrayinit/README.md",
    "stream.md": "arrayinit/stream/README.md",
}


def setup(app):
    """Called by Sphinx."""
    app.connect("builder-inited", lambda app: copy_pages(Path(app.srcdir)))


def copy_pages(source):
    """Copy the pages that stand elsewhere; links between them become links of the site."""
    root = source.parents[1]
    for page, path in ELSEWHERE.items():
        text = (root / path).read_text("utf-8")
        for name, other in ELSEWHERE.items():
            link = os.path.relpath(root / other, (root / path).parent)
            text = text.replace(f"]({link})", f"]({name})")
        if not (source / page).exists() or (source / page).read_text("utf-8") != text:
            (source / page).write_text(text, "utf-8")
