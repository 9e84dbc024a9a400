"""What stays: after the kernel's end, in the saved file, in a page without a kernel, in HTML."""

import lab
import pytest

pytestmark = pytest.mark.slow
server, chromium, page = lab.server, lab.chromium, lab.page

IMPORTS = "from scene import *"
VIEW = "application/vnd.jupyter.widget-view+json"
RUN = "{0} = optimize(slow(0.001), num_trials=3, seed={1})\n{0}"


def test_a_kernel_that_is_shut_down_in_the_middle_leaves_what_was_known(page):
    page.start(IMPORTS, "view = optimize(held(250), num_trials=100)\nview")
    page.expect(page.view(1).locator(".mipro-found")).to_contain_text("over the baseline")
    page.still(lambda: page.number(page.view(1), "LM calls"), "the number of calls")
    page.command("kernelmenu:shutdown")
    page.shows(page.output(1), "MIPROv2 · Predict · stopped", "best on validation", "Instructions (4)")
    assert page.view(1).count() == 0
    page.save()
    assert all(VIEW not in output["data"] for output in page.read().cells[1].outputs)


def three_runs(page):
    """Make and save a notebook with three runs that have ended."""
    page.start(IMPORTS, *(RUN.format(name, seed) for seed, name in enumerate(("one", "two", "three"))))
    for cell in (1, 2, 3):
        page.shows(page.output(cell), "MIPROv2 · Predict · finished")
        page.expect(page.output(cell).locator(".jp-RenderedVegaCommon5").locator("canvas, svg").first).to_be_attached()
    page.save()
    page.server.end_kernels()
    return page.folder / "nb.ipynb"


def test_a_saved_notebook_with_three_runs_is_small_and_shows_them_without_a_kernel(page):
    path = three_runs(page)
    assert path.stat().st_size < 1_000_000
    saved = page.read()
    saved.metadata = {"kernelspec": {"name": "gone", "display_name": "Gone", "language": "gone"}}
    page.put(saved, "reopened")
    page.turn()
    page.open("reopened", wait=False)
    page.page.locator(".jp-Dialog").get_by_role("button", name="No Kernel").click()
    for cell in (1, 2, 3):
        page.shows(page.output(cell), "finished", "test examples", "best on validation", "Instructions (4)")
        chart = page.output(cell).locator(".jp-RenderedVegaCommon5").locator("canvas, svg").first
        chart.scroll_into_view_if_needed()
        page.expect(chart).to_be_visible()
    page.expect(page.page.locator(".jp-Notebook")).not_to_contain_text("Error displaying widget")


def test_nbconvert_html_shows_verdict_tables_and_chart(page):
    html = lab.to_html(three_runs(page))
    tab = page.turn()
    tab.goto(f"{page.server.url}/files/{page.folder.name}/{html.name}")
    for cell in (1, 2, 3):
        output = tab.locator(".jp-Cell").nth(cell)
        page.shows(output, "finished", "test examples", "best on validation", "Instructions (4)")
        image = output.locator("img[src^='data:image/png']")
        page.expect(image).to_be_visible()
        assert image.evaluate("image => image.naturalWidth") > 300
    page.expect(tab.locator("body")).not_to_contain_text("Error displaying widget")
