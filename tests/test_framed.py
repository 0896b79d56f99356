"""The explorer in a notebook: the exported page in a frame that reaches nothing else."""

from __future__ import annotations

import re
from html import unescape

import zspace
from zspace.explorer import export


def test_the_explorer_shows_itself_in_a_notebook(planar):
    run = planar["vae"]
    shown = zspace.explore(run.path, height=500)
    (frame,) = re.findall(r"^<iframe ([^<>]*)></iframe>$", shown._repr_html_())
    given = dict(re.findall(r'([a-z]+)="([^"]*)"', frame))
    assert unescape(given["srcdoc"]) == export.whole(run)
    assert given["sandbox"] == "allow-scripts allow-downloads"
    assert "height: 500px" in given["style"]
    assert len(repr(shown)) < 100
