"""The pipeline of images: thumbnails by task mapping, and a contact sheet."""

from __future__ import annotations

from pathlib import Path

from exclusive_xcom.testing.fixtures import Runner
from PIL import Image

DATA = Path(__file__).resolve().parents[1] / "data"


def test_each_picture_becomes_a_thumbnail_and_all_a_sheet(run: Runner) -> None:
    done = run("pictures")
    names = sorted(path.name for path in (DATA / "pictures").glob("*.png"))
    assert len(names) == 8
    thumbnails = {}
    for index, name in enumerate(names):
        with Image.open(DATA / "pictures" / name) as picture:
            expected = picture.convert("RGB")
        expected.thumbnail((160, 160))
        thumbnails[name] = done.value("thumbnail", map_index=index)
        assert thumbnails[name].size == (160, 107)
        assert thumbnails[name].tobytes() == expected.tobytes()

    order = done.value("contact_sheet")["order"]
    assert sorted(order) == names
    means = [sum(thumbnails[name].convert("L").tobytes()) for name in order]
    assert means == sorted(means, reverse=True)
    with Image.open(done.output / "contact_sheet.png") as sheet:
        assert sheet.size == (4 * 160, 2 * (107 + 16))
        for place, name in enumerate(order):
            left, top = place % 4 * 160, place // 4 * 123
            found = sheet.crop((left, top, left + 160, top + 107))
            assert found.tobytes() == thumbnails[name].tobytes()


def test_a_new_picture_is_a_new_task_and_size_columns_and_format_are_variables(
    run: Runner, tmp_path: Path
) -> None:
    (tmp_path / "pictures").mkdir()
    for name, brightness in {"dark": 50, "grey": 200}.items():
        Image.new("L", (30, 60), brightness).save(tmp_path / "pictures" / f"{name}.png")
    done = run(
        "pictures",
        data_folder=tmp_path,
        pictures_thumbnail_pixels=48,
        pictures_columns=1,
        pictures_format="webp",
    )
    assert done.value("contact_sheet")["order"] == ["grey.png", "dark.png"]
    assert done.value("measure", map_index=1) == {"width": 24, "height": 48, "brightness": 200.0}
    with Image.open(done.output / "contact_sheet.webp") as sheet:
        assert (sheet.format, sheet.size) == ("WEBP", (24, 2 * (48 + 16)))
