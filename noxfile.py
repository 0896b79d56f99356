"""What a developer types: ``nox -s NAME``, or ``nox`` for lint, types and test.

Each session has an environment of its own, with the versions of constraints.txt, which is kept
for the next time. What stands after ``--`` goes to the command.
"""

from __future__ import annotations

import tempfile

import nox

nox.options.sessions = ["lint", "types", "test"]
nox.options.reuse_existing_virtualenvs = True


def install(session: nox.Session, *packages: str) -> None:
    session.install("-c", "constraints.txt", *packages)


@nox.session
def test(session: nox.Session) -> None:
    """The default tests; one file: nox -s test -- tests/test_cli.py"""
    install(session, "-e", ".[dev]")
    session.run("pytest", *(session.posargs or ["-n", "2"]))


@nox.session
def slow(session: nox.Session) -> None:
    """All tests, the slow ones included."""
    install(session, "-e", ".[dev]")
    session.run("pytest", "-n", "2", "-m", "slow or not slow", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Lint and formatting."""
    install(session, "ruff")
    session.run("ruff", "check", *session.posargs, ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Type checks of the package."""
    install(session, "-e", ".[dev]")
    session.run("mypy", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The site, into site/."""
    install(session, "-e", ".[docs]")
    session.run("mkdocs", "build", "--strict", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """A benchmark by its name: nox -s bench -- durability --kills 20"""
    if not session.posargs:
        session.error("name a script of benchmarks/: nox -s bench -- durability --kills 20")
    install(session, "-e", ".[dev]")
    session.run("python", f"benchmarks/{session.posargs[0]}.py", *session.posargs[1:])


@nox.session
def pictures(session: nox.Session) -> None:
    """Train the CVAE of the README and draw its pictures into docs/images."""
    install(session, "-e", ".")
    run = f"{tempfile.mkdtemp(dir=session.create_tmp())}/cvae"
    session.run("zspace", "train", "cvae", "--out", run, *session.posargs)
    session.run("python", "scripts/draw_readme.py", run)
