"""Parse and render recipe.yaml as rattler-build does, and compare it with pyproject.toml."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from rattler_build import Stage0Recipe

FOLDER = Path(__file__).parent

project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text("utf-8"))["project"]
(version,) = re.findall(r'^__version__ = "(.*)"$', (FOLDER.parent / "arrayinit/__init__.py").read_text("utf-8"), re.M)

variants = Stage0Recipe.from_file(FOLDER / "recipe.yaml").render()
assert len(variants) == 1, f"one variant is meant; got {len(variants)}"
recipe = variants[0].recipe.to_dict()
run = {text.partition(" ")[0]: text.partition(" ")[2] for text in recipe["requirements"]["run"]}
needs = [f"python {project['requires-python']}", *project["dependencies"], *project["optional-dependencies"]["fast"]]
expected = {(need := Requirement(text.replace("python ", "python", 1))).name: str(need.specifier) for text in needs}

for what, found, meant in (
    ("the version", recipe["package"]["version"], version),
    ("the run requirements", run, expected),
    ("the summary", recipe["about"]["summary"], project["description"]),
    ("the license", recipe["about"]["license"], project["license"]),
):
    assert str(found) == str(meant) or found == meant, f"{what} must be that of pyproject.toml, {meant}; got {found}"
print(f"{recipe['package']['name']} {version}: the recipe is valid and agrees with pyproject.toml")
