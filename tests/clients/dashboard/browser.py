"""A browser, and what it was told: the system's Chromium, driven by Playwright, without its own download."""

import contextlib
import os
import shutil
import urllib.parse

import playwright.sync_api

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

# Where each kind of document comes from.
SOURCES = {"/-/stats": "stats", "/-/top": "top", "/readyz": "ready", "/-/config": "config"}


@contextlib.contextmanager
def chromium():
    with playwright.sync_api.sync_playwright() as engine:
        # Chromium refuses to put root into its sandbox.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        running = engine.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield running
        running.close()


class Dashboard:
    """The page of one proxy, open in a browser of its own, and everything that it asked and complained of."""

    def __init__(self, chromium, admin, path="/-/dashboard", width=1280, height=860, theme="light"):
        self.admin = admin
        self.context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=theme, timezone_id="UTC", locale="de-DE"
        )
        self.page = self.context.new_page()
        self.complaints, self.requests, self.answers = [], [], []
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(f"exception: {error}"))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("response", lambda answer: self.answers.append(answer))
        self.page.add_init_script(
            "addEventListener('securitypolicyviolation', (event) => console.error('policy', event.violatedDirective))"
        )
        self.opened = self.page.goto(f"{admin}{path}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    def wait(self, condition, argument=None):
        self.page.wait_for_function(condition, arg=argument, timeout=30_000)

    def wait_for_figures(self, more=0):
        """Until figures are shown, and then until others are, so many times."""
        for _ in range(more + 1):
            before = self.time
            self.wait("(before) => document.body.dataset.time && document.body.dataset.time !== before", before)

    def pause(self):
        """Right after figures came, so that none are under way."""
        self.wait_for_figures()
        self.page.get_by_role("button", name="Pause").click()

    @property
    def time(self):
        return self.page.evaluate("document.body.dataset.time ?? null")

    @property
    def hosts(self):
        return {urllib.parse.urlsplit(url).netloc for url in self.requests if not url.startswith("data:")}

    def documents(self):
        """What the page was answered last, by source, and all samples that it has got since it was opened."""
        found, samples = {}, {}
        for answer in self.answers:
            path = urllib.parse.urlsplit(answer.url).path
            if path not in SOURCES or answer.status == 401:
                continue
            document = answer.json()
            found[SOURCES[path]] = document
            if path == "/-/stats":
                past = document["history"]
                samples.setdefault(past["step_seconds"], {}).update({sample[0]: sample for sample in past["samples"]})
                found["fields"] = past["fields"]
        assert str(found["stats"]["time"]) == self.time, "the last answer is not the one that is shown"
        found["samples"] = {step: [all[time] for time in sorted(all)] for step, all in samples.items()}
        return found

    def shown(self, selector):
        """Text and attributes of elements."""
        return self.page.evaluate(
            "(selector) => Array.from(document.querySelectorAll(selector), (e) => ({text: e.textContent, ...e.dataset}))", selector
        )


def host(served):
    return served.admin.removeprefix("http://")
