"""The report page in a browser, opened from the disk without a network."""

from __future__ import annotations

import json
import time
from contextlib import suppress

import numpy as np
import pytest

from enface_tools.compare.page import write_comparison
from enface_tools.report.numbers import NONE
from enface_tools.report.run_page import write_report

COUNT = 150
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


class Reader:
    """A page with its console messages and its requests."""

    def __init__(self, page):
        self.page, self.complaints, self.asked = page, [], []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", lambda request: self.complaints.append(f"failed: {request.url}"))
        page.on("request", lambda request: self.asked.append(request.url))

    def open(self, path):
        self.page.goto(path.as_uri())

    def keys(self):
        return self.page.locator("#faces .key").all_text_contents()

    def choose(self, label, option):
        self.page.locator("#filters label").filter(has_text=label).locator("select").select_option(label=option)

    def every(self):
        """Show every image, not one per person."""
        self.page.locator("#people").select_option("all")

    def sort(self, place):
        self.page.locator("#sort").select_option(place)

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def evaluate(self, code, *arguments):
        return self.page.evaluate(code, *arguments)


@pytest.fixture(scope="module")
def written(tmp_path_factory, evaluations):
    """The report of a run with many images, hostile names and two stages."""
    run = evaluations.write_run(tmp_path_factory.mktemp("browser") / "run")
    evaluations.write_evaluation(run / "evaluation", COUNT)
    return write_report(run)


@pytest.fixture
def reader(browser):
    """A page of desktop size; it must request nothing but files, and report no problem."""
    page = browser.new_page(viewport=DESK)
    reader = Reader(page)
    yield reader
    page.close()
    assert not reader.complaints
    assert reader.asked
    assert all(url.startswith(("file://", "data:", "blob:")) for url in reader.asked)


@pytest.fixture
def opened(reader, written):
    """The report, open."""
    reader.open(written)
    return reader


def ranked(evaluations, name, *, worst=True, where=slice(None)):
    """Keys in the order of a metric."""
    images = evaluations.numbers(COUNT)[where]
    higher, ideal = evaluations.METRICS[name]
    score = -(images[name] - ideal).abs() if ideal is not None else images[name] * (1 if higher else -1)
    return images["key"].iloc[np.argsort(score.to_numpy() * (1 if worst else -1), kind="stable")].tolist()


@pytest.mark.parametrize("name", ["ssim", "lpips", "sharpness"])
@pytest.mark.parametrize("worst", [True, False])
def test_faces_are_sorted_by_any_metric_in_its_direction(opened, evaluations, name, worst):
    opened.every()
    opened.sort(str(list(evaluations.METRICS).index(name)))
    opened.page.locator("#order").select_option("worst" if worst else "best")
    keys = opened.keys()
    assert keys == ranked(evaluations, name, worst=worst)[: len(keys)]
    assert len(keys) == 24


def test_images_without_a_number_come_last(opened):
    opened.every()
    opened.sort("3")
    while opened.page.locator("#more").is_visible():
        opened.page.locator("#more").click()
    numbers = opened.page.locator("#faces .number").all_text_contents()
    assert len(numbers) == COUNT
    known = [number != f"lpips@eyes {NONE}" for number in numbers]
    assert known == sorted(known, reverse=True)
    assert known.count(False) == len(range(0, COUNT, 4))


def test_faces_are_chosen_by_labels_and_searched(opened, evaluations):
    images = evaluations.numbers(COUNT)
    opened.every()
    opened.choose("pose", "-15")
    opened.choose("light", "2")
    where = ((images["pose"] == -15) & (images["light"] == 2)).to_numpy()
    assert opened.page.locator("#count").inner_text() == f"{where.sum()} of {COUNT} images"
    assert opened.keys() == ranked(evaluations, "ssim", where=where)
    opened.choose("glasses", evaluations.HOSTILE_IDENTITY)
    where = where & (images["glasses"] == evaluations.HOSTILE_IDENTITY).to_numpy()
    assert opened.keys() == ranked(evaluations, "ssim", where=where)
    for label in ("pose", "light", "glasses"):
        opened.choose(label, "all")
    opened.page.locator("#search").fill("014")
    wanted = {key for key, who in zip(images["key"], images["identity"], strict=True) if "014" in key or "014" in who}
    assert set(opened.keys()) == wanted
    opened.page.locator("#search").fill("nobody of that name")
    assert opened.keys() == []
    assert opened.page.locator("#count").inner_text() == f"0 of {COUNT} images"


@pytest.mark.parametrize("worst", [True, False])
def test_a_ranking_shows_one_image_of_each_person(opened, evaluations, worst):
    images = evaluations.numbers(COUNT).set_index("key")["identity"]
    opened.page.locator("#order").select_option("worst" if worst else "best")
    order = ranked(evaluations, "ssim", worst=worst)
    firsts = images[order].drop_duplicates().index.tolist()
    assert opened.keys() == firsts
    counts = images.value_counts()
    others = {who: f"{count - 1} more of {who}" for who, count in counts.items() if count > 1}
    expected = [others[images[key]] for key in firsts if images[key] in others]
    assert opened.page.locator(".others").all_text_contents() == expected
    people = f"the {'worst' if worst else 'best'} of each of {len(counts)} people"
    assert opened.page.locator("#count").inner_text() == f"{COUNT} images · {people}"


def test_the_other_images_of_a_person_are_a_click_away(opened, evaluations):
    images = evaluations.numbers(COUNT).set_index("key")["identity"]
    order = ranked(evaluations, "ssim")
    first = opened.page.locator("#faces li").filter(has=opened.page.locator(".others")).first
    who = images[first.locator(".key").text_content()]
    first.locator(".others").click()
    assert opened.keys() == [key for key in order if images[key] == who]
    assert opened.evaluate("document.activeElement.className") == "card"
    opened.page.get_by_role("button", name="All people").click()
    assert len(opened.keys()) == min(images.nunique(), 24)
    assert not opened.page.get_by_role("button", name="All people").is_visible()


def test_a_phone_says_how_many_columns_a_table_hides(browser, written):
    page = browser.new_page(viewport=PHONE)
    page.goto(written.as_uri())
    box = page.locator('.scroll[aria-label="Key numbers"]')
    cue = box.locator("xpath=preceding-sibling::p[1]")
    hidden = box.evaluate(
        "(box) => [...box.querySelectorAll('thead th')]"
        ".filter((head) => head.getBoundingClientRect().right > box.getBoundingClientRect().right + 4).length"
    )
    assert hidden > 0
    assert cue.inner_text().startswith(f"scroll for {hidden} more column")
    box.evaluate("(box) => box.scrollTo(10000, 0)")
    cue.filter(has_text="end").wait_for()
    page.close()


def test_a_table_that_fits_has_no_cue(opened):
    assert opened.page.locator(".cue:visible").count() == 0


def test_faces_come_a_few_at_a_time(opened):
    opened.every()
    shown = [len(opened.keys())]
    while opened.page.locator("#more").is_visible():
        opened.page.locator("#more").click()
        shown.append(len(opened.keys()))
    assert shown == [24, 48, 96, COUNT]


def test_every_tile_shows_its_part_of_the_sprite(opened, evaluations):
    opened.sort("")
    colours = opened.evaluate(
        """async () => {
          const styles = [];
          for (const tile of [...document.querySelectorAll("#faces .card")].at(-1).querySelectorAll(".tile")) {
            const style = getComputedStyle(tile);
            styles.push([style.backgroundSize, style.backgroundPosition, style.backgroundImage]);
          }
          return styles;
        }"""
    )
    # The 24th image: 23 of the 63 steps down a sprite of 64 rows, one sprite for each tile.
    assert [size for size, _, _ in colours] == ["100% 6400%"] * 4
    places = [[float(part.rstrip("%")) for part in place.split()] for _, place, _ in colours]
    assert places == [[0, pytest.approx(100 * 23 / 63, abs=0.01)]] * 4
    assert [file.rpartition("/")[2] for _, _, file in colours] == [f'000-{role}.webp")' for role in evaluations.TILES]


def test_sprites_are_loaded_when_their_images_come_into_view(reader, written, evaluations, until):
    reader.page.set_viewport_size(PHONE)
    reader.open(written)
    reader.every()
    reader.sort("")

    def asked():
        return {url.rpartition("/")[2] for url in reader.asked if "/pictures/" in url}

    # Each click moves the focus to the first of the new images, the last to number 96 of 150.
    while reader.page.locator("#more").is_visible():
        reader.page.locator("#more").click()
    until(lambda: "001-output.webp" in asked())
    assert "002-output.webp" not in asked()
    reader.page.locator(".card").last.scroll_into_view_if_needed()
    until(lambda: "002-output.webp" in asked())


def pixel(page, locator, across=0.5):
    """The colour on the screen, a part of the way across an element."""
    from io import BytesIO

    from PIL import Image

    image = Image.open(BytesIO(locator.screenshot())).convert("RGB")
    return image.getpixel((round((image.width - 1) * across), image.height // 2))


def near(colour, other):
    return all(abs(one - two) < 30 for one, two in zip(colour, other, strict=True))


def test_a_face_is_shown_large_under_a_slider(opened, evaluations, until):
    source, output, target = evaluations.COLOURS[:3]
    opened.sort("")
    opened.page.locator(".card").nth(3).click()
    dialog = opened.page.get_by_role("dialog")
    stage, slider = dialog.locator(".stage"), dialog.get_by_role("slider")
    assert dialog.get_by_role("heading").inner_text() == "0003.png"
    until(lambda: near(pixel(opened.page, stage, 0.2), source))
    until(lambda: near(pixel(opened.page, stage, 0.8), output))
    slider.fill("90")
    until(lambda: near(pixel(opened.page, stage, 0.8), source))
    dialog.get_by_role("button", name="output | target").click()
    until(lambda: near(pixel(opened.page, stage, 0.8), output))
    until(lambda: near(pixel(opened.page, stage, 0.94), target))
    # A drag on the picture itself moves the slider.
    box = stage.bounding_box()
    opened.page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 20)
    opened.page.mouse.down()
    opened.page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 20)
    opened.page.mouse.up()
    assert 24 <= int(slider.input_value()) <= 26
    slider.focus()
    opened.press("ArrowRight", "ArrowRight")
    assert 26 <= int(slider.input_value()) <= 28
    assert dialog.get_by_role("heading").inner_text() == "0003.png"


def test_a_large_file_is_taken_where_there_is_one(opened, until):
    opened.sort("")
    opened.page.locator(".card").first.click()
    stage = opened.page.locator(".stage")
    until(lambda: near(pixel(opened.page, stage, 0.2), (250, 250, 0)))
    opened.press("ArrowRight")
    until(lambda: near(pixel(opened.page, stage, 0.2), (200, 60, 60)))


def test_the_dialog_is_used_with_keys(opened, evaluations, until):
    order = ranked(evaluations, "ssim")
    opened.every()
    opened.page.locator(".card").nth(1).focus()
    opened.press("Enter")
    dialog = opened.page.get_by_role("dialog")
    title = dialog.get_by_role("heading")

    def name():
        return title.inner_text()

    assert name() == order[1]
    opened.press("ArrowRight", "ArrowRight")
    assert name() == order[3]
    opened.press("ArrowLeft")
    assert (name(), dialog.locator("[data-part=place]").inner_text()) == (order[2], f"3 of {COUNT}")
    # Beyond what has been put on the page so far, and not beyond the ends.
    opened.press(*["ArrowRight"] * 27)
    assert name() == order[29]
    opened.press("Escape")
    assert not dialog.is_visible()
    # The browser gives the focus back to where the dialog was opened; the page moves it on in the event of closing.
    until(lambda: opened.evaluate("document.activeElement.querySelector('.key')?.textContent") == order[29])
    opened.press("Enter", *["ArrowLeft"] * 40)
    assert name() == order[0]
    assert dialog.get_by_role("button", name="Previous").is_disabled()


def test_the_dialog_tells_numbers_and_labels(opened, evaluations):
    images = evaluations.numbers(COUNT)
    opened.sort("")
    opened.page.locator(".card").nth(2).click()
    dialog = opened.page.get_by_role("dialog")
    lines = dialog.locator("table tr").all_inner_texts()
    assert lines[0].split("\t") == ["Metric", "Output", "Source", "Mean target"]
    assert lines[1].split("\t")[0] == "ssim ↑"
    values = [float(cell) for cell in lines[1].split("\t")[1:]]
    assert values == pytest.approx([images["ssim"][2] + more for more in (0, 0.1, 0.2)], rel=1e-3)
    labels = dialog.locator("dl").inner_text()
    assert evaluations.HOSTILE_IDENTITY in labels
    assert dialog.locator("dl img").count() == 0


def test_the_worst_image_of_a_metric_is_a_click_away(opened, evaluations):
    opened.page.locator("[data-open]").first.click()
    (worst,) = ranked(evaluations, "ssim")[:1]
    assert opened.page.get_by_role("dialog").get_by_role("heading").inner_text() == worst


def test_zoom_is_linked_over_all_plots_of_steps(opened, until):
    plots = opened.page.locator("[data-plot^=curve]")
    assert plots.count() >= 5
    first, last = plots.first, plots.last
    first.scroll_into_view_if_needed()
    first.locator(".nsewdrag").first.wait_for(state="attached")
    box = first.locator(".nsewdrag").first.bounding_box()
    opened.page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 30)
    opened.page.mouse.down()
    opened.page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 30, steps=5)
    opened.page.mouse.up()
    until(lambda: opened.page.locator("#step-from").input_value() != "")
    ranges = (
        "[...document.querySelectorAll('.js-plotly-plot[data-plot^=curve]')].map((plot) => plot.layout.xaxis.range)"
    )
    drawn = opened.evaluate(ranges)
    assert len(drawn) >= 2
    assert all(shown == drawn[0] for shown in drawn)
    assert drawn[0] == [pytest.approx(150, abs=5), pytest.approx(300, abs=5)]
    # One that is drawn only now starts there, too.
    last.scroll_into_view_if_needed()
    last.locator(".nsewdrag").first.wait_for(state="attached")
    assert all(shown == drawn[0] for shown in opened.evaluate(ranges))
    # By keys: the steps are typed, and all of them come back.
    opened.page.get_by_label("From step").fill("100")
    opened.page.get_by_label("To step").fill("200")
    opened.press("Enter")
    until(lambda: all(range == [100, 200] for range in opened.evaluate(ranges)))
    opened.page.get_by_role("button", name="All steps").click()
    until(lambda: all(range == [0, 600] for range in opened.evaluate(ranges)))


def test_plots_name_hostile_stages_as_text(opened):
    plot = opened.page.locator("[data-plot^=curve]").first
    plot.scroll_into_view_if_needed()
    plot.locator(".nsewdrag").first.wait_for(state="attached")
    names = plot.locator(".annotation-text").all_text_contents()
    assert names == ["warm <script>aler…", "main"]


def test_a_slider_leads_through_the_sample_grids(opened, until):
    slider = opened.page.locator("#sample")
    tile = opened.page.locator("[data-sample]")
    seen = []
    slider.focus()
    opened.press("Home")
    for _ in range(5):
        seen.append(
            (opened.page.locator("#sample-step").inner_text(), tile.evaluate("(tile) => tile.style.backgroundImage"))
        )
        opened.press("ArrowRight")
    assert [caption for caption, _ in seen] == [
        f"Step {step} · {place} of 5" for place, step in enumerate((0, 10, 20, 30, 40), 1)
    ]
    assert len({src for _, src in seen}) == 5
    assert seen[-1][1].endswith('00000040-outputs.webp")')


def test_a_metric_is_chosen_for_a_table(opened):
    tables = opened.page.locator("[data-in=by]")
    assert [tables.nth(place).is_visible() for place in range(tables.count())] == [True, False, False]
    opened.page.locator("select[data-group=by]").select_option("lpips")
    assert [tables.nth(place).is_visible() for place in range(tables.count())] == [False, True, False]


def test_hostile_names_are_never_run(opened, evaluations):
    opened.sort("")
    assert opened.page.title() == "tiny · enface report"
    assert opened.keys()[1] == evaluations.HOSTILE_KEY
    opened.page.locator(".card").nth(1).click()
    assert opened.page.locator("img[src=x]").count() == 0
    # Even markup that got into the page could not run: the policy names our scripts alone.
    ran = opened.evaluate(
        """() => new Promise((done) => {
          document.addEventListener("securitypolicyviolation", () => done("refused"), { once: true });
          const script = document.createElement("script");
          script.textContent = "document.title = 'hacked'";
          document.body.append(script);
          setTimeout(() => done(document.title), 2000);
        })"""
    )
    assert ran == "refused"
    assert all("Content Security Policy" in complaint for complaint in opened.complaints)
    opened.complaints.clear()


BRIGHTNESS = "getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).slice(0, 3).map(Number)"


def test_light_and_dark_follow_the_system_and_a_button(browser, written):
    for scheme, other in (("light", "dark"), ("dark", "light")):
        page = browser.new_page(color_scheme=scheme)
        page.goto(written.as_uri())
        is_dark = sum(page.evaluate(BRIGHTNESS)) < 300
        assert is_dark == (scheme == "dark")
        page.get_by_role("button", name=f"Switch to {other} colours").click()
        assert (sum(page.evaluate(BRIGHTNESS)) < 300) == (other == "dark")
        page.reload()
        assert (sum(page.evaluate(BRIGHTNESS)) < 300) == (other == "dark")
        page.close()


CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const mixed = (colours) => {
    canvas.globalCompositeOperation = "source-over";
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => {
    const linear = (one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = rgb.map((one) => linear(one / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratios = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !element.checkVisibility()) continue;
    if (element.closest("script, style, svg, option, [disabled], .skip")) continue;
    const chain = [];
    for (let one = element; one; one = one.parentElement) chain.unshift(getComputedStyle(one).backgroundColor);
    const style = getComputedStyle(element), back = mixed(chain);
    const [one, two] = [light(back), light(mixed([...chain, style.color]))];
    const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    ratios.push([ratio, large, walker.currentNode.textContent.trim().slice(0, 40), element.className]);
  }
  return ratios;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_the_contrast_that_wcag_asks_for(browser, written, scheme):
    page = browser.new_page(viewport=DESK, color_scheme=scheme)
    page.goto(written.as_uri())
    texts = page.evaluate(CONTRAST)
    page.close()
    assert len(texts) > 200
    assert not [item for item in texts if item[0] < (3 if item[1] else 4.5)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_never_scrolls_sideways(browser, written, scheme):
    page = browser.new_page(viewport=PHONE, color_scheme=scheme)
    page.goto(written.as_uri())
    page.locator(".card").first.click()
    assert page.evaluate("document.querySelector('dialog').scrollWidth") <= PHONE["width"]
    page.keyboard.press("Escape")
    page.locator("[data-plot^=curve]").first.scroll_into_view_if_needed()
    page.wait_for_selector(".js-plotly-plot")
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    page.close()


def test_all_that_can_be_clicked_has_a_name_and_shows_its_focus(opened):
    names = opened.evaluate(
        """() => [...document.querySelectorAll("button, select, input, a, [role=region]")]
          .filter((item) => item.checkVisibility())
          .map((item) => item.getAttribute("aria-label") || item.labels?.[0]?.textContent || item.textContent.trim())"""
    )
    assert len(names) > 30
    assert all(names)
    opened.press("Tab")
    assert opened.evaluate("document.activeElement.className") == "skip"
    for _ in range(12):
        opened.press("Tab")
        assert opened.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_without_the_plotting_library_the_rest_works(browser, written, tmp_path, evaluations):
    alone = tmp_path / "index.html"
    alone.write_bytes(written.read_bytes())
    page = browser.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(alone.as_uri())
    page.locator("[data-plot^=curve]").first.scroll_into_view_if_needed()
    page.locator("[data-no-plots]").last.wait_for()
    assert page.locator("#faces .key").count() == len(set(evaluations.numbers(COUNT)["identity"]))
    page.close()
    assert not errors


def test_a_page_that_is_watched_follows_the_run(reader, tmp_path, evaluations, until):
    from playwright.sync_api import Error

    run = evaluations.write_run(tmp_path / "run", [])
    reader.open(write_report(run, refresh=3))

    def moved():
        # It may be loaded anew amid this.
        with suppress(Error):
            if reader.page.locator("details").first.get_attribute("open") is None:
                reader.page.locator("details").first.locator("summary").click()
            return reader.evaluate("() => { scrollTo({ top: 500, behavior: 'instant' }); return scrollY > 400; }")

    until(moved)
    (run / "recipe.yaml").write_text("name: renamed\n")
    write_report(run, refresh=3)
    reader.page.locator("h1", has_text="renamed").wait_for()
    # Not by wait_for_function, whose polling the page's content policy refuses.
    until(lambda: reader.page.evaluate("scrollY > 400"))
    until(lambda: reader.page.locator("details").first.get_attribute("open") is not None)
    # The last page stays as it is.
    write_report(run)
    reader.page.locator("body:not([data-refresh])").wait_for()


def test_a_thousand_images_stay_small_and_quick(reader, tmp_path, evaluations):
    run = evaluations.write_run(tmp_path / "run")
    evaluations.write_evaluation(run / "evaluation", 1000, tile=96, noise=True)
    path = write_report(run)
    size = sum(file.stat().st_size for file in path.parent.rglob("*") if file.is_file())
    assert 6e6 < size < 15e6
    started = time.monotonic()
    reader.open(path)
    reader.page.locator(".card").first.wait_for()
    assert time.monotonic() - started < 60
    seconds = reader.evaluate(
        """() => {
          const sort = document.getElementById("sort"), started = performance.now();
          for (const value of [1, 2, 0]) { sort.value = value; sort.dispatchEvent(new Event("change")); }
          return (performance.now() - started) / 3000;
        }"""
    )
    assert seconds < 0.5
    print(json.dumps({"bytes": size, "seconds to sort": seconds}))


# ------------------------------------------------------------------ a comparison


@pytest.fixture(scope="module")
def compared(tmp_path_factory, evaluations):
    """The page of a comparison of three groups."""
    return write_comparison(evaluations.write_comparison(tmp_path_factory.mktemp("compared") / "dir", groups=3))


def test_compared_faces_are_sorted_by_what_was_lost(reader, compared, evaluations):
    reader.open(compared)
    reader.every()
    shared = evaluations.numbers(70)[:-1]
    order = shared["key"].iloc[np.argsort(shared["ssim"].to_numpy(), kind="stable")].tolist()
    keys = reader.keys()
    assert keys == order[: len(keys)]
    assert reader.page.locator("#faces .card").first.locator(".tile").count() == 5
    reader.page.locator("#order").select_option("best")
    assert reader.keys()[0] == order[-1]


def test_two_outputs_are_laid_over_each_other(reader, compared, evaluations):
    reader.open(compared)
    reader.page.locator(".card").first.click()
    dialog = reader.page.get_by_role("dialog")
    assert dialog.locator("[data-part=left]").inner_text() == "control"
    assert dialog.locator("[data-part=right]").inner_text() == evaluations.HOSTILE
    assert dialog.locator("[data-part=pairs] button").nth(0).get_attribute("aria-pressed") == "true"
    dialog.locator("[data-part=pairs] button").nth(1).click()
    assert dialog.locator("[data-part=right]").inner_text() == "third"
    heads = dialog.locator("table th[scope=col]").all_text_contents()
    assert heads == ["Metric", "Gain", "control", evaluations.HOSTILE, "third"]
    assert reader.page.title().endswith("and third against control")


def test_differences_are_sorted_by_a_column(reader, compared):
    reader.open(compared)
    table = reader.page.locator("table[data-sortable]").first
    heading = table.get_by_role("columnheader", name="Difference")
    names = table.locator("tbody th")
    heading.get_by_role("button").click()
    assert [name.split()[0] for name in names.all_inner_texts()] == ["lpips", "ssim"]
    assert heading.get_attribute("aria-sort") == "ascending"
    heading.get_by_role("button").press("Enter")
    assert [name.split()[0] for name in names.all_inner_texts()] == ["ssim", "lpips"]
    assert heading.get_attribute("aria-sort") == "descending"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_comparison_is_readable_on_a_phone_and_in_both_schemes(browser, compared, scheme):
    page = browser.new_page(viewport=PHONE, color_scheme=scheme)
    page.goto(compared.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    texts = page.evaluate(CONTRAST)
    assert len(texts) > 100
    assert not [item for item in texts if item[0] < (3 if item[1] else 4.5)]
    page.locator(".card").first.click()
    assert page.evaluate("document.querySelector('dialog').scrollWidth") <= PHONE["width"]
    page.close()
