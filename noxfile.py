"""`nox`: lint, types and tests, each in its own environment."""

import nox

nox.options.sessions = ["lint", "types", "tests"]


@nox.session
def lint(session: nox.Session) -> None:
    """Check the format, and lint."""
    session.install("-e", ".[dev]")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    session.install("-e", ".[dev]")
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests on all backends; `nox -s tests -- -m "not slow"` for the quick ones."""
    session.install("-e", ".[dev]")
    session.run("python", "-m", "pytest", "--all-backends", "-n", "auto", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site, and run every page of it; a warning is an error. The pages are in .docs/_build."""
    session.install("-e", ".[dev]")
    session.run("python", "-P", "-m", "sphinx", "-W", "-j", "2", "-c", ".docs", "examples/guides", ".docs/_build/html")


@nox.session
def package(session: nox.Session) -> None:
    """Build the wheel and the sdist, and install and check each in an empty environment. See tests/package_run.py."""
    session.install("build", "twine")
    session.run("python", "tests/package_run.py", *session.posargs)


@nox.session
def conda(session: nox.Session) -> None:
    """Parse and render the conda recipe, and compare it with pyproject.toml."""
    session.install("py-rattler-build", "packaging")
    session.run("python", "-W", "error", ".conda/lint.py")


@nox.session(venv_backend="none")
def gpu(session: nox.Session) -> None:
    """Run everything that needs a CUDA device, with this Python's libraries, in less than eight minutes.

    See tests/gpu_run.py.
    """
    session.run("python", "tests/gpu_run.py", *session.posargs)
