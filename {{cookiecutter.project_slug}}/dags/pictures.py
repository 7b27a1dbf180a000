"""Images through dynamic task mapping: one task per picture, then a contact sheet."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import dag, get_current_context, task

from {{ cookiecutter.__package }} import settings

if TYPE_CHECKING:
    from PIL.Image import Image


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["template-example", "images", "task mapping"],
    default_args={"owner": "data-team", "retries": 1, "retry_delay": timedelta(seconds=10)},
)
def pictures():
    """
    # A contact sheet, brightest picture first

    Looks for pictures in `data/pictures` (drawn for this project) and makes a thumbnail of each in a task
    of its own: a new file there is a new task, without a change here. The thumbnails are measured, sorted
    by brightness and put on `output/pictures/contact_sheet.png`.

    **What is handed over:** PIL images, as `return image`. The sheet pulls the thumbnails one by one, by
    `ti.xcom_pull(task_ids=..., map_indexes=...)`, in the order that it wants.

    **Variables:** `pictures_thumbnail_pixels`, `pictures_columns`, `pictures_format`, `data_folder`,
    `output_folder`.
    """

    @task
    def find() -> list[str]:
        """Names of the pictures, in order."""
        return sorted(path.name for path in settings.data_file("pictures").glob("*.png"))

    @task
    def thumbnail(name: str):
        """One picture, made small."""
        from PIL import Image

        side = settings.Pictures.read().thumbnail_pixels
        with Image.open(settings.data_file("pictures") / name) as picture:
            small = picture.convert("RGB")
        small.thumbnail((side, side))
        return small

    @task(multiple_outputs=False)
    def measure(picture: Image) -> dict[str, Any]:
        """Size and mean brightness (0 black, 255 white) of one thumbnail."""
        from PIL import ImageStat

        brightness = ImageStat.Stat(picture.convert("L")).mean[0]
        return {"width": picture.width, "height": picture.height, "brightness": round(brightness, 1)}

    @task(multiple_outputs=False)
    def contact_sheet(names: list[str], measured: list[dict[str, Any]]) -> dict[str, Any]:
        """All thumbnails on one picture."""
        from PIL import Image, ImageDraw

        chosen = settings.Pictures.read()
        facts = list(measured)
        order = sorted(range(len(names)), key=lambda index: -facts[index]["brightness"])
        width = max(fact["width"] for fact in facts)
        height = max(fact["height"] for fact in facts) + 16  # a line of text below each
        rows = -(-len(names) // chosen.columns)
        sheet = Image.new("RGB", (width * min(chosen.columns, len(names)), height * rows), "white")
        pen = ImageDraw.Draw(sheet)

        task_instance = get_current_context()["ti"]
        for place, index in enumerate(order):
            small = task_instance.xcom_pull(task_ids="thumbnail", map_indexes=index)
            corner = (place % chosen.columns * width, place // chosen.columns * height)
            sheet.paste(small, corner)
            pen.text((corner[0] + 4, corner[1] + height - 14), names[index], fill="black")

        path = settings.output_file(f"contact_sheet.{chosen.format}")
        sheet.save(path)
        return {"path": str(path), "order": [names[index] for index in order]}

    names = find()
    thumbnails = thumbnail.expand(name=names)
    contact_sheet(names, measure.expand(picture=thumbnails))


pictures()
