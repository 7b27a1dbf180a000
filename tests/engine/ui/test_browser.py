"""The pages as a person sees them: in Airflow's own, in headless Chromium.

Each test also makes a picture, in build/browser. `make browser-picture` takes one of them into the chapters.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from site_server import Site
from test_pages import Reported, report

sync_api = pytest.importorskip("playwright.sync_api", reason="make browser-test installs it")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="make browser-test installs it")

pytestmark = pytest.mark.browser

CHROMIUM = next(
    (path for path in map(Path, ("/usr/bin/chromium", "/usr/bin/google-chrome")) if path.exists()), None
)
PICTURES = Path(__file__).resolve().parents[3] / "build" / "browser"
THEMES = ("light", "dark")
# What a page may not do, noted in every frame before its first line.
WATCH = """
window.policy = [];
addEventListener("securitypolicyviolation", event => {
  window.policy.push(event.violatedDirective + " " + event.blockedURI);
});
window.alert = window.confirm = window.prompt = () => { window.hacked = 1; };
"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser."""
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=str(CHROMIUM) if CHROMIUM else None, args=["--no-sandbox"]
        )
        yield found
        found.close()


class Window:
    """A window of somebody who is signed in."""

    def __init__(self, page: Any, site: Site) -> None:
        self.page, self.site = page, site
        self.asked: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("dialog", lambda dialog: pytest.fail(f"a dialog: {dialog.message}"))

    def tab(self, dag_id: str, task_id: str, *more: str) -> Any:
        """The frame of a task instance's tab, in Airflow's page."""
        run = quote(self.site.run_of(dag_id), safe="")
        path = "/".join(["dags", dag_id, "runs", run, "tasks", task_id, *more, "plugin", "payloads"])
        return self.open(path)

    def open(self, path: str) -> Any:
        """A page of Airflow's that has one of ours in a frame: that frame."""
        self.page.goto(f"{self.site.url}/{path}")
        self.page.locator("iframe").wait_for(timeout=120_000)
        frame = self.page.locator("iframe").element_handle().content_frame()
        frame.wait_for_selector("h1", timeout=120_000)
        return frame

    def picture(self, name: str) -> Path:
        """Keep what is seen."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        path = PICTURES / f"{name}.png"
        self.page.wait_for_timeout(300)
        self.page.screenshot(path=path)
        return path

    def nothing_ran(self, frame: Any) -> None:
        """No script but ours, no request to elsewhere, no dialog."""
        for place in (self.page, frame):
            assert place.evaluate("window.hacked") is None
        assert frame.evaluate("window.policy") == []
        foreign = [url for url in self.asked if not url.startswith((self.site.url, "data:", "blob:"))]
        assert [url for url in foreign if url != f"{self.site.url.removesuffix('/airflow')}/"] == []


@pytest.fixture
def window(chromium: Any, site: Site) -> Iterator[Callable[..., Window]]:
    """Opens windows: of a user, in a theme, of a width."""
    contexts = []

    def opened(user: str = "admin", theme: str = "light", width: int = 1360) -> Window:
        context = chromium.new_context(viewport={"width": width, "height": 860}, locale="en-GB")
        contexts.append(context)
        context.add_cookies([{"name": "_token", "value": site.token(user), "url": site.url}])
        context.add_init_script(f"localStorage.setItem('theme', '{theme}')")
        context.add_init_script(WATCH)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        return Window(context.new_page(), site)

    yield opened
    for context in contexts:
        context.close()


def violations(frame: Any) -> list[str]:
    """What axe finds wrong: WCAG 2.2, levels A and AA, and its best practices."""
    script = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    frame.evaluate(script)
    found = frame.evaluate("axe.run()")["violations"]
    return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found]


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(
    ("task", "seen"),
    [
        ("pandas_frame", "td >> text=100009"),
        ("image", "img.small"),
        ("array", "img.small"),
        ("signal", "svg polyline"),
        ("records", "td >> text='/item/0'"),
        ("nested", "pre >> text=1234.50"),
        ("report_file", "pre >> text=DE,120"),
        ("many_keys", ".key >> text=part 4"),
        ("short_lived", ".mark >> text=expired"),
        ("plain", "pre >> text=9876.5"),
    ],
)
def test_each_kind_is_seen_by_day_and_by_night(
    window: Callable[..., Window], task: str, seen: str, theme: str
) -> None:
    opened = window(theme=theme)
    frame = opened.tab("kinds", task)
    frame.locator(seen).first.wait_for()
    if task in ("image", "array"):
        assert frame.evaluate("document.querySelector('img').naturalWidth") > 30
    assert frame.evaluate("document.documentElement.dataset.theme") == theme
    dark = (
        sum(map(int, frame.evaluate("getComputedStyle(document.body).color").strip("rgb()").split(","))) > 400
    )
    assert dark == (theme == "dark")
    ours, theirs = (
        f"getComputedStyle(document.{each}).backgroundColor" for each in ("body", "documentElement")
    )
    assert frame.evaluate(ours) == opened.page.evaluate(theirs), "as Airflow's own"
    opened.picture(f"{task}-{theme}")
    assert violations(frame) == []
    opened.nothing_ran(frame)


def test_the_picture_of_the_chapters(window: Callable[..., Window]) -> None:
    opened = window()
    opened.page.set_viewport_size({"width": 1360, "height": 790})  # without an address of this machine
    opened.tab("kinds", "pandas_frame").locator("td >> text=100009").wait_for()
    assert 0 < opened.picture("picture").stat().st_size < 250_000


def test_the_theme_is_followed_while_somebody_switches_it(window: Callable[..., Window]) -> None:
    opened = window()
    frame = opened.tab("kinds", "plain")
    opened.page.evaluate("document.documentElement.classList.replace('light', 'dark')")
    frame.wait_for_function("document.documentElement.dataset.theme === 'dark'")


def test_two_clicks_from_a_run(window: Callable[..., Window], site: Site) -> None:
    page = window().page
    page.goto(f"{site.url}/dags/kinds/runs/{quote(site.run_of('kinds'), safe='')}")
    page.locator("a[href*='/runs/'][href$='/tasks/pandas_frame']").first.click()
    page.get_by_role("link", name="Payloads").click()
    page.frame_locator("iframe").locator("td >> text=100009").wait_for()


def test_one_of_a_mapped_task(window: Callable[..., Window]) -> None:
    frame = window().tab("orders", "each", "mapped", "1")
    frame.wait_for_selector("text=map index 1")
    assert frame.locator(".xcom").count() == 1


@pytest.mark.parametrize("task", ["names", "values"])
def test_no_name_and_no_cell_runs(window: Callable[..., Window], task: str) -> None:
    opened = window()
    frame = opened.tab("hostile", task)
    frame.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    frame.evaluate(
        "document.querySelectorAll('*').forEach(each => each.dispatchEvent(new Event('mouseover')))"
    )
    opened.page.wait_for_timeout(500)
    said = frame.evaluate("document.body.innerText")
    for text in (
        "<script>window.hacked=1;parent.hacked=1</script>",
        "<base href=//example.com>",
        "{{ 7*7 }}",
    ):
        assert text in said
    ours = {"STYLE": 0, "SCRIPT": 1, "IFRAME": 0, "BASE": 0, "OBJECT": 0, "EMBED": 0}
    for name, most in ours.items():
        assert frame.evaluate(f"document.body.getElementsByTagName('{name}').length") <= most, name
    assert frame.evaluate("document.querySelectorAll('[onload],[onerror],[onmouseover]').length") == 0
    assert "www.example.com" not in " ".join(frame.evaluate("[...document.links].map(each => each.href)"))
    opened.picture(f"hostile-{task}")
    opened.nothing_ran(frame)


def test_the_policy_holds_even_if_something_got_through(window: Callable[..., Window]) -> None:
    """What nothing of ours lets through is put into the page by hand."""
    opened = window()
    frame = opened.tab("kinds", "plain")
    frame.evaluate(
        """() => {
        const script = document.createElement("script");
        script.textContent = "window.hacked = 1";
        document.body.append(script);
        for (const html of [
          "<img src=x onerror='window.hacked = 1'>", "<p style='color:red'>", "<img src='http://127.0.0.1:9/seen'>",
        ]) document.body.insertAdjacentHTML("beforeend", html);
    }"""
    )
    opened.page.wait_for_timeout(500)
    assert frame.evaluate("window.hacked") is None
    stopped = " ".join(frame.evaluate("window.policy"))
    for directive in ("script-src", "img-src", "style-src"):
        assert directive in stopped


def test_a_thousand_keys_by_keyboard(window: Callable[..., Window]) -> None:
    opened = window()
    frame = opened.tab("numerous", "thousand")
    opened.picture("thousand")
    assert frame.locator(".xcom").count() == 25 and violations(frame) == []
    frame.get_by_role("textbox", name="Part of a key").focus()
    opened.page.keyboard.type("key-0777")
    opened.page.keyboard.press("Enter")
    opened.page.frame_locator("iframe").locator("text=1 XCom with").wait_for()
    summary = opened.page.frame_locator("iframe").locator("summary")
    summary.focus()
    opened.page.keyboard.press("Enter")
    assert summary.evaluate("each => each.parentElement.open") is False


def test_an_address_can_be_copied(window: Callable[..., Window]) -> None:
    opened = window()
    frame = opened.tab("kinds", "pandas_frame")
    frame.get_by_role("button", name="Copy where it is").click()
    frame.wait_for_selector("#said:has-text('where it is copied')", state="attached")
    copied = opened.page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("file://") and copied.endswith(".arrow")


@pytest.mark.parametrize("theme", THEMES)
def test_what_the_store_keeps(window: Callable[..., Window], site: Site, theme: str) -> None:
    found: dict[str, Any] = report("kinds", "orders", "hostile", "numerous")
    for number, dag in enumerate(found["dags"]):
        days = [abs((day * (7 + number) * 31 % 23) - 4) * 10**6 * (number + 1) for day in range(30)]
        run = site.run_of(dag)
        one = {**found["dags"][dag]["largest"][0], "run": run, "index": -1, "bytes": max(days)}
        one["task"] = {"kinds": "pandas_frame", "orders": "each", "hostile": "names"}.get(dag, "thousand")
        soon = {**one, "goes": found["dags"][dag]["soon"][0]["goes"]}
        of = {
            "days": days,
            "bytes": sum(days),
            "payloads": 30 * (number + 3),
            "largest": [one],
            "soon": [soon],
        }
        found["dags"][dag] = {**found["dags"][dag], **of}
    opened = window(theme=theme)
    with Reported(site, json.dumps(found)):
        frame = opened.open("plugin/stored-xcoms")
        frame.locator("svg.chart rect").first.wait_for()
        opened.picture(f"stored-{theme}")
        assert violations(frame) == []
        opened.nothing_ran(frame)
        frame.get_by_role("link", name="kinds.pandas_frame").first.click()
        opened.page.wait_for_url("**/tasks/pandas_frame/plugin/payloads")
        opened.page.frame_locator("iframe").locator("td >> text=100009").wait_for()


def test_who_may_not_is_told_so(window: Callable[..., Window], site: Site, chromium: Any) -> None:
    query = site.task("hostile", "names")
    page = window("guest").page
    page.goto(f"{site.url}/exclusive-xcom/task?dag_id=hostile&run_id=x&task_id=names")
    assert "This is not for you" in page.inner_text("main") and query["dag_id"] == "hostile"
    with chromium.new_context() as nobody:
        page = nobody.new_page()
        page.goto(f"{site.url}/exclusive-xcom/")
        assert "Nobody is signed in" in page.inner_text("main")


def test_it_fits_a_narrow_window(window: Callable[..., Window], site: Site) -> None:
    opened = window(width=420)
    page = opened.page
    query = "&".join(f"{name}={quote(value)}" for name, value in site.task("kinds", "pandas_frame").items())
    page.goto(f"{site.url}/exclusive-xcom/task?{query}")
    page.wait_for_selector("td")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    opened.picture("narrow")
