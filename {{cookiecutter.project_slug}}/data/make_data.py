"""Makes the invented files of this folder. Run it again and you get the same content.

What is invented and what is real stands in README.md beside this file.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import random
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from PIL import Image, ImageDraw

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Write every invented file."""
    write_web_requests(HERE / "web_requests.jsonl.gz", records=4000)
    write_customers_and_orders(HERE / "customers.csv", HERE / "orders.csv")
    write_meter_readings(HERE / "meter_readings.csv")
    write_price_list(HERE / "price_list.csv")
    write_pictures(HERE / "pictures")


def write_web_requests(path: Path, records: int) -> None:
    """One day of requests to a web shop, one JSON object a line, in order of time."""
    chance = random.Random("web requests")
    midnight = datetime(2025, 3, 3, tzinfo=UTC)
    pages = ["/search", "/products/lamp", "/products/chair", "/products/desk", "/basket", "/checkout"]
    usual = {"/search": 90, "/basket": 60, "/checkout": 180}  # milliseconds; 30 for all other pages
    lines = []
    while len(lines) < records:  # one visit after the other
        visitor = f"v{chance.randrange(400):03}"
        moment = chance.triangular(0, 82_000, 52_000)  # seconds of the day
        for step in range(1 + int(chance.expovariate(1 / 6))):
            page = chance.choices(pages, weights=[20, 18, 15, 12, 12, 8])[0] if step else "/"
            status = chance.choices([200, 304, 404, 500, 503], weights=[870, 90, 25, 10, 5])[0]
            if page == "/checkout" and 50_400 <= moment < 54_000:
                # From 14 to 15 o'clock the checkout is broken, for the report to find.
                status = chance.choices([200, 500], weights=[60, 40])[0]
            spread = chance.lognormvariate(0, 0.6) * (8 if status >= 500 else 1)
            record = {
                "time": (midnight + timedelta(seconds=moment)).isoformat(timespec="milliseconds"),
                "visitor": visitor,
                "method": "POST" if page in ("/basket", "/checkout") else "GET",
                "path": page,
                "status": status,
                "bytes": 0 if status == 304 else chance.randrange(400, 60_000),
                "milliseconds": round(usual.get(page, 30) * spread, 1),
            }
            lines.append(json.dumps(record, separators=(",", ":")))
            moment = min(moment + chance.lognormvariate(3.5, 0.8), 86_399)
    # Each line begins with its time, so they sort by it. No name and no time of writing in the header:
    # the same lines give the same file.
    text = "\n".join([*sorted(lines)[:records], ""])
    with path.open("wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
        packed.write(text.encode())


def write_customers_and_orders(customers: Path, orders: Path) -> None:
    """A furniture shop's customers, and their orders of one year. Prices are net, in cents."""
    chance = random.Random("orders")
    first = ["North", "Green", "Silver", "River", "Stone", "Bright", "Old Town", "Harbour"]
    second = ["Hotels", "Schools", "Offices", "Cafes", "Clinics"]
    names = [f"{one} {two}" for one in first for two in second]
    countries = chance.choices(["AT", "CH", "DE", "FR", "IT", "NL"], k=len(names))
    write_csv(
        customers,
        ["customer_id", "name", "country"],
        [(number, *pair) for number, pair in enumerate(zip(names, countries, strict=True), start=1)],
    )
    prices = {"lamp": 4900, "chair": 8900, "desk": 34900, "shelf": 12900, "sofa": 79900}
    rows = []
    for number in range(1, 601):
        product = chance.choice(sorted(prices))
        day = date(2024, 1, 1) + timedelta(days=chance.randrange(366))
        status = chance.choices(["paid", "open", "cancelled"], weights=[85, 8, 7])[0]
        customer = min(len(names), 1 + int(chance.expovariate(1 / 12)))
        quantity = chance.randint(1, 12)
        rows.append((number, customer, day.isoformat(), product, quantity, prices[product], status))
    write_csv(
        orders, ["order_id", "customer_id", "day", "product", "quantity", "price_cents", "status"], rows
    )


def write_meter_readings(path: Path) -> None:
    """Daily readings of twenty electricity meters in March, with the faults that such files have."""
    chance = random.Random("meter readings")
    rows: list[tuple[str, str, str]] = []
    for meter in range(1, 21):
        usual = chance.uniform(5, 25)
        for day in range(1, 32):
            used = usual * chance.uniform(0.7, 1.3)
            rows.append((f"M{meter:02}", date(2025, 3, day).isoformat(), f"{used:.2f}"))
    for position in chance.sample(range(len(rows)), 12):  # the meter did not answer
        rows[position] = (*rows[position][:2], "")
    for position in chance.sample(range(len(rows)), 6):  # it ran backwards
        rows[position] = (*rows[position][:2], "-1.00")
    for position in chance.sample(range(len(rows)), 5):  # a digit too many
        rows[position] = (*rows[position][:2], "4711.00")
    rows += chance.sample(rows, 7)  # sent twice
    rows.sort(key=lambda row: (row[1], row[0]))
    write_csv(path, ["meter", "day", "kwh"], rows)


def write_price_list(path: Path) -> None:
    """Net prices of a shop in euros."""
    prices = [
        ("lamp", "49.00"),
        ("chair", "89.00"),
        ("desk", "349.00"),
        ("shelf", "129.00"),
        ("sofa", "799.00"),
        ("rug", "119.95"),
        ("mirror", "64.50"),
        ("stool", "38.20"),
    ]
    write_csv(path, ["product", "net_eur"], prices)


def write_pictures(folder: Path) -> None:
    """Eight drawn landscapes, 480 by 320 pixels, from dawn to night."""
    folder.mkdir(exist_ok=True)
    skies = {
        "1-dawn": ((92, 84, 130), (250, 190, 150)),
        "2-morning": ((120, 180, 235), (250, 235, 205)),
        "3-noon": ((70, 150, 235), (190, 225, 250)),
        "4-haze": ((170, 185, 195), (225, 225, 215)),
        "5-storm": ((50, 58, 70), (120, 128, 135)),
        "6-sunset": ((80, 40, 95), (250, 130, 60)),
        "7-dusk": ((25, 25, 70), (120, 80, 120)),
        "8-night": ((5, 8, 25), (30, 40, 75)),
    }
    for number, (name, (top, bottom)) in enumerate(skies.items()):
        landscape(top, bottom, number).save(folder / f"{name}.png", optimize=True)


def landscape(top: Sequence[int], bottom: Sequence[int], number: int) -> Image.Image:
    """A sky that goes from one colour to another, a sun on its way, and three rows of hills."""
    width, height = 480, 320
    picture = Image.new("RGB", (width, height))
    pen = ImageDraw.Draw(picture)
    for y in range(height):
        pen.line([(0, y), (width, y)], fill=mixed(top, bottom, y / height))
    x, y = 40 + number * 57, 60 + int(0.0018 * (number * 57 - 200) ** 2)
    pen.ellipse([x - 22, y - 22, x + 22, y + 22], fill=mixed(bottom, (255, 255, 240), 0.7))
    for row in range(3):
        ground = mixed(bottom, (20, 40, 30), 0.45 + 0.22 * row)
        level = 190 + 42 * row
        outline = [
            (x, level + 26 * math.sin(x / (70 - 14 * row) + number + 2 * row)) for x in range(0, width + 1, 4)
        ]
        pen.polygon([(0, height), *outline, (width, height)], fill=ground)
    return picture


def mixed(one: Sequence[int], other: Sequence[int], part: float) -> tuple[int, ...]:
    """The colour that lies `part` (0 to 1) of the way from one to the other."""
    return tuple(round(a + (b - a) * part) for a, b in zip(one, other, strict=True))


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table with Unix line ends."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
