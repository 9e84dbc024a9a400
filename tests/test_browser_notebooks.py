"""The committed notebooks as they are read: in JupyterLab without a kernel, and as HTML. Their pictures, too.

With MIPRO_NB_SHOTS=FOLDER the pictures are kept for a look.
"""

import shutil
from pathlib import Path

import lab
import nbformat
import pytest
from refresh_notebooks import NOTEBOOKS

pytestmark = pytest.mark.slow
server, chromium, page = lab.server, lab.chromium, lab.page

PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
books = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
# what is cut: wider than its output, and no scroll bar of its own to reach the rest (JupyterLab's tables have one)
CUT = """root => {
    const found = [];
    for (const output of root.querySelectorAll(".jp-OutputArea-output")) {
        const edge = output.getBoundingClientRect().right + 1;
        for (const one of output.querySelectorAll("*")) {
            const box = one.getBoundingClientRect();
            let scrolls = false;
            for (let up = one.parentElement; up && up !== output.parentElement; up = up.parentElement)
                scrolls ||= ["auto", "scroll"].includes(getComputedStyle(up).overflowX) && up !== output;
            if (box.width && box.right > edge && !scrolls && !one.closest("svg, details, summary"))
                found.push(`${one.tagName}.${one.className}: ${Math.round(box.right - edge)} px`);
        }
    }
    return found;
}"""


def main_output(path):
    """Return the number of the first cell that shows the frozen view of a run."""
    cells = nbformat.read(path, as_version=4).cells
    views = ["MIPROv2 ·" in str(cell.get("outputs", "")) for cell in cells]
    return views.index(True)


def opened_without_a_kernel(page, path):
    book = nbformat.read(path, as_version=4)
    book.metadata = {"kernelspec": {"name": "gone", "display_name": "Gone", "language": "gone"}}
    page.put(book, path.stem)
    page.open(path.stem, wait=False)
    page.page.locator(".jp-Dialog").get_by_role("button", name="No Kernel").click()


@books
def test_it_reads_well_without_a_kernel_at_two_widths_and_in_two_themes(page, path, tmp_path):
    folder = Path(lab.SHOTS or tmp_path)
    opened_without_a_kernel(page, path)
    main = page.output(main_output(path))
    main.scroll_into_view_if_needed()
    page.shows(main, "MIPROv2 ·")
    page.expect(main.locator("canvas, svg").first).to_be_attached()
    page.command("application:toggle-left-area")
    found = {}
    for theme in ("Light", "Dark"):
        page.theme(f"JupyterLab {theme}")
        for width in (1280, 800):
            page.page.set_viewport_size({"width": width, "height": 2600})
            main.scroll_into_view_if_needed()
            page.page.wait_for_timeout(500)  # for the pictures: charts are drawn anew
            picture = f"{path.stem}-{width}-{theme.lower()}"
            main.screenshot(path=folder / f"{picture}.png")
            found[picture] = main.evaluate(CUT)
    assert not {picture: told for picture, told in found.items() if told}


@books
def test_nbconvert_shows_tables_and_charts_without_a_kernel(page, path):
    html = lab.to_html(Path(shutil.copy(path, page.folder)))
    tab = page.turn()
    tab.goto(f"{page.server.url}/files/{page.folder.name}/{html.name}")
    output = tab.locator(".jp-Cell").nth(main_output(path))
    page.shows(output, "MIPROv2 ·")
    page.expect(output.locator("table").first).to_be_visible()
    page.expect(output.locator("img[src^='data:image/png']").first).to_be_visible()
    page.expect(tab.locator("body")).not_to_contain_text("Error displaying widget")
