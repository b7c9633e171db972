"""Build the wheel and the sdist, look into them, and install and check each in an empty environment.

Needs build and twine, and an index that has the dependencies. `nox -s package` runs it.
"""

import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run(*words: object, cwd: Path = ROOT) -> str:
    """What a command prints; its own status if it fails."""
    done = subprocess.run([str(word) for word in words], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}\nfailed: {' '.join(map(str, words))}")
    return done.stdout


def package_files() -> set[str]:
    """The files of the package in this checkout."""
    paths = (path for path in (ROOT / "arrayinit").rglob("*") if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in paths if "__pycache__" not in path.parts}


def check_contents(wheel: Path, sdist: Path) -> None:
    """The wheel has the package alone, the sdist also all that tests need, and no figures."""
    names = set(zipfile.ZipFile(wheel).namelist())
    info = {name for name in names if name.startswith("arrayinit-") and ".dist-info/" in name}
    assert names - info == package_files(), names - info ^ package_files()
    assert any(name.endswith("licenses/LICENSE") for name in info), info
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    tests = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py")}
    needed = package_files() | tests
    needed |= {"LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "pyproject.toml", "noxfile.py"}
    assert needed <= held, needed - held
    assert not [name for name in held if name.endswith((".png", ".pyc", ".o"))]


def check_installed(file: Path, folder: Path) -> None:
    """Install a file without extras, and run the command line and `check`."""
    venv.create(folder, with_pip=True)
    binaries = folder / ("Scripts" if sys.platform == "win32" else "bin")
    run(binaries / "python", "-m", "pip", "install", "--quiet", file, cwd=folder)
    run(binaries / "python", "-m", "pip", "check", cwd=folder)
    code = "import arrayinit, sys; assert sys.prefix in arrayinit.__file__, arrayinit.__file__"
    run(binaries / "python", "-W", "error", "-I", "-c", code, cwd=folder)
    lines = run(binaries / "arrayinit", "check", cwd=folder).splitlines()
    assert any("llvmlite is not installed" in line for line in lines), lines
    print(file.name, *lines[2:], sep="\n", flush=True)


def main() -> None:
    """Build, look, install, check."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(sys.executable, "-m", "build", "--outdir", folder)
        (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
        print(run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist))
        check_contents(wheel, sdist)
        check_installed(wheel, folder / "from_wheel")
        check_installed(sdist, folder / "from_sdist")


if __name__ == "__main__":
    main()
