"""The dashboard shows what `/-/stats` says and nothing else, says when it cannot, and runs nothing of strangers."""

import math
import os
import re
import urllib.request
from collections import Counter

import PIL.Image
import pytest

import servers
from conftest import direct_side, fill_lake
from counting import Counts, metrics

from . import formats, workload
from .browser import CHROMIUM, Dashboard, chromium, host
from .distance import Distance

PICTURES = servers.ROOT / "docs/images"
PICTURE_BYTES = 200_000
SECONDS_OF_WORK = 170
PHONE = {"width": 360, "height": 740}
TOKEN = "a-token+with/odd=characters~"

# Small tiers, so that there is something to evict.
CACHE = """\
  memory: 16MiB
  dir: "{directory}/cache"
  disk: 160MiB
  min_free: 0
prices: {{get_requests: 0.0004, other_requests: 0.005, transfer: 0.09}}
"""


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM:
        pytest.skip("NOT CHECKED: there is no Chromium; tests/setup-debian.sh installs it")
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def direct(tmp_path_factory):
    """An origin of its own: what strangers write there is not for the other tests."""
    with servers.seaweedfs(tmp_path_factory.mktemp("origin")) as served:
        side = direct_side(served)
        side.boto3().create_bucket(Bucket=side.bucket)
        side.boto3().create_bucket(Bucket="work-b")
        yield side


@pytest.fixture(scope="module")
def lake(direct, trades):
    objects = fill_lake(direct, trades)
    workload.fill(direct, objects)
    return objects


@pytest.fixture(scope="module")
def distance(direct):
    way = Distance(direct.endpoint, 0.02)
    yield way
    way.close()


@pytest.fixture(scope="module")
def busy(direct, lake, distance, tmp_path_factory):
    """A proxy through which everything has gone once, and which has come to rest."""
    with servers.s3proxy(tmp_path_factory.mktemp("busy"), distance.url, cache=CACHE) as served:
        workload.once(served)
        Counts(workload.sides(served)[0], direct).settled()
        yield served


@pytest.fixture
def start(direct, tmp_path):
    """Starts a proxy of a test's own."""
    return lambda **options: servers.s3proxy(tmp_path, direct.endpoint, **options)


# ---- numbers


def lookup(documents, path):
    source, _, rest = path.rpartition(":")
    value = documents[source or "stats"]
    for name in rest.split("."):
        if value is None:
            return None
        value = value[int(name)] if isinstance(value, list) else value.get(name)
    return value


def evaluate(documents, path):
    if " / " not in path:
        return lookup(documents, path)
    part, whole = (lookup(documents, name) for name in path.split(" / "))
    return part / whole if whole else None


class Samples:
    """What samples say, reckoned from docs/dashboard.md."""

    def __init__(self, documents, step):
        self.fields, self.samples = documents["fields"], documents["samples"][step]
        self.width = {1: 5, 60: 300}[step]

    def value(self, sample, names):
        values = [sample[self.fields.index(name)] for name in names.split("+")]
        return None if None in values else sum(values)

    def between(self, first, last, kind, part, whole=None):
        grown = [self.value(last, names) - self.value(first, names) for names in (part, whole) if names]
        by = last[0] - first[0] if kind == "rate" else grown[1]
        return grown[0] / by if by > 0 else None

    def overall(self, words):
        return self.between(self.samples[0], self.samples[-1], *words)

    def latest(self, words):
        """The last value of a line: of the last bin in which there is one."""
        if words[0] == "level":
            values = [self.value(sample, words[1]) for sample in self.samples]
        else:
            ends = list({math.floor(sample[0] / self.width): sample for sample in self.samples}.values())
            ends = [self.samples[0]] * (ends[0] != self.samples[0]) + ends
            # A bin of which less than half has passed belongs to the one before.
            if len(ends) > 2 and ends[-1][0] - ends[-2][0] < self.width / 2:
                del ends[-2]
            values = [self.between(first, last, *words) for first, last in zip(ends, ends[1:])]
        return next((value for value in reversed(values) if value is not None), None)


def assert_numbers(dashboard, step=1):
    """Every number that is shown is the one that was answered."""
    documents = dashboard.documents()
    stats = documents["stats"]
    context = stats["time"], stats["saved"]["currency"]
    samples = Samples(documents, step)
    compared = Counter()

    def compare(element, value, kind=None):
        expected = formats.shown(element["format"], value, *context, element.get("unit"))
        assert element["text"] == expected, element
        compared[kind] += 1
        compared["with a number"] += bool(re.search("[1-9]", expected))

    for element in dashboard.shown("[data-stat]"):
        value = evaluate(documents, element["stat"])
        if value is None and "missing" in element:
            value = int(element["missing"]) if element["format"] == "count" else element["missing"]
        compare(element, value, "stat")
    for element in dashboard.shown("[data-past]"):
        compare(element, samples.overall(element["past"].split(" ")), "past")
    for figure, series in dashboard.page.evaluate(
        """Array.from(document.querySelectorAll("[data-plot]"), (figure) => [{...figure.dataset},
             Array.from(figure.querySelectorAll("[data-series]"),
               (e) => ({series: e.dataset.series, text: e.querySelector("output").textContent}))])"""
    ):
        for line in series:
            compare(figure | line, samples.latest(line["series"].split(" ")), "series")
    return compared


def test_every_number_is_that_of_the_answers(browser, busy):
    with Dashboard(browser, busy.admin) as dashboard:
        dashboard.wait_for_figures(more=2)
        dashboard.pause()
        compared = assert_numbers(dashboard)
        assert compared["stat"] > 120 and compared["past"] == 6 and compared["series"] == 23, compared
        assert compared["with a number"] > 90, compared
        # Each list shows what there is.
        documents = dashboard.documents()
        for name in ("origins", "clients", "errors.by_code", "errors.by_status", "requests.reads_by_result", "top:objects"):
            shown = dashboard.shown(f"[data-each='{name}'] [data-stat]")
            assert len({element["stat"].split(".")[name.count(".") + 1] for element in shown}) == len(lookup(documents, name))
        assert dashboard.complaints == []
        assert dashboard.hosts == {host(busy)}
        # The other range, which has few samples.
        dashboard.page.get_by_role("button", name="Paused").click()
        dashboard.page.get_by_role("button", name="24 h").click()
        dashboard.wait_for_figures(more=1)
        dashboard.pause()
        assert_numbers(dashboard, step=60)
        assert dashboard.complaints == []


def table():
    """The rows of docs/dashboard.md: field and metrics."""
    text = (servers.ROOT / "docs/dashboard.md").read_text()
    rows = text.split("| shown | from | metrics |")[1].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")][1:] for row in rows if row.startswith("|")]


def test_numbers_are_metrics(browser, busy):
    """Where the table says that a number is a metric, it is that metric's value."""
    with Dashboard(browser, busy.admin) as dashboard:
        dashboard.wait_for_figures()
        dashboard.pause()
        documents = dashboard.documents()
    exposed = list(metrics(busy.admin))
    # What moves by itself, or by being asked.
    moving = {"process_cpu_seconds_total", "process_open_fds", "process_resident_memory_bytes", "s3proxy_connections",
              "process_threads", "process_start_time_seconds"}  # fmt: skip
    compared, moved = 0, 0
    for field, cell in table():
        field = field.strip("`")
        whole = re.fullmatch(r"`(\w+)(?:\{(\w+)=\"(.*)\"\})?`", cell)
        if not whole or field.split(" ")[0] in ("rate", "share", "level") or whole[1] in moving:
            continue
        name, label, wanted = whole.groups()
        for path, key in instances(documents, field):
            expected = sum(
                value
                for sample, labels, value in exposed
                if sample == name and (not label or labels[label] == (key if wanted == "*" else wanted))
            )
            found = lookup(documents, path) or 0
            # An origin is probed meanwhile.
            slack = 3 if name == "s3proxy_upstream_requests_total" else 1e-6
            assert abs(found - expected) <= slack, f"{path} is {found}, {cell} {expected}"
            compared += 1
            moved += expected > 0
    assert compared > 50 and moved > 30, (compared, moved)


def instances(documents, field):
    """A field for each row, with what the row is called."""
    if "*" not in field:
        return [(field, None)]
    rows = lookup(documents, field.split(".*")[0])
    pairs = enumerate(rows) if isinstance(rows, list) else rows.items()
    return [(field.replace("*", str(key)), row["name"] if isinstance(row, dict) else key) for key, row in pairs]


# ---- strangers


def test_names_of_strangers_are_text(browser, busy):
    with Dashboard(browser, busy.admin) as dashboard:
        dashboard.wait_for_figures()
        page = dashboard.page
        # The hostile ones are not the most read ones by requests.
        names = set()
        for by in ("Misses", "Requests", "Bytes"):
            page.get_by_role("button", name=by, exact=True).click()
            dashboard.wait_for_figures()
            names |= {element["text"] for element in dashboard.shown("#top [data-format=object]")}
        shown = [formats.name(f"lake/{key}") for key in workload.HOSTILE_KEYS]
        assert set(shown) <= names, names
        assert "turned/\\u{202e}gnp.exe\\u{2066} and \\u{7}bell" in "".join(shown)
        # Nothing of them became an element, and nothing ran or was asked for.
        assert page.evaluate("document.querySelectorAll('img, #figures script, iframe').length") == 0
        assert page.title() == "s3proxy"
        # A long name is whole on demand.
        page.get_by_role("button", name="Requests", exact=True).click()
        dashboard.wait_for_figures()
        long = page.locator("#top button.name").first
        cut = long.text_content()
        assert "…" in cut
        long.click()
        assert "…" not in long.text_content() and len(long.text_content()) > len(cut)
        assert long.get_attribute("aria-expanded") == "true"
        assert dashboard.complaints == []
        assert dashboard.hosts == {host(busy)}


def test_the_policy_holds(browser, busy):
    """What a name would have to do to run is not allowed to the page itself."""
    with Dashboard(browser, busy.admin) as dashboard:
        dashboard.wait_for_figures()
        attempts = {
            "markup": "document.body.innerHTML = '<b>x</b>'",
            "script": "const s = document.createElement('script'); s.textContent = 'document.title = 1'; document.body.append(s)",
            "image": "const i = new Image(); i.src = 'http://attacker.example/x.png'; document.body.append(i)",
            "fetch": "fetch('http://attacker.example/')",
        }
        for name, attempt in attempts.items():
            before = len(dashboard.complaints)
            dashboard.page.evaluate(f"() => {{ try {{ {attempt} }} catch (error) {{ console.error(String(error)) }} }}")
            dashboard.page.wait_for_timeout(100)
            assert len(dashboard.complaints) > before, f"{name} is allowed"
        assert dashboard.page.title() == "s3proxy"
        assert dashboard.page.locator("h1").count() == 1


# ---- places


def test_browsers_find_it_and_others_the_index(browser, busy):
    with Dashboard(browser, busy.admin, path="/") as dashboard:
        dashboard.wait_for_figures()
        assert dashboard.opened.headers["content-type"].startswith("text/html")
        assert "frame-ancestors 'none'" in dashboard.opened.headers["content-security-policy"]
    with urllib.request.urlopen(f"{busy.admin}/", timeout=5) as index:
        assert b"/-/dashboard" in index.read() and index.headers.get_content_type() == "text/plain"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_is_wide_enough(browser, busy, theme):
    with Dashboard(browser, busy.admin, **PHONE, theme=theme) as dashboard:
        dashboard.wait_for_figures()
        over = dashboard.page.evaluate(
            """() => Array.from(document.querySelectorAll("body *:not(.hidden, .skip)"))
                 .filter((e) => e.getBoundingClientRect().right > innerWidth + 0.5 && !e.closest(".scroll table, svg"))
                 .map((e) => `${e.tagName}.${e.className}: ${e.textContent.slice(0, 60)}`)"""
        )
        assert over == []
        assert dashboard.page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        # Text is not cut off in its own box either.
        cut = dashboard.page.evaluate(
            """() => Array.from(document.querySelectorAll(".number, .beside, dd, .legend li, button"))
                 .filter((e) => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline")
                 .map((e) => e.textContent)"""
        )
        assert cut == []
        assert dashboard.complaints == []


# ---- what can be done with it


def test_plots_are_read_by_pointer_and_by_keyboard(browser, busy):
    with Dashboard(browser, busy.admin) as dashboard:
        dashboard.wait_for_figures(more=2)
        dashboard.pause()
        page = dashboard.page
        fields = page.locator(".field")
        assert fields.count() == 8
        for index in range(8):
            assert page.locator(".at").nth(index).text_content() == "latest"
        fields.first.hover(position={"x": 300, "y": 60})
        moments = {text for text in page.locator(".at").all_text_contents()}
        assert len(moments) <= 2 and all(re.fullmatch(r"\d\d:\d\d:\d\d", text) for text in moments), moments
        page.mouse.move(5, 5)
        assert page.locator(".at").first.text_content() == "latest"
        last = fields.first.get_attribute("aria-valuetext")
        fields.first.focus()
        page.keyboard.press("Home")
        first = fields.first.get_attribute("aria-valuetext")
        assert first != last and fields.first.get_attribute("aria-valuenow") == "0"
        page.keyboard.press("ArrowRight")
        assert fields.first.get_attribute("aria-valuenow") == "1"
        assert re.match(r"\d\d:\d\d:\d\d: Reads (\S+ %|–), Bytes", fields.first.get_attribute("aria-valuetext"))
        page.keyboard.press("Escape")
        assert fields.first.get_attribute("aria-valuetext") == last
        for index in range(8):
            label = fields.nth(index).get_attribute("aria-describedby")
            assert "latest" in page.locator(f"#{label}").text_content()


def test_pausing_asks_nothing(browser, busy):
    with Dashboard(browser, busy.admin) as dashboard:
        dashboard.pause()
        asked, time = len(dashboard.requests), dashboard.time
        dashboard.page.wait_for_timeout(5000)
        assert (len(dashboard.requests), dashboard.time) == (asked, time)
        dashboard.page.get_by_role("button", name="Paused").click()
        dashboard.wait_for_figures()


def test_light_and_dark(browser, busy):
    background = "getComputedStyle(document.body).backgroundColor"
    with Dashboard(browser, busy.admin, theme="dark") as dashboard:
        dashboard.wait_for_figures()
        seen = [dashboard.page.evaluate(background)]
        for word in ("auto", "light", "dark"):
            button = dashboard.page.get_by_role("button", name=f"Theme: {word}")
            button.click()
            seen.append(dashboard.page.evaluate(background))
        auto, light, dark, again = seen
        assert auto == dark == again != light
        dashboard.page.get_by_role("button", name="Theme: auto").click()
        dashboard.page.reload()
        dashboard.wait_for_figures()
        assert dashboard.page.evaluate(background) == light


CONTRAST = """() => {
  const canvas = Object.assign(document.createElement("canvas"), {width: 1, height: 1}).getContext("2d", {willReadFrequently: true});
  const rgb = (color) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); return canvas.getImageData(0, 0, 1, 1).data; };
  const light = (color) => { const [r, g, b] = Array.from(rgb(color).slice(0, 3), (c) => c / 255).map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (rgb(c)[3]) return c; } return "white"; };
  const found = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = Array.from(e.childNodes).some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || e.closest(".hidden, .skip, noscript, [hidden], script, template")) continue;
    const style = getComputedStyle(e);
    const [a, b] = [light(e.closest("svg") ? style.fill : style.color), light(behind(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push(`${ratio.toFixed(2)} ${e.tagName}.${e.getAttribute("class")} ${e.textContent.slice(0, 30)}`);
  }
  return found;
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_is_readable_and_everything_has_a_name(browser, busy, theme):
    """Contrast of 4.5 to 1 (WCAG AA), and a name for whatever can be reached."""
    with Dashboard(browser, busy.admin, theme=theme) as dashboard:
        dashboard.wait_for_figures()
        assert dashboard.page.evaluate(CONTRAST) == []
        nameless = dashboard.page.evaluate(
            """() => Array.from(document.querySelectorAll("button, input, [tabindex], section, [role=group]"))
                 .filter((e) => !e.textContent.trim() && !e.getAttribute("aria-label") && !e.labels?.length)
                 .map((e) => e.outerHTML.slice(0, 80))"""
        )
        assert nameless == []
        assert dashboard.page.evaluate("document.documentElement.lang") == "en"


# ---- when something is missing


def test_a_token_is_asked_for(browser, start):
    with start(admin_token=TOKEN) as served, Dashboard(browser, served.admin) as dashboard:
        page = dashboard.page
        field = page.get_by_label("Token")
        field.wait_for()
        assert not page.locator("#figures").is_visible()
        assert page.locator("#health-word").text_content() == "Locked"
        for wrong in ("wrong", "ä🦆"):
            field.fill(wrong)
            page.get_by_role("button", name="Show the figures").click()
            page.get_by_text("That is not the token.").wait_for()
        field.fill(TOKEN)
        field.press("Enter")
        dashboard.wait_for_figures()
        assert page.locator("#figures").is_visible() and not field.is_visible()
        # In the tab, and nowhere else.
        page.reload()
        dashboard.wait_for_figures()
        assert TOKEN not in page.content() and TOKEN not in str(dashboard.requests)
        assert page.evaluate("JSON.stringify(localStorage)").find(TOKEN) < 0 and dashboard.context.cookies() == []
        with Dashboard(browser, served.admin) as other:
            other.page.get_by_label("Token").wait_for()
        page.get_by_role("button", name="Forget token").click()
        field.wait_for()
        complaints = [text for text in dashboard.complaints if "401" not in text]
        assert complaints == []


def test_a_proxy_that_is_gone_leaves_its_last_figures(browser, start):
    with start() as served:
        dashboard = Dashboard(browser, served.admin)
        dashboard.wait_for_figures()
        version = dashboard.page.locator("[data-stat=version]").text_content()
    with dashboard:
        word = dashboard.page.locator("#health-word")
        dashboard.wait("() => document.body.classList.contains('old')")
        assert re.fullmatch(r"Not reachable since \d\d:\d\d:\d\d", word.text_content())
        assert re.match(r"The figures are those of \d\d:\d\d:\d\d\.", dashboard.page.locator("#health-why").text_content())
        assert dashboard.page.locator("[data-stat=version]").text_content() == version != ""
        assert float(dashboard.page.evaluate("getComputedStyle(document.querySelector('#figures')).opacity")) < 1
        assert "Not reachable" in dashboard.page.title()
        since = word.text_content()
        dashboard.page.wait_for_timeout(4500)
        assert word.text_content() == since


def test_another_process_begins_again(browser, start, tmp_path, direct, lake):
    """After an upgrade or a restart counters begin at nothing; no rate becomes negative by that."""
    with start() as first:
        dashboard = Dashboard(browser, first.admin)
        side = workload.sides(first)[0]
        for _ in range(20):
            side.boto3().get_object(Bucket="lake", Key="small.txt")
        dashboard.wait_for_figures(more=2)
    with dashboard:
        dashboard.wait("() => document.body.classList.contains('old')")
        # The same address, the next process.
        config = (tmp_path / "s3proxy.yaml").read_text()
        binary = servers.ROOT / os.environ.get("S3PROXY_BIN", "target/debug/s3proxy")
        command = [binary, "--conf", tmp_path / "s3proxy.yaml"]
        assert first.admin.removeprefix("http://") in config
        with servers.process(command, tmp_path / "again.log", dict(os.environ)) as running:
            running.wait_until(lambda: servers.http_status(f"{first.admin}/readyz") == 200)
            dashboard.wait("() => !document.body.classList.contains('old')")
            dashboard.wait_for_figures(more=2)
            text = dashboard.page.locator("main").inner_text()
            assert not re.search(r"[-−]\d", text), re.findall(r".*[-−]\d.*", text)
            assert dashboard.page.locator("[data-stat='requests.total']").text_content() == "0"


def test_nothing_yet_is_said_so(browser, start):
    with start(cache=servers.CACHE_OFF) as served, Dashboard(browser, served.admin) as dashboard:
        dashboard.wait_for_figures()
        text = dashboard.page.locator("main").inner_text()
        assert not re.search("NaN|undefined|null|Infinity|object Object", text)
        assert "The cache is off." in text and "Nothing was read yet." in text and "No client was verified yet." in text
        assert dashboard.page.locator("[data-past='share hits reads']").text_content() == formats.NOTHING
        dashboard.pause()
        assert_numbers(dashboard)
        assert dashboard.complaints == []


def test_an_origin_that_is_down_is_told(browser, direct, tmp_path):
    way = Distance(direct.endpoint, 0)
    with servers.s3proxy(tmp_path, way.url) as served, Dashboard(browser, served.admin) as dashboard:
        dashboard.wait_for_figures()
        word = dashboard.page.locator("#health-word")
        assert word.text_content() == "Healthy"
        with way.cut():
            dashboard.wait("() => document.querySelector('#health-word').textContent === 'Not ready'")
            assert "Origin main cannot be reached" in dashboard.page.locator("#health-why").text_content()
            assert re.search(r"\d+ s ago", dashboard.page.locator("[data-probe]").text_content())
            assert "bad" in dashboard.page.locator("[data-probe]").get_attribute("class")
        dashboard.wait("() => document.querySelector('#health-word').textContent === 'Healthy'")
        # The browser itself notes an answer with 503.
        assert [text for text in dashboard.complaints if "503" not in text] == []
    way.close()


# ---- pictures


def with_few_colours(picture):
    """The same with a palette: a page has few colours, and those of its surfaces stay as they are."""
    found = sorted(picture.getcolors(1 << 24), reverse=True)[:200]
    palette = PIL.Image.new("P", (1, 1))
    palette.putpalette([part for _, colour in found for part in colour])
    return picture.quantize(palette=palette, dither=PIL.Image.Dither.NONE)


@pytest.mark.skipif(os.environ.get("UPDATE_SCREENSHOTS") != "1", reason="UPDATE_SCREENSHOTS=1 makes the pictures")
@pytest.mark.timeout(SECONDS_OF_WORK + 200)
def test_pictures(browser, direct, lake, distance, tmp_path):
    PICTURES.mkdir(exist_ok=True)
    with (
        servers.s3proxy(tmp_path, distance.url, cache=CACHE) as served,
        workload.minutes(served, distance, SECONDS_OF_WORK) as wait,
    ):
        wait()
        views = {"light": {"theme": "light"}, "dark": {"theme": "dark"}, "phone": PHONE | {"height": 1500}}
        for name, view in views.items():
            with Dashboard(browser, served.admin, **view) as dashboard:
                dashboard.wait_for_figures(more=1)
                picture = {"path": tmp_path / f"{name}.png", "full_page": name == "dark"}
                if name == "light":
                    # As far as the plots: it is what README.md shows.
                    end = dashboard.page.locator(".plots").bounding_box()
                    height = end["y"] + end["height"] + 12
                    picture |= {"full_page": True, "clip": {"x": 0, "y": 0, "width": 1280, "height": height}}
                dashboard.page.screenshot(**picture)
            path = PICTURES / f"dashboard-{name}.png"
            with_few_colours(PIL.Image.open(tmp_path / f"{name}.png").convert("RGB")).save(path, optimize=True)
            assert path.stat().st_size < PICTURE_BYTES, path
