"""The report as a file in a browser without a network: on a phone, a tablet, a desktop, in the dark, on paper."""

import os
import shutil
import subprocess
from pathlib import Path

import histories
import lab
import pytest

from mipro_nb import History
from mipro_nb import events as ev
from mipro_nb.notebook import report

pytestmark = pytest.mark.slow

chromium = lab.chromium
LONG = "Answer_with_the_name_of_the_team_" * 12 + " and nothing else, whatever the message says. "
# what a person sees: the distance of two colours, as WCAG 2 counts it; texts on the ground that they stand on
CONTRAST = """() => {
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const read = text => text.match(/[0-9.]+/g).map(Number);
    const ground = element => {
        for (let one = element; one; one = one.parentElement) {
            const found = read(getComputedStyle(one).backgroundColor);
            if (found.length < 4 || found[3] === 1) return found;
        }
        return [255, 255, 255];
    };
    const poor = [];
    for (const one of document.querySelectorAll("h1, h2, h3, p, th, td, a, li, summary, pre, del, ins, figcaption")) {
        if (!one.textContent.trim() || !one.checkVisibility()) continue;
        const both = [light(read(getComputedStyle(one).color)), light(ground(one))].sort((a, b) => b - a);
        const ratio = (both[0] + 0.05) / (both[1] + 0.05);
        if (ratio < 4.5) poor.push(`${one.tagName}.${one.className} ${ratio.toFixed(2)}`);
    }
    return [...new Set(poor)];
}"""
CUT = """() => [...document.querySelectorAll("svg")].filter(svg => svg.checkVisibility()).flatMap(svg => {
    const box = svg.getBoundingClientRect();
    return [...svg.querySelectorAll("text")].filter(text => text.textContent.trim()).map(text => {
        const own = text.getBoundingClientRect();
        const out = own.left < box.left - 1 || own.right > box.right + 1 || own.top < box.top - 1 || own.bottom > box.bottom + 1;
        return out ? text.textContent : null;
    }).filter(Boolean);
})"""  # noqa: E501


@pytest.fixture
def opened(chromium, tmp_path, request):
    """Open the report of a history; in the end nothing but the file was asked for, and nothing complained of."""
    contexts, asked, said = [], [], []

    def opened(history, width=1280, scheme="light"):
        path = report.write(history, tmp_path / "report.html")
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(path.as_uri())
        if lab.SHOTS:
            height = page.evaluate("document.documentElement.scrollHeight")
            name = f"{request.node.name}_{width}_{scheme}.png".replace("/", "_")
            clip = {"x": 0, "y": 0, "width": width, "height": min(height, 8000)}
            page.screenshot(path=Path(lab.SHOTS) / name, clip=clip, full_page=True)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert set(asked) <= {(tmp_path / "report.html").as_uri()}
    assert not said


def wide():
    """Long words, many demo sets, two predictors with long names."""
    names = ("first_predictor_of_a_program_with_a_long_name", "judge")
    texts = (histories.ORIGINAL, *(LONG + str(n) for n in range(8)))
    demos = [{"message": LONG * 3, "team": "billing"}] * 3
    events = [
        histories.started(names, "Pipeline"),
        *histories.bootstrap(names, 18, demos),
        *histories.propose(names, texts),
        *histories.search(30, predictors=2, instructions=9, demos=18),
    ]
    note = ev.Noted("data", LONG, at=90.0)
    return History([*events, note, *histories.verdict(events), ev.RunFinished(f"stopped: {LONG}", at=106.0)])


def unfold(page):
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")


@pytest.mark.parametrize("width", [360, 800, 1280])
@pytest.mark.parametrize("make", [histories.finished, wide, histories.hostile])
def test_the_page_never_scrolls_sideways(opened, make, width):
    page = opened(make(), width)
    sideways = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    assert page.evaluate(sideways)
    assert page.evaluate(CUT) == []
    unfold(page)
    assert page.evaluate(sideways)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_letters_can_be_read_in_any_theme(opened, scheme):
    for make in (histories.finished, histories.not_shown):
        page = opened(make(), 1280, scheme)
        unfold(page)
        assert page.evaluate(CONTRAST) == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")


def test_each_width_has_its_own_chart(opened):
    shown = "[...document.querySelectorAll('figure .wide, figure .narrow')].map(one => one.checkVisibility())"
    assert opened(histories.finished(), 360).evaluate(shown) == [False, True]
    assert opened(histories.finished(), 1280).evaluate(shown) == [True, False]


def test_contents_lead_to_their_headings_and_details_unfold(opened):
    page = opened(histories.finished())
    page.get_by_role("link", name="Examples", exact=True).click()
    assert page.evaluate("document.querySelector('#examples').getBoundingClientRect().top") < 900
    first = page.locator("main > details").first
    assert not first.locator("pre").first.is_visible()
    first.locator("summary").click()
    assert first.locator("pre").first.is_visible()
    assert "team: billing" in first.inner_text()


def test_hostile_texts_do_nothing(opened):
    page = opened(histories.hostile())
    unfold(page)
    page.wait_for_timeout(300)
    assert page.evaluate("window.pwned === undefined")
    assert page.evaluate("document.querySelectorAll('script, img, iframe, style:not(head style)').length") == 0
    assert page.locator("h1").count() == 1


def test_a_large_run_opens(opened):
    page = opened(histories.large(2000, 200))
    assert "2,001" in page.locator("#trials").inner_text()
    assert page.locator("table tbody tr").count() < 600


@pytest.mark.parametrize("format", ["A4", "Letter"])
def test_on_paper_nothing_is_cut(opened, format, tmp_path):
    page = opened(wide())
    page.emulate_media(media="print")
    size = {"A4": 680, "Letter": 703}[format]  # pixels between margins of 15 mm
    page.set_viewport_size({"width": size, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert page.evaluate(CUT) == []
    assert not page.locator("nav").is_visible()
    assert page.locator(".paper").is_visible()
    assert page.locator(".diff ins").first.is_visible()
    path = tmp_path / "report.pdf"
    page.pdf(path=path, format=format)
    if lab.SHOTS and shutil.which("pdftoppm"):
        subprocess.run(["pdftoppm", "-r", "60", "-png", path, os.path.join(lab.SHOTS, f"report_{format}")], check=True)
    if shutil.which("pdftotext"):
        text = subprocess.run(["pdftotext", "-layout", path, "-"], capture_output=True, text=True, check=True).stdout
        for words in ("Improved", "Best instruction of judge", "How to run it again", "Trials (31)"):
            assert words in text
