"""The cost of importing, and which module may import which."""

import ast
import contextlib
import graphlib
import importlib
import pydoc
import re
import subprocess
import sys
from pathlib import Path

import pytest

import arrayinit

PACKAGE = Path(arrayinit.__file__).parent
FRAMEWORKS = (
    "torch",
    "jax",
    "keras",
    "cupy",
    "dask",
    "flax",
    "llvmlite",
    "matplotlib",
    "ml_dtypes",
    "array_api_strict",
    "scipy",
)

# The tree from the bottom up, as arrayinit/README.md draws it. At its top a module imports from its own folder, without
# cycles, and from what stands before it here.
ORDER = (
    "common",
    "stream",
    "laws",
    "backends",
    "key",
    "seeds",
    "job",
    "engines",
    "draw",
    "initializers",
    "specs",
    "draws",
    "tracing",
    "recording",
    "models",
    "digests",
    "recipes",
    "reports",
    "plot",
    "storage",
    "",
    "torch",
    "jax",
    "keras",
    "conformance",
    "bench",
    "cli",
    "__main__",
)


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def loaded_by(code: str) -> set[str]:
    code += f"\nimport sys; print(*[name for name in {FRAMEWORKS!r} if name in sys.modules])"
    return set(run(code).split())


def test_import_brings_no_framework():
    assert loaded_by("import arrayinit") == set()


def test_import_brings_nothing_that_few_draws_need():
    code = "import sys, numpy; before = {*sys.modules}; import arrayinit; new = {*sys.modules} - before"
    late = {"decimal", "difflib", "fractions", "hashlib", "inspect", "json", "scipy", "tomllib"}
    assert run(f"{code}; print(*sorted(new & {late!r}))") == ""


def test_digests_and_compiled_loops_come_when_they_are_asked_for():
    late = "[name for name in ('arrayinit.digests', 'arrayinit.engines.cpu') if name in sys.modules]"
    code = f"import sys, arrayinit as ai; before = {late}; ai.fingerprint(ai.zeros((3,))); print(before, {late})"
    assert run(code) == "[] ['arrayinit.digests', 'arrayinit.engines.cpu']"


def test_what_whole_models_need_comes_when_it_is_asked_for():
    loaded = "'arrayinit.models.rules' in sys.modules"
    code = f"import sys, arrayinit as ai; before = {loaded}; ai.Rules; from arrayinit import *"
    assert run(f"{code}; print(before, {loaded}, Rules is ai.Rules, 'Plan' in dir(ai))") == "False True True True"
    assert run("import arrayinit as ai; print(hasattr(ai, 'Rulez'))") == "False"


def test_submodules_are_there_and_come_when_they_are_asked_for():
    names = ("laws", "plot", "recipes", "storage")
    code = (
        "import sys, arrayinit as ai; listed = dir(ai); loaded = [n for n in sys.modules if n.startswith('arrayinit.')]"
    )
    code += f"; print([n in listed and hasattr(ai, n) for n in {names!r}]"
    code += ", [n for n in ('arrayinit.plot', 'arrayinit.recipes', 'arrayinit.storage') if n in loaded]"
    code += ", [n in listed for n in ('torch', 'jax', 'keras')], ai.recipes.gpt2.__name__, ai.torch.uniform_.__name__)"
    assert run(code) == f"{[True] * 4} [] {[False] * 3} gpt2 uniform_"


def test_help_imports_no_framework():
    code = "import pydoc, arrayinit as ai; text = pydoc.render_doc(ai); assert 'Keywords' in text"
    assert not loaded_by(code) & {"torch", "jax", "keras", "dask", "flax"}


@pytest.mark.parametrize(
    ("call", "extra"),
    [
        ("import arrayinit.torch", "torch"),
        ("from arrayinit import torch", "torch"),
        ("import arrayinit.jax", "jax"),
        ("import arrayinit.keras", "keras"),
        ("import arrayinit; arrayinit.normal(3, xp='dask')", "dask"),
        ("import arrayinit; arrayinit.Rules({'*': 'zeros'}).to_toml()", "toml"),
        ("import arrayinit as a; a.init_params_({'w': a.ones(3)}, {'*': 'zeros'}, seed=0, progress=True)", "progress"),
        ("import arrayinit; arrayinit.plot.weights({'w': arrayinit.normal((8, 8), seed=0)})", "plot"),
    ],
)  # fmt: skip
def test_a_missing_library_says_how_to_get_it(call, extra):
    blocked = {"toml": "tomli_w", "progress": "rich", "plot": "matplotlib"}.get(extra, extra)
    lines = [
        "import importlib.abc, sys",
        "class Blocked(importlib.abc.MetaPathFinder):",
        "    def find_spec(self, name, path, target=None):",
        f"        if name.partition('.')[0] == {blocked!r}:",
        "            raise ModuleNotFoundError('No module named ' + repr(name), name=name)",
        "sys.meta_path.insert(0, Blocked())",
        f"try:\n    {call}",
        "except ImportError as error:\n    print(error)",
        "import arrayinit as ai",
        f"print(hasattr(ai, {extra!r}))",
    ]
    told, *rest = run("\n".join(lines)).splitlines()
    assert f'pip install "arrayinit[{extra}]", or in a copy of the repository pip install ".[{extra}]"' in told
    assert rest == [str(extra == "plot")]


def test_numpy_draws_bring_no_framework():
    assert loaded_by("import arrayinit as ai; ai.xavier_uniform((3, 4)); ai.trunc_normal((3,)); ai.bits(3)") == set()


@pytest.mark.parametrize("name", ["torch", "jax", "dask"])
def test_an_array_brings_its_own_framework_only(name):
    code = f"import arrayinit as ai; ai.normal((3, 4), seed=0, xp={name!r})"
    others = {"torch", "jax", "dask", "flax", "llvmlite", "matplotlib"} - {name}
    assert not loaded_by(code) & others


def test_all_is_what_it_says():
    names = set(arrayinit.__all__)
    assert all(hasattr(arrayinit, name) for name in names)
    assert len(names) == len(arrayinit.__all__)
    assert {name for name in vars(arrayinit) if not name.startswith("_")} - names <= {
        module.stem for module in PACKAGE.iterdir()
    }


def test_dir_lists_what_is_public():
    modules = [arrayinit, *(getattr(arrayinit, name) for name in ("laws", "plot", "recipes", "storage"))]
    for name in ("torch", "jax", "keras"):
        with contextlib.suppress(ImportError):
            modules.append(importlib.import_module(f"arrayinit.{name}"))
    for module in modules:
        listed = {name for name in dir(module) if not name.startswith("__")}
        more = (
            {"laws", "plot", "recipes", "storage", "torch", "jax", "keras"}
            if module is arrayinit
            else {"ArgumentError"}
        )
        assert set(module.__all__) <= listed <= set(module.__all__) | more
        assert "__doc__" in dir(module)


def test_help_shows_the_public_laws_alone():
    from arrayinit import laws

    text = pydoc.render_doc(laws, renderer=pydoc.plaintext)
    classes = set(re.findall(r"^    class (\w+)", text, re.MULTILINE))
    assert classes == {"Uniform", "Normal", "Truncated", "Constant", "Formula", "Rows", "Geometry"}
    assert all(name in laws.__doc__ for name in classes)
    assert "is_joint" not in text


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, top_level_only: bool) -> set[str]:
    """Modules of the package that a file imports, as names relative to it."""
    tree = ast.parse(path.read_text("utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "arrayinit"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "arrayinit":
            assert node.level == 0
            known = {f"arrayinit.{name}" for name in modules() if name}
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in known else node.module)
    return {name.removeprefix("arrayinit").removeprefix(".") for name in found}


def entry(name: str) -> str:
    """The folder or file at the top of the tree that a module belongs to."""
    return name.partition(".")[0]


def test_each_entry_of_the_tree_has_its_place():
    assert {entry(name) for name in modules()} == set(ORDER)


def test_imports_go_downward():
    for name, path in modules().items():
        for used in imports(path, top_level_only=True):
            assert ORDER.index(entry(used)) <= ORDER.index(entry(name)), (
                f"{name or 'arrayinit'} imports {used or 'arrayinit'}, which is above it"
            )


def test_no_imports_in_circles():
    graph = {name: imports(path, top_level_only=True) - {name} for name, path in modules().items()}
    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        pytest.fail(f"modules that import each other: {' -> '.join(error.args[1])}")


def test_only_backends_and_adapters_import_frameworks():
    may = {
        "backends.torch",
        "backends.jax",
        "backends.cupy",
        "backends.dask",
        "backends.dtensor",
        "engines.cpu.assembly",
        "engines.cuda.cupy",
        "engines.cuda.torch",
        "engines.jax",
        "engines.dask",
        "engines.dtensor",
        "plot.canvas",
        "plot.scales_torch",
        "plot.marks_jax",
        "plot.scales_jax",
        "plot.scales_keras",
        "tracing.torch_compiled",
        "tracing.torch_operator",
        "torch",
        "jax",
        "keras",
        "models.derived",
        "models.torch_members",
        "models.torch",
        "models.torch_scaling",
        "models.records",
        "recording.draws",
        "recording.initializers",
        "recording.modes",
        "recording.programs",
        "recording.recognition",
        "recording.replay",
        "recording.tape",
        "recording.jax_laws",
        "recording.jaxprs",
        "models.jax",
        "models.jax_modules",
        "models.hooks",
        "models.shards",
        "models.torch_shards",
        "models.own_shards",
        "models.megatron",
        "models.jax_records",
        "models.jax_layers",
        "models.jax_scaling",
        "models.keras",
    }
    for name, path in modules().items():
        if name in may:
            continue
        for node in ast.parse(path.read_text("utf-8")).body:
            tops = (
                [a.name for a in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", None) or ""]
            )
            for top in tops:
                assert top.split(".")[0] not in FRAMEWORKS, f"{name} imports {top}"
