"""What the DAGs hand over whose payloads the tests look at. Written into the small project's dags/."""

KINDS = r'''
"""One task for each kind of value."""
import datetime as dt
import os
from decimal import Decimal
from pathlib import Path

from airflow.sdk import dag, get_current_context, task
from exclusive_xcom import keep, lazy


@dag(schedule=None, tags=["template-example"])
def kinds():
    @task
    def pandas_frame():
        import numpy as np
        import pandas as pd

        number = np.arange(5000)
        return pd.DataFrame(
            {
                "order_id": 100_000 + number,
                "placed_at": pd.Timestamp("2026-11-01") + pd.to_timedelta(number * 7, "min"),
                "country": np.array(["DE", "FR", "PL", "SE"])[number % 4],
                "amount": np.where(number % 13, np.round(np.sqrt(number + 1) * 9.99, 2), np.nan),
                "paid": number % 3 > 0,
            }
        )

    @task
    def polars_frame():
        import polars as pl

        return pl.DataFrame({"name": ["ada", None, "grace"], "n": [1, 2, None]})

    @task
    def arrow_table():
        import pyarrow as pa

        return pa.table({"name": ["ada", "grace"], "n": [1, 2]})

    @task
    def array():
        import numpy as np

        y, x = np.mgrid[-3:3:240j, -4:4:320j]
        return np.sin(x * y) + np.cos(x)

    @task
    def signal():
        import numpy as np

        t = np.linspace(0, 6, 2000)
        return np.sin(t * 6) * np.exp(-t / 3)

    @task
    def image():
        import numpy as np
        from PIL import Image

        y, x = np.mgrid[0:600, 0:900]
        bands = (x * 255 // 900, y * 255 // 600, 140 + 0 * x)
        return Image.fromarray(np.stack(bands, -1).astype("uint8"))

    @task
    def report_file():
        path = Path(os.environ["SITE_FILES"]) / "orders by country.csv"
        path.write_text("country,orders\nDE,120\nFR,80\n")
        return path

    @task
    def records():
        return [{"path": f"/item/{n}", "status": 200 if n % 9 else 404, "ms": n * 1.5} for n in range(300)]

    @task
    def nested():
        parts = {"tags": ("a", "b"), "parts": [{"x": 1}, {"y": 2}]}
        return {"total": Decimal("1234.50"), "day": dt.date(2026, 11, 30), **parts}

    @task
    def text():
        return "A line of text.\n" * 400

    @task
    def raw_bytes():
        return bytes(range(256)) * 100

    @task
    def plain():
        return {"orders": 120, "revenue": 9876.5}

    @task
    def short_lived():
        import pandas as pd

        return keep(pd.DataFrame({"name": ["sesame"], "n": [1]}), "1s")

    @task
    def with_run():
        return lazy(keep(("sesame",) * 400, "run"))

    @task
    def many_keys():
        ti = get_current_context()["ti"]
        for number in range(5):
            ti.xcom_push(f"part {number}", (number,) * 400)
        return None

    for one in (pandas_frame, polars_frame, arrow_table, array, signal, image, report_file, records, nested,
                text, raw_bytes, plain, short_lived, with_run, many_keys):
        one()


kinds()
'''
REST = r'''
"""Mapped, numerous, large, hostile."""
import os
from pathlib import Path

from airflow.sdk import dag, get_current_context, task

SCRIPT = "<script>window.hacked=1;parent.hacked=1</script>"
HOSTILE = [
    SCRIPT,
    "</style><script>window.hacked=1</script>",
    "</script><script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    "\"><svg onload=window.hacked=1>",
    "' onmouseover='window.hacked=1",
    "javascript:window.hacked=1",
    "{{ 7*7 }}{% raw %}",
    "=HYPERLINK(\"http://example.com\")",
    "<iframe srcdoc='<script>parent.hacked=1</script>'>",
    "<a href=//example.com>x</a>",
    "\u202egnp.exe",
    "<!--",
    "]]>",
    "&lt;b&gt;",
    "<base href=//example.com>",
    "<meta http-equiv=refresh content=0;url=//example.com>",
]


@dag(schedule=None, tags=["template-example"])
def orders():
    @task
    def each(n):
        import pandas as pd

        return pd.DataFrame({"n": [n]})

    each.expand(n=list(range(3)))


@dag(schedule=None, tags=["template-example"])
def hostile():
    @task
    def names():
        import pandas as pd

        ti = get_current_context()["ti"]
        for at, text in enumerate(HOSTILE):
            ti.xcom_push(text, pd.DataFrame({text: [text], f"b{at}": [at]}))
        return pd.DataFrame({text: HOSTILE for text in HOSTILE[:10]})

    @task
    def values():
        ti = get_current_context()["ti"]
        ti.xcom_push("json", {text: [text] for text in HOSTILE})
        ti.xcom_push("records", [{text: text for text in HOSTILE}] * 3)
        ti.xcom_push("text", "\n".join([*HOSTILE, "\x1b[31m"]))
        ti.xcom_push("tuple", tuple(HOSTILE))
        folder = Path(os.environ["SITE_FILES"])
        (page := folder / "page <img src=x onerror=window.hacked=1>.html").write_text("\n".join(HOSTILE))
        svg = "<svg xmlns='http://www.w3.org/2000/svg' onload='window.hacked=1'/>"
        (drawing := folder / "drawing.svg").write_text(svg)
        ti.xcom_push("file", page)
        ti.xcom_push("drawing", drawing)

    names()
    values()


@dag(schedule=None, tags=["template-example"])
def numerous():
    @task
    def thousand():
        get_current_context()["ti"].xcom_push("key-0000", 0)  # the tests copy its row

    @task
    def huge():
        path = Path(os.environ["SITE_FILES"]) / "huge.bin"
        with path.open("wb") as file:
            file.truncate(2**30)
        return path

    @task
    def nothing():
        return None

    @task(retries=1, retry_delay=0)
    def twice():
        ti = get_current_context()["ti"]
        ti.xcom_push("stored", ("x",) * 2000 * ti.try_number)
        ti.xcom_push("plain", ti.try_number)
        if ti.try_number == 1:
            raise ValueError("again")

    thousand()
    huge()
    nothing()
    twice()


orders()
hostile()
numerous()
'''
