"""Text of LMs and data never runs: as program's name, instruction, demo, example, output, feedback or error."""

import subprocess
import sys

import lab
import pytest
from histories import PAYLOADS

pytestmark = pytest.mark.slow
server, chromium, page = lab.server, lab.chromium, lab.page

PLAIN = [text for text in PAYLOADS if "\n" not in text and "\u202e" not in text and "&lt;" not in text]
IMPORTS = "from scene import *"
HARMLESS = """root => {
    const all = (selector) => [...root.querySelectorAll(selector)];
    const handled = (one) => [...one.attributes].some(own => own.name.startsWith("on"));
    return {
        pwned: window.pwned ?? null,
        links: all("a, area").map(one => one.getAttribute("href") ?? "").filter(href => !href.startsWith("#")),
        handlers: all("*").filter(handled).length,
        frames: all("iframe, object, embed, script, base, form:not(.vega-bindings), meta").map(one => one.outerHTML),
        images: all("img").map(one => one.src).filter(src => !src.startsWith("data:image/png")),
    };
}"""


def harmless(node):
    """Nothing of the payloads has become an element, and none has run."""
    assert node.evaluate(HARMLESS) == {"pwned": None, "links": [], "handlers": 0, "frames": [], "images": []}


def ended(page, run, state):
    """Return the live view of a run that has ended."""
    page.start(IMPORTS, f"view = {run}\nview", "view")
    page.state(page.view(1), "Running")
    page.state(page.view(2), "Running")
    page.open_door()
    page.expect(page.view(1)).to_have_count(0)
    page.ask(2, "view")
    page.state(page.view(2), state)
    return page.view(2)


def unfold(page, view):
    """Open every tab, every row, every detail."""
    for name in ("Candidates", "Trials", "Examples", "Prompt"):
        view.get_by_role("tab", name=name).click()
        panel = view.get_by_role("tabpanel", name=name)
        folds = panel.get_by_role("button", name="Details", exact=True)
        for number in range(min(folds.count(), 14)):
            folds.nth(number).click()
        yield name, panel


def test_payloads_in_a_live_view_are_text(page):
    view = ended(page, "optimize_hostile()", "Finished")
    page.shows(view.locator(".mipro-name"), PAYLOADS[0])
    for name, panel in unfold(page, view):
        if name == "Candidates":
            page.shows(panel, *(f"Rule {n}: " for n in range(9)), *PLAIN)
        if name == "Examples":
            page.expect(panel).not_to_contain_text("Asking the kernel")
            page.shows(panel, "feedback ", "ValueError: fail ", *PLAIN)
        if name == "Prompt":
            page.shows(panel, PLAIN[1])  # the first example's own; which proposal won hangs on who came first
        harmless(view)
    view.get_by_role("tab", name="Trials").click()
    for number in (0, 2, 4):
        view.get_by_role("row").nth(number + 1).locator("td").first.click()
        page.shows(view.get_by_role("region", name="Selected trial"), "Instruction ")
        harmless(view)
    view.locator(".mipro-figure-scores canvas").hover()
    harmless(view)


def test_the_error_of_a_failed_run_is_text(page):
    view = ended(page, "optimize_hostile(broken_metric)", "Failed")
    page.shows(view, "The run failed", "MetricError: metric broken_metric raised RuntimeError", "window.pwned")
    harmless(view)


def test_payloads_in_the_frozen_output_are_text_in_a_trusted_notebook_and_in_html(page):
    shown = "view = {}\nview"
    failing = shown.format("optimize_hostile(broken_metric)")
    page.open_door()
    page.start(IMPORTS, shown.format("optimize_hostile()"), failing, "print('there')")
    seen = ("Validation examples", "Rule 1", *PLAIN)
    page.shows(page.output(1), "finished", *seen)
    page.shows(page.output(2), "failed", "window.pwned")
    page.expect(page.output(1).locator(".jp-RenderedVegaCommon5").locator("canvas, svg").first).to_be_attached()
    harmless(page.page.locator(".jp-Notebook"))
    page.save()
    path = page.folder / "nb.ipynb"
    trust = [sys.executable, "-m", "nbformat.sign", str(path)]
    subprocess.run(trust, check=True, env=page.server.environment, timeout=120)
    page.turn()
    page.open()
    page.shows(page.output(1), "finished", *seen)
    trusted = "() => [...window.jupyterapp.shell.currentWidget.model.cells].every(cell => cell.trusted)"
    assert page.page.evaluate(trusted)
    page.expect(page.output(1).locator(".jp-RenderedVegaCommon5").locator("canvas, svg").first).to_be_attached()
    harmless(page.page.locator(".jp-Notebook"))
    tab = page.turn()
    tab.goto(f"{page.server.url}/files/{page.folder.name}/{lab.to_html(path).name}")
    page.shows(tab.locator(".jp-Cell").nth(1), "finished", *seen)
    page.expect(tab.locator(".jp-Cell").nth(1).locator("img[src^='data:image/png']")).to_be_visible()
    for cell in (1, 2):
        harmless(tab.locator(".jp-Cell").nth(cell))
