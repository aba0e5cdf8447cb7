"""Writes photo.jpg, a drawn picture as JPEG with halved colour planes, and photo.txt: sums over Pillow's decoded bytes,
97 at a time."""
from pathlib import Path

from PIL import Image, ImageDraw

picture = Image.new("RGB", (53, 41), (90, 160, 220))
draw = ImageDraw.Draw(picture)
for i in range(12):
    draw.ellipse((3 * i, 2 * i, 4 * i + 9, 3 * i + 7), fill=(250 - 20 * i, 20 * i, (60 * i) % 256))
target = Path(__file__).with_suffix(".jpg")
picture.save(target, quality=80, subsampling=2)
data = Image.open(target).convert("RGB").tobytes()
target.with_suffix(".txt").write_text(" ".join(str(sum(data[i : i + 97])) for i in range(0, len(data), 97)) + "\n")
