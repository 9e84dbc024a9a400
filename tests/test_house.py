"""The house rules of .github/CONTRIBUTING.md: layers, homes of foreign libraries, public names."""

import ast
import pathlib

import pytest

import mipro_nb

PACKAGE = pathlib.Path(mipro_nb.__file__).parent

# a module imports only from the lines above its own, or from earlier in its line
LAYERS = [
    # values
    [
        "console",
        "errors",
        "interrupts",
        "clock",
        "example",
        "text",
        "fieldtypes",
        "signature",
        "verdict",
        "events",
        "reading",
        "eventlist",
        "eventlog",
    ],
    ["additive", "learning", "memory", "frames", "history", "outcome"],
    # data and LM in and out
    [
        "checks",
        "data",
        "cache",
        "flow",
        "usage",
        "journal",
        "traffic",
        "breaker",
        "gate",
        "refusals",
        "local",
        "lm",
        "testing",
    ],
    # programs
    ["adapter", "replies", "saving", "settings", "module", "predict", "metrics"],
    # the optimizer
    [
        "control",
        "elsewhere",
        "threads",
        "pool",
        "budget",
        "scoring",
        "errand",
        "remote",
        "telling",
        "evaluate",
        "bootstrap",
        "fewshot",
        "instruction",
        "grounding",
        "feedback",
        "revising",
        "asking",
        "propose",
        "search",
        "posterior",
        "results",
        "summary",
        "space",
        "past",
        "paired",
        "tpe",
        "strategies",
    ],
    [
        "effort",
        "reflection",
        "mirror",
        "options",
        "estimate",
        "funds",
        "plan",
        "opening",
        "jobrecord",
        "rundir",
        "progress",
        "transcript",
    ],
    [
        "record",
        "recombine",
        "renewal",
        "searching",
        "stage",
        "mirroring",
        "keeping",
        "spending",
        "judging",
        "engine",
        "run",
        "playback",
        "mipro",
        "opened",
        "listing",
    ],
    # the notebook
    [
        "notebook.__init__",
        "notebook.worddiff",
        "notebook.marks",
        "notebook.heat",
        "notebook.thinned",
        "notebook.charts",
    ],
    ["notebook.closeup", "notebook.wire"],
    ["notebook.document", "notebook.markup", "notebook.sections", "notebook.listings", "notebook.static"],
    ["notebook.ledger", "notebook.recipe", "notebook.account", "notebook.vector", "notebook.page"],
    ["notebook.markdown", "notebook.report"],
    ["notebook.kernel", "notebook.code", "notebook.part", "notebook.outputs", "notebook.feed", "notebook.view"],
    ["notebook.oneline", "notebook.celloptions", "notebook.cellbody", "notebook.cellspec", "notebook.cellnames"],
    ["notebook.celldata", "notebook.runbook", "notebook.completing", "notebook.magic"],
    ["demo", "__init__", "__main__"],
]
UPWARD = {  # how a run shows itself, imported late
    "history": {"notebook.report"},
    "record": {"notebook.view", "notebook.charts"},
    "run": {"notebook.outputs", "opened", "mipro"},
}
ORDER = [name for layer in LAYERS for name in layer]

# foreign libraries and the modules that may import them
HOMES = {
    "litellm": {"lm"},
    "optuna": {"tpe", "mirror"},
    "sqlalchemy": {"mirror"},
    "pandas": {"data", "frames", "listing", "notebook"},
    "threadpoolctl": {"posterior"},
    "numpy": {"verdict", "posterior", "results", "summary", "paired"},
    "diskcache_community": {"cache"},
    "platformdirs": {"cache", "rundir"},
    "filelock": {"rundir"},
    "xllamacpp": {"local"},
    "rich": {"console", "progress", "local"},
    "tenacity": {"lm"},
    "json_repair": {"replies"},
    "pydantic": {"fieldtypes", "adapter"},
    "pydantic_core": {"fieldtypes", "reading"},
    "ipywidgets": {"notebook"},
    "anywidget": {"notebook"},
    "traitlets": {"notebook"},
    "altair": {"notebook"},
    "vl_convert": {"notebook"},
    "IPython": {"notebook"},
}


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield (".".join(parts) if parts[0] == "notebook" else parts[0], path)


def home(module):
    return module.split(".")[0]


def imported(path):
    """(top-level package, mipro_nb module or None, needed at run time)"""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "mipro_nb":
            names = [f"mipro_nb.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "mipro_nb.notebook":
            names = [f"mipro_nb.notebook.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        for name in names:
            top, *rest = name.split(".")
            target = ".".join(rest[:2]) if rest[:1] == ["notebook"] and len(rest) > 1 else rest[0] if rest else None
            yield top, "notebook.__init__" if target == "notebook" else target, id(node) not in typing_only


def test_every_module_has_its_place():
    assert sorted({name for name, _ in modules()}) == sorted(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_a_module_imports_only_from_above(name):
    allowed = set(ORDER[: ORDER.index(name)]) | {name} | UPWARD.get(name, set())
    wrong = {
        target
        for module, path in modules()
        if module == name and name != "__init__"
        for top, target, runtime in imported(path)
        if top == "mipro_nb" and target is not None and runtime and target not in allowed
    }
    assert not wrong


def test_foreign_libraries_stay_in_their_homes():
    wrong = [
        f"{module}: {top}"
        for module, path in modules()
        for top, _, runtime in imported(path)
        if runtime and top in HOMES and home(module) not in HOMES[top]
    ]
    assert not wrong


def test_every_foreign_library_has_a_home():
    import sys

    known = set(sys.stdlib_module_names) | set(HOMES) | {"mipro_nb", "__future__"}
    assert not {top for _, path in modules() for top, _, _ in imported(path)} - known


# what reckons with NumPy throughout; "strategies" imports it late
LATE = {"posterior", "results", "summary", "space", "paired"}


def test_what_is_heavy_itself_is_imported_inside_the_call():
    wrong = []
    for module, path in modules():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").removeprefix("mipro_nb.") in LATE - {module}:
                wrong += [f"{module}: {node.module}"] * (module not in LATE)
    assert not wrong


@pytest.mark.slow
def test_heavy_libraries_are_imported_inside_the_call():
    heavy = {"litellm", "optuna", "pandas", "numpy", "altair", "ipywidgets", "rich", "xllamacpp"}
    wrong = []
    for module, path in modules():
        if home(module) == "notebook" or module in LATE:  # imported late itself
            continue
        for node in ast.parse(path.read_text()).body:
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            wrong += [f"{module}: {name}" for name in names if name.split(".")[0] in heavy]
    assert not wrong


def test_the_public_names_are_these():
    assert sorted(mipro_nb.__all__) == sorted(
        [
            *("LM", "configure", "context"),
            *("Signature", "InputField", "OutputField"),
            *("Example", "Prediction", "Score", "examples", "split"),
            *("Module", "Predict", "ChainOfThought", "load"),
            *("Evaluate", "EvaluationResult"),
            *("BootstrapFewShot", "GroundedProposer"),
            *("MIPROv2", "Plan", "Run", "History", "optimize", "replay", "runs"),
            "exact_match",
        ]
    )


def test_a_misspelt_public_name_says_the_nearest():
    with pytest.raises(AttributeError, match="Did you mean 'MIPROv2'"):
        mipro_nb.MIPRO2  # noqa: B018


def test_the_top_level_holds_nothing_else():
    allowed = {"mipro_nb", "notebooks", "tests", "binder", "pyproject.toml", "README.md", "LICENSE"}
    import subprocess

    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=PACKAGE.parent, check=False)
    tops = {line.split("/")[0] for line in listed.stdout.splitlines()}
    assert {top for top in tops if not top.startswith(".")} <= allowed


def test_there_is_no_pickle():
    wrong = [m for m, path in modules() for top, _, _ in imported(path) if top in ("pickle", "cloudpickle", "dill")]
    assert not wrong
