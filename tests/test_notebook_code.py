"""The live view's JavaScript: the bundle fits its sources, is small, loads nothing, and never makes HTML of text."""

import gzip
import hashlib
import json
import pathlib
import re

import pytest
from ipywidgets import Widget

import mipro_nb.notebook
from mipro_nb.notebook import code
from mipro_nb.notebook.charts import vega_specs

HOME = pathlib.Path(mipro_nb.notebook.__file__).parent
JS = HOME / "js"
STATIC = HOME / "js" / "bundle"
SOURCES = sorted([*JS.glob("src/*.js"), JS / "loader.js"])
STYLE = (JS / "style.css").read_text()


@pytest.fixture(scope="module")
def bundle():
    return gzip.decompress(code.bundle()).decode()


def test_the_bundle_is_built_from_the_sources_that_are_here(bundle):
    names = sorted(["package.json", "style.css", *(f"src/{path.name}" for path in JS.glob("src/*"))])
    sources = hashlib.sha256()
    for name in names:
        sources.update(f"{name}\0".encode() + (JS / name).read_bytes() + b"\0")
    assert f"sources {sources.hexdigest()[:16]};" in bundle[:200], "run js/build.mjs"


def test_the_bundle_and_what_each_view_carries_are_small(bundle):
    assert len(bundle) < 500_000
    assert len(code.bundle()) < 175_000
    assert 1_000 < len(code.LOADER.encode()) < 6_000


def test_the_same_sources_give_the_same_bytes():
    head = code.bundle()[:10]
    assert head[4:8] == b"\0\0\0\0"  # no time
    assert head[9] == 255  # no operating system


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_text_is_never_made_into_html(path):
    makers = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|srcdoc|"
    makers += r"setHTML|\beval\(|new Function|javascript:|\.href\b|\.src\b|setAttribute\(\s*[\"'](?:on|href|src)"
    assert not re.findall(makers, path.read_text())


def test_nothing_is_fetched(bundle):
    assert not re.findall(r"\bfetch\(|XMLHttpRequest|WebSocket|EventSource|sendBeacon|importScripts|import\(", bundle)
    assert set(re.findall(r"https?://[\w./]+", bundle)) <= {
        "http://www.w3.org/1999/xlink",
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/2000/xmlns/",
    }
    assert not re.findall(r"url\(|@import", STYLE)
    assert re.findall(r"import\((.*?)\)", code.LOADER) == ["/* @vite-ignore */ url"]
    assert "const url = URL.createObjectURL(" in code.LOADER


def test_the_charts_ask_only_for_what_the_trimmed_vega_has():
    registered = set(re.findall(r"\w+", (JS / "src" / "vega.js").read_text()))
    for spec in json.loads(vega_specs()).values():
        wanted = {step["type"] for data in spec["data"] for step in data.get("transform", [])}
        wanted |= {step["type"] for mark in spec["marks"] for step in mark.get("transform", [])}
        assert wanted <= registered


def test_packages_are_pinned_and_no_registry_is_named():
    package = json.loads((JS / "package.json").read_text())
    lock = json.loads((JS / "package-lock.json").read_text())["packages"]
    for name, version in {**package["dependencies"], **package["devDependencies"]}.items():
        assert lock[f"node_modules/{name}"]["version"] == version
    assert not [name for name, entry in lock.items() if "resolved" in entry]
    assert all("integrity" in entry for name, entry in lock.items() if name)


def test_the_licenses_of_what_is_bundled_are_there():
    text = (STATIC / "licenses.txt").read_text()
    assert "vega-view" in text
    assert "d3-shape" in text


def rules(css):
    """(selector, declarations) of each innermost rule of a style sheet."""
    plain = re.sub(r"/\*.*?\*/", "", css, flags=re.S)
    return [(head.strip(), body) for head, body in re.findall(r"([^{}]+)\{([^{}]*)\}", plain)]


def test_the_style_touches_only_the_view():
    plain = re.sub(r"/\*.*?\*/", "", STYLE, flags=re.S)
    while re.search(r"\{[^{}]*\}", plain):  # what is inside of a block belongs to its selector
        plain = re.sub(r"\{[^{}]*\}", ";", plain)
    outermost = [selector.strip() for selector in plain.split(";") if selector.strip()]
    assert outermost == [".mipro", '.mipro[data-mipro-theme="dark"]', ".mipro.mipro"]


def colors(theme):
    """The view's colours on JupyterLab's light or dark paper, as (r, g, b)."""
    paper, ink = {"light": ((255, 255, 255), (33, 33, 33)), "dark": ((17, 17, 17), (255, 255, 255))}[theme]
    found = {"paper": paper, "ink": ink}
    wanted = [".mipro"] + ['.mipro[data-mipro-theme="dark"]'] * (theme == "dark")
    for head, body in rules(STYLE):
        if head in wanted:
            for name, value in re.findall(r"--mipro-([\w-]+):\s*([^;]+);", body):
                if name not in ("paper", "ink") and (color := value_of(value, found)):
                    found[name] = color
    return found


def value_of(text, known):
    """A hex colour, a variable, or a mix of two."""
    if mixed := re.fullmatch(r"color-mix\(in srgb, (.+?) (\d+)%, (.+?)\)", text):
        share = int(mixed[2]) / 100
        pairs = zip(value_of(mixed[1], known), value_of(mixed[3], known), strict=True)
        return tuple(share * a + (1 - share) * b for a, b in pairs)
    if name := re.fullmatch(r"var\(--mipro-([\w-]+)\)", text):
        return known[name[1]]
    if re.fullmatch(r"#[0-9a-f]{6}", text):
        return tuple(int(text[place : place + 2], 16) for place in (1, 3, 5))
    return None


def contrast(one, other):
    """WCAG 2's contrast of two colours."""

    def light(color):
        parts = [c / 255 for c in color]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    bright, dim = sorted((light(one), light(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


TEXT_ON = [
    *((text, paper) for text in ("ink", "soft", "accent", "good", "bad") for paper in ("paper", "wash")),
    *((text, "tint") for text in ("ink", "soft")),
    *((text, "good-tint") for text in ("ink", "good")),
    *((text, "bad-tint") for text in ("ink", "bad")),
    ("soft", "hover"),
    ("accent-ink", "accent"),
]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("text", "paper"), TEXT_ON)
def test_text_can_be_read_in_both_themes(theme, text, paper):
    found = colors(theme)
    assert contrast(found[text], found[paper]) >= 4.5


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("mark", ["mark-baseline", "mark-minibatch", "mark-full"])
def test_marks_can_be_seen_in_both_themes(theme, mark):
    found = colors(theme)
    assert contrast(found[mark], found["paper"]) >= 3


@pytest.fixture
def no_holder(monkeypatch):
    monkeypatch.setattr(code, "_holder", None)
    yield
    if code._holder is not None:
        code._holder.close()


@pytest.mark.usefixtures("no_holder")
def test_all_views_of_a_kernel_share_one_holder():
    first = code.holder('{"scores": {}}')
    assert isinstance(first, Widget)
    assert code.holder('{"scores": {}}') is first
    state = first.get_state()
    assert state["code"] == code.bundle()
    assert state["specs"] == '{"scores": {}}'
    assert state["digest"] == hashlib.sha256(code.bundle()).hexdigest()[:16]
    assert state["_view_name"] is None


@pytest.mark.usefixtures("no_holder")
def test_a_holder_that_was_closed_is_replaced():
    first = code.holder("{}")
    first.close()
    second = code.holder("{}")
    assert second is not first
    assert second.get_state()["code"] == code.bundle()


@pytest.mark.usefixtures("no_holder")
def test_other_specs_reach_the_holder_that_is_there():
    first = code.holder("{}")
    assert code.holder('{"heat": {}}') is first
    assert first.specs == '{"heat": {}}'
