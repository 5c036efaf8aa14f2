"""What may import what: the order of the package's folders, and what stays unloaded."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "bertjax"
ORDER = (
    ("errors", "json_text"),
    ("files", "progress", "protobuf"),
    ("task_settings", "typed_values"),
    ("settings",),
    ("setting_checks",),
    ("config",),
    ("text",),
    ("data",),
    ("model",),
    ("train",),
    ("tasks",),
    ("interop",),
    ("api",),
    ("commands",),
    ("options",),
    ("cli",),
    ("__main__",),
)
RANKS = {name: rank for rank, names in enumerate(ORDER) for name in names}
LIGHT = (  # the model and the training step
    "bertjax.model.bert",
    "bertjax.train.masking",
    "bertjax.train.mesh",
    "bertjax.train.objective",
    "bertjax.train.optimizer",
    "bertjax.train.state",
    "bertjax.train.step",
)
HEAVY = {"tensorflow_datasets", "grain", "orbax", "torch", "jax"}


def module_files():
    return sorted(file for file in PACKAGE.rglob("*.py") if file != PACKAGE / "__init__.py")


def part_of(file):
    """The folder of a module, or its name where it stands directly in the package."""
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_names(file):
    """Full names of every module that a file imports, at its top or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def reachable_imports(module):
    """Every name imported by a module of the package, and by those of the package it imports."""
    names, seen, waiting = set(), set(), [module]
    while waiting:
        parts = waiting.pop().split(".")
        files = [ROOT.joinpath(*parts[:count]).with_suffix(".py") for count in (1, 2, 3)]
        for file in files:
            if file.is_file() and file not in seen:
                seen.add(file)
                found = imported_names(file)
                names |= found
                waiting += [name for name in found if name.startswith("bertjax.")]
    return names


def run(code, *arguments):
    """Runs Python in a process of its own, in the repository."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_every_module_has_a_place_in_the_order():
    assert {part_of(file) for file in module_files()} <= set(RANKS)


@pytest.mark.parametrize("file", module_files(), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_module_imports_only_from_its_own_folder_and_those_to_its_left(file):
    part = part_of(file)
    for name in imported_names(file):
        package, *rest = name.split(".")
        if package == "bertjax" and rest and rest[0] != part:
            assert RANKS[rest[0]] < RANKS[part], f"bertjax/{part} must not import {name}"


def test_interop_is_imported_by_the_api_and_the_command_line_alone():
    users = {
        part_of(file)
        for file in module_files()
        if any(name.startswith("bertjax.interop") for name in imported_names(file))
    }
    assert users <= {"interop", "api", "commands", "cli"}


@pytest.mark.parametrize(
    "code",
    [
        "import bertjax",
        "import contextlib\nfrom bertjax.cli import main\n"
        "with contextlib.suppress(SystemExit): main(['--help'])",
        "import contextlib\nfrom bertjax.cli import main\n"
        "with contextlib.suppress(SystemExit): main(['pretrain', '--help'])",
    ],
    ids=["import bertjax", "bertjax --help", "bertjax pretrain --help"],
)
def test_nothing_heavy_is_loaded_by(code):
    result = run(f"{code}\nimport sys\nprint('loaded', *sys.modules)")
    assert result.returncode == 0, result.stderr
    loaded = {name.split(".")[0] for name in result.stdout.rpartition("loaded ")[2].split()}
    assert "bertjax" in loaded
    assert loaded & HEAVY == set()


BLOCK_OTHERS = """
import importlib, sys
import jax, flax.nnx, optax, numpy

known = {name.split(".")[0] for name in sys.modules} | {*sys.stdlib_module_names, "bertjax"}

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in known:
            raise ImportError("blocked: " + name)

sys.meta_path.insert(0, Blocker())
for module in sys.argv[1:]:
    importlib.import_module(module)
"""


def test_the_model_and_the_step_load_where_all_but_jax_flax_optax_and_numpy_is_blocked():
    result = run(BLOCK_OTHERS, *LIGHT)
    assert result.returncode == 0, result.stderr


WITHOUT_OTHERS = """
import sys

for name in ("torch", "transformers", "tensorflow", "sentence_transformers"):
    sys.modules[name] = None  # its import fails as if it were not installed

import bertjax

google = bertjax.load(sys.argv[1])
google.save_huggingface(sys.argv[2])
for bert in (google, bertjax.load(sys.argv[2])):
    bert.apply([[2, 3]])
    print(*bert.embed(["a text"])[0])
"""


@pytest.mark.slow
def test_checkpoints_come_in_and_go_out_where_the_other_libraries_are_blocked(tmp_path):
    google = ROOT / "tests" / "fixtures" / "google" / "pretrained"
    result = run(WITHOUT_OTHERS, str(google), str(tmp_path / "model"))
    assert result.returncode == 0, result.stderr
    first, second = result.stdout.splitlines()
    assert first == second


@pytest.mark.parametrize("module", LIGHT)
def test_the_model_and_the_step_name_no_library_but_jax_flax_optax_and_numpy(module):
    outside = {name.split(".")[0] for name in reachable_imports(module)} - {"bertjax"}
    assert outside - set(sys.stdlib_module_names) <= {"jax", "flax", "optax", "numpy"}
