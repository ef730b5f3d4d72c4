"""Pages of results, taken apart: their pictures as arrays, and their texts."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from PIL import Image

# Elements that have no end.
_VOID = {"meta", "link", "img", "input", "line", "polyline", "br"}


class Page(HTMLParser):
    """A page: `pictures` by their alternative texts, `text`, `addresses` of all it refers to, `open_tags`."""

    def __init__(self, path):
        super().__init__()
        self.pictures, self.addresses, self.open_tags, self.words = {}, [], [], []
        self.source = Path(path).read_text("utf-8")
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag not in _VOID:
            self.open_tags.append(tag)
        self.addresses += [given[key] for key in ("src", "href", "action") if key in given]
        if tag == "img":
            self.pictures[given["alt"]] = decoded(given["src"])

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open_tags, tag
        assert self.open_tags.pop() == tag

    def handle_data(self, data):
        if not self.open_tags or self.open_tags[-1] not in {"script", "style"}:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    @property
    def maps(self):
        """What the script reads of the maps."""
        found = re.search(r'id="map-data">(.*?)</script>', self.source, re.DOTALL)
        return {one["name"]: one for one in json.loads(found[1])["maps"]}


def decoded(uri):
    """Pixels of a data URI."""
    head, _, data = uri.partition(";base64,")
    assert head in {"data:image/png", "data:image/jpeg"}
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def map_values(one):
    """Values of a map as ``(group, row, column)``."""
    values = np.frombuffer(base64.b64decode(one["values"]), "<f4")
    return values.reshape(one["groups"], one["rows"], one["columns"])
