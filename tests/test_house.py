"""The rules of the house: what is public is documented, what is written runs, files stay short."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
import shutil
import subprocess
import sys
import types
import typing
from pathlib import Path

import pytest

import funcparams
from tests import documents

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "funcparams"
SOURCES = sorted(PACKAGE.rglob("*.py"))
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
# What these modules make public, `funcparams` itself names; users import none of them.
BEHIND_THE_FRONT = {
    "__main__",
    "checkpoint",
    "core",
    "drawing",
    "edit",
    "lift",
    "module",
    "select",
    "summaries",
}
WITHIN = ["nn.functional"]
LAZY = ("optax", "orbax", "safetensors", "rich", "torch", "matplotlib", "chex", "sklearn", "tqdm")


def public_modules() -> list[types.ModuleType]:
    """The package, and those of its modules that users import."""
    names = {info.name for info in pkgutil.iter_modules(funcparams.__path__)}
    names = sorted([*names - BEHIND_THE_FRONT, *WITHIN])
    return [funcparams, *(importlib.import_module(f"funcparams.{name}") for name in names)]


MODULES = public_modules()
PUBLIC = [
    pytest.param(getattr(module, name), id=f"{module.__name__}.{name}")
    for module in MODULES
    for name in getattr(module, "__all__", ())
]


def documented(thing: object) -> bool:
    """Whether a thing can hold a docstring of its own: type aliases and text cannot."""
    return (
        callable(thing) and not typing.get_origin(thing) and not isinstance(thing, typing.TypeVar)
    )


def summary_problem(docstring: str | None) -> str | None:
    if not docstring or not docstring.strip():
        return "no docstring"
    first, *rest = inspect.cleandoc(docstring).splitlines()
    if not first.endswith("."):
        return f"the summary is no sentence on one line: {first!r}"
    if rest and rest[0]:
        return f"no empty line after the summary {first!r}"
    return None


def takes_arguments(thing: typing.Callable[..., object]) -> bool:
    return any(name != "self" for name in inspect.signature(thing).parameters)


# What is public is documented


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_public_module_says_what_it_offers(module: types.ModuleType) -> None:
    assert summary_problem(module.__doc__) is None
    assert module.__all__, f"{module.__name__} has no __all__"
    assert len(set(module.__all__)) == len(module.__all__)
    missing = [name for name in module.__all__ if not hasattr(module, name)]
    assert not missing, f"{module.__name__}.__all__ names what is not there: {missing}"


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_no_public_name_hides_a_module(module: types.ModuleType) -> None:
    # `import package.name as x` would give the function, and the reference the module.
    below = {info.name for info in pkgutil.iter_modules(getattr(module, "__path__", []))}
    hidden = [name for name in below if not inspect.ismodule(getattr(module, name, module))]
    assert not hidden


@pytest.mark.parametrize("thing", PUBLIC)
def test_public_name_is_documented(thing: typing.Any) -> None:
    if inspect.ismodule(thing):
        assert summary_problem(thing.__doc__) is None
        return
    if not documented(thing):
        assert isinstance(thing, str) or typing.get_origin(thing), f"{thing!r} cannot be documented"
        return
    docstring = thing.__doc__
    assert summary_problem(docstring) is None
    # A dataclass without a docstring is given its signature for one.
    assert not docstring.startswith(f"{thing.__name__}(")
    if isinstance(thing, type) and issubclass(thing, BaseException):
        return
    assert "Example:" in docstring, "no Example"
    assert doctest.DocTestParser().get_examples(docstring), "an Example that shows no code"
    if inspect.isfunction(thing):
        assert "Args:" in docstring or not takes_arguments(thing), "no Args"
        returned = inspect.signature(thing).return_annotation
        assert "Returns:" in docstring or returned in (None, "None"), "no Returns"


@pytest.mark.parametrize("thing", [case for case in PUBLIC if inspect.isclass(case.values[0])])
def test_public_methods_are_documented(thing: type) -> None:
    own = [base for base in thing.__mro__ if base.__module__.startswith("funcparams")]
    problems = {
        f"{base.__name__}.{name}": problem
        for base in own
        for name, value in vars(base).items()
        if not name.startswith("_")
        and isinstance(value, types.FunctionType | classmethod | staticmethod | property)
        and (problem := summary_problem(inspect.getdoc(value)))
    }
    assert not problems


def test_the_reference_shows_every_public_module() -> None:
    pages = "\n".join(page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md"))
    shown = re.findall(r"^::: (\S+)$", pages, re.MULTILINE)
    assert sorted(shown) == sorted(module.__name__ for module in MODULES)


def test_every_layer_is_on_one_page() -> None:
    pages = "\n".join(page.read_text() for page in (ROOT / "docs" / "reference").rglob("*.md"))
    shown = " ".join(re.findall(r"^@layers (.+)$", pages, re.MULTILINE)).split()
    nn = importlib.import_module("funcparams.nn")
    assert sorted(shown) == sorted(n for n in nn.__all__ if not inspect.ismodule(getattr(nn, n)))


# What is written runs


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_blocks_of_a_document_run(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    documents.run(document)


def test_every_python_fence_is_found() -> None:
    fences = sum(len(re.findall(r"^\s*[`~]{3,} *py", d.read_text(), re.M)) for d in DOCUMENTS)
    found = [block for d in DOCUMENTS for block in documents.blocks(d.read_text(), str(d))]
    assert sum(block.language in documents.RUN for block in found) == fences


# Nothing grows past reading


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_file_is_short(source: Path) -> None:
    assert len(source.read_text().splitlines()) < 400


def test_core_can_be_read_in_one_sitting() -> None:
    lines = {
        source.name: len(source.read_text().splitlines())
        for source in SOURCES
        if source.is_relative_to(PACKAGE / "core")
    }
    assert sum(lines.values()) < 1800, f"{sum(lines.values())} lines: {lines}"


# Nothing reaches where it should not


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_private_jax(source: Path) -> None:
    found = re.findall(
        r"jax(?:lib)?\._(?!_)\w+|from jax(?:lib)?(?:\.\w+)* import _\w+", source.read_text()
    )
    assert not found


def test_the_package_is_marked_as_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_import_is_light() -> None:
    program = (
        "import sys, funcparams\n"
        f"print(*sorted(set({LAZY!r}) & {{name.partition('.')[0] for name in sys.modules}}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


def test_imports_run_one_way() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("core/names.py", "import funcparams.init", "Imports run one way"),
        ("edit/ties.py", "from funcparams import Module", "Nothing in the package imports"),
        ("core/names.py", "import funcparams.core.check", "No import cycles"),
        ("core/names.py", "def lazy():\n    import optax", "The core needs jax"),
        ("stray.py", "", "Imports run one way"),
    ],
)
def test_the_contracts_can_be_broken(tmp_path: Path, module: str, line: str, contract: str) -> None:
    shutil.copytree(PACKAGE, tmp_path / "funcparams", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "funcparams" / module).open("a") as file:
        file.write(f"\n{line}\n")
    result = lint_imports(tmp_path)
    assert result.returncode != 0
    assert re.search(rf"{contract}.*BROKEN|{contract}(.|\n)*stray", result.stdout), result.stdout
