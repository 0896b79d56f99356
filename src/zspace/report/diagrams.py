"""A model as a diagram in SVG, drawn from the parts of its recipe.

Data go from top to bottom: x, encoder, code, decoder, p(x|z), and below them the terms that each
player minimises. Beside them stands what else the networks read: a label, a draw of noise, the
prior. What is drawn is what the parts are; a recipe of one's own has a diagram at once.

Text is in the colour of the page around (currentColor). Shapes have the custom properties
--diagram-data, -network, -code, -prior, -context, -adversary and -term, each with a colour of its
own where a page sets none. A diagram is 340 units wide, so that it is read on a telephone without
being made smaller.

    diagram(run.recipe, run.spec, run.probe).svg("vae")
    drawn("cvae").svg("cvae", alone=True)          # a file by itself, on paper of its own
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal

import torch
from torch import nn

from zspace.data.account import of_samples
from zspace.data.spec import Column, Spec
from zspace.models import recipes
from zspace.models.bottlenecks import Bottleneck, Gaussian
from zspace.models.flow import Pass
from zspace.models.recipes import Player, Recipe, Traits, hyphenated, traits
from zspace.system.device import random_kept
from zspace.system.errors import UserError

WIDTH, MARGIN, GAP, LINE = 340.0, 8.0, 26.0, 16.0
MIDDLE, MAIN = 122.0, 212.0
BESIDE, NARROW = 288.0, 88.0
"""Middles and widths of the two columns: what data go through, and what stands beside it."""
LETTER = 7.6
"""The width of a letter of 13 units, on average and not below it."""
Role = Literal["data", "network", "code", "prior", "context", "adversary", "term"]
Shape = Literal["box", "narrowing", "widening", "round"]
COLOURS: dict[Role, str] = {
    "data": "#6f7682",
    "network": "#2f7fc1",
    "code": "#c2571a",
    "prior": "#8a5fc0",
    "context": "#2e8b57",
    "adversary": "#c23b5e",
    "term": "#a07a10",
}
"""Of shapes, where the page sets no other: each is seen on white and on dark paper."""


@dataclass(frozen=True)
class Box:
    """One part: its lines of text, the first in bold, and where it lies.

    x and y are its upper left corner.
    """

    lines: tuple[str, ...]
    role: Role
    x: float
    y: float
    width: float
    height: float
    shape: Shape = "box"

    @property
    def top(self) -> tuple[float, float]:
        """Where an arrow from above ends."""
        return self.x + self.width / 2, self.y

    @property
    def bottom(self) -> tuple[float, float]:
        """Where an arrow to what lies below begins."""
        return self.x + self.width / 2, self.y + self.height

    def overlaps(self, other: Box) -> bool:
        """Whether the two rectangles have a point in common."""
        apart = (
            self.x + self.width <= other.x
            or other.x + other.width <= self.x
            or self.y + self.height <= other.y
            or other.y + other.height <= self.y
        )
        return not apart


@dataclass
class Diagram:
    """A drawn model.

    Attributes:
        title: Of the recipe.
        says: What is seen, for who does not see it.
        boxes: Its parts.
        arrows: Corners of each line, and whether it is dashed; the last corner has the head.
        notes: Words without a box: x, y of their left end, and the words.
    """

    title: str
    says: str = ""
    boxes: list[Box] = field(default_factory=list)
    arrows: list[tuple[tuple[tuple[float, float], ...], bool]] = field(default_factory=list)
    notes: list[tuple[float, float, str]] = field(default_factory=list)

    @property
    def height(self) -> float:
        """Down to the lowest box."""
        return max(box.y + box.height for box in self.boxes) + MARGIN

    @property
    def parts(self) -> list[str]:
        """What the boxes are called."""
        return [box.lines[0] for box in self.boxes]

    def svg(self, key: str, *, alone: bool = False) -> str:
        """The diagram as one <svg> element.

        Arguments:
            key: Makes its ids different from those of others on one page.
            alone: For a file by itself: with paper, which is dark where the reader's is.
        """
        key = re.sub(r"[^a-z0-9]+", "-", key.lower())
        high = f"{self.height:g}"
        head = (
            f'<svg{NAMESPACE if alone else ""} class="diagram" role="img" '
            f'viewBox="0 0 {WIDTH:g} {high}" width="{WIDTH:g}" height="{high}" '
            f'aria-labelledby="{key}-title {key}-says" fill="none" stroke="currentColor" '
            'font-family="system-ui, sans-serif" font-size="13" text-anchor="middle">'
        )
        inside = [
            f'<title id="{key}-title">{escape(self.title)}</title>',
            f'<desc id="{key}-says">{escape(self.says)}</desc>',
        ]
        if alone:
            inside.append(PAPER)
            inside.append(f'<rect class="paper" width="{WIDTH:g}" height="{high}" rx="10"/>')
        inside += [_arrow(corners, dashed=dashed) for corners, dashed in self.arrows]
        inside += [_drawn(box) for box in self.boxes]
        inside += [
            f'<text x="{x:g}" y="{y:g}" text-anchor="start" fill="currentColor" stroke="none" '
            f'font-size="12">{escape(words)}</text>'
            for x, y, words in self.notes
        ]
        return "\n".join([head, *inside, "</svg>"])


NAMESPACE = ' xmlns="http://www.w3.org/2000/svg"'
"""A file needs it; a page knows the element, and links to nothing."""
PAPER = (
    "<style>svg { color: #1d2025 } .paper { fill: #ffffff; stroke: none } "
    "@media (prefers-color-scheme: dark) "
    "{ svg { color: #e7e4dc } .paper { fill: #1c1f25 } }</style>"
)


def _drawn(box: Box) -> str:
    """A shape and its lines of text."""
    colour = f"var(--diagram-{box.role}, {COLOURS[box.role]})"
    look = f'fill="{colour}" fill-opacity="0.14" stroke="{colour}" stroke-width="1.5"'
    x, y, right, low = box.x, box.y, box.x + box.width, box.y + box.height
    lean = 0.16 * box.width
    if box.shape in ("narrowing", "widening"):
        above, below = (0.0, lean) if box.shape == "narrowing" else (lean, 0.0)
        corners = [(x + above, y), (right - above, y), (right - below, low), (x + below, low)]
        points = " ".join(f"{a:g},{b:g}" for a, b in corners)
        shape = f'<polygon points="{points}" {look} stroke-linejoin="round"/>'
    else:
        round_by = 6 if box.shape == "box" else min(box.height / 2, 18)
        shape = (
            f'<rect x="{x:g}" y="{y:g}" width="{box.width:g}" height="{box.height:g}" '
            f'rx="{round_by:g}" {look}/>'
        )
    middle, bold = x + box.width / 2, "" if box.role == "term" else ' font-weight="600"'
    first = y + box.height / 2 - LINE * (len(box.lines) - 1) / 2 + 4.5
    text = "".join(
        f'<text x="{middle:g}" y="{first + i * LINE:g}" fill="currentColor" stroke="none"'
        f"{bold if i == 0 else ''}>{escape(line)}</text>"
        for i, line in enumerate(box.lines)
    )
    return shape + text


def _arrow(corners: Sequence[tuple[float, float]], *, dashed: bool) -> str:
    """A line with a head at its end, pointing along its last stretch."""
    (x0, y0), (x1, y1) = corners[-2:]
    length = max(abs(x1 - x0) + abs(y1 - y0), 1e-9)  # stretches go along one axis, or nearly
    dx, dy = (x1 - x0) / length, (y1 - y0) / length
    back = x1 - 7 * dx, y1 - 7 * dy
    head = [(x1, y1), (back[0] - 3.5 * dy, back[1] + 3.5 * dx),
            (back[0] + 3.5 * dy, back[1] - 3.5 * dx)]  # fmt: skip
    way = " ".join(f"{a:g},{b:g}" for a, b in [*corners[:-1], back])
    look = ' stroke-dasharray="4 3"' if dashed else ""
    points = " ".join(f"{a:.4g},{b:.4g}" for a, b in head)
    return (
        f'<polyline points="{way}" stroke-width="1.3" stroke-opacity="0.7"{look}/>'
        f'<polygon points="{points}" fill="currentColor" fill-opacity="0.7" stroke="none"/>'
    )


def wrapped(text: str, width: float) -> list[str]:
    """Text in lines that fit into a box of that width.

    >>> wrapped("a mixture of 100 Gaussians", 88)
    ['a mixture', 'of 100', 'Gaussians']
    """
    most, lines = max(6, int((width - 10) / LETTER)), list[str]()
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= most:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return [line if len(line) <= most else f"{line[: most - 1]}…" for line in lines]


def words(name: str) -> str:
    """The name of a class as words.

    >>> words("PatchDiscriminator"), words("MLP"), words("UNetEncoder")
    ('patch discriminator', 'MLP', 'U-Net encoder')
    """
    name = name.replace("UNet", "U-Net ").replace("GRU", "GRU ")
    parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).split()
    return " ".join(part if part.isupper() or "-" in part else part.lower() for part in parts)


def weighted(title: str, weight: float | str) -> str:
    """A term with its weight: '4 × KL to the prior'.

    >>> weighted("squared error", 1.0), weighted("KL to the prior", 4.0)
    ('squared error', '4 × KL to the prior')
    """
    if isinstance(weight, str):  # training sets it
        return f"{title} (weight {weight})"
    shown = f"{weight:.3g}".replace("-", "\N{MINUS SIGN}")
    return title if weight == 1 else f"{shown} × {title}"


class _Pen:
    """Puts boxes below each other; `y` is where the next row begins."""

    def __init__(self, title: str) -> None:
        self.made, self.y = Diagram(title), MARGIN
        self.ends: list[Box] = []  # what the next box of the main column is led to from

    def box(
        self, lines: Sequence[str], role: Role, shape: Shape = "box", *,
        at: float = MIDDLE, width: float = MAIN, y: float | None = None, height: float = 0,
    ) -> Box:  # fmt: skip
        """A box whose middle is `at`, in the row that is being filled."""
        room = width * 0.8 if shape in ("narrowing", "widening") else width
        text = [part for line in lines for part in wrapped(line, room)]
        height = max(height, LINE * len(text) + 16)
        top = self.y if y is None else y
        box = Box(tuple(text), role, at - width / 2, top, width, height, shape)
        self.made.boxes.append(box)
        return box

    def row(self, *boxes: Box, beside: Sequence[Box] = ()) -> None:
        """Lead what came before to these, and go on below them."""
        for box in boxes:
            for end in self.ends:
                self.lead(end, box)
        self.ends = list(boxes)
        self.y = max(box.y + box.height for box in (*boxes, *beside)) + GAP

    def lead(self, a: Box, b: Box) -> None:
        """An arrow down, with a bend where the boxes do not lie in line."""
        (x0, y0), (x1, y1) = a.bottom, b.top
        if abs(x0 - x1) < max(a.width, b.width) / 2 - 12:  # it can go straight down
            x = x1 if b.width <= a.width else x0
            self.made.arrows.append((((x, y0), (x, y1)), False))
            return
        half = (y0 + y1) / 2
        self.made.arrows.append((((x0, y0), (x0, half), (x1, half), (x1, y1)), False))

    def across(self, a: Box, b: Box, *, dashed: bool = False) -> None:
        """An arrow from a box at the side to one in the main column."""
        y = min(max(a.y + a.height / 2, b.y + 8), b.y + b.height - 8)
        lean = 0.08 * b.width if b.shape in ("narrowing", "widening") else 0
        self.made.arrows.append((((a.x, y), (b.x + b.width - lean, y)), dashed))

    def side(
        self, lines: Sequence[str], role: Role, to: Box, *, dashed: bool = False,
        shape: Shape = "box", lead: bool = True,
    ) -> Box:  # fmt: skip
        """A box beside another one, in the middle of its height where there is room."""
        made = self.box(lines, role, shape, at=BESIDE, width=NARROW)
        y = max(to.y + (to.height - made.height) / 2, to.y)
        moved = Box(made.lines, role, made.x, y, made.width, made.height, shape)
        self.made.boxes[-1] = moved
        if lead:
            self.across(moved, to, dashed=dashed)
        return moved


def diagram(recipe: Recipe, spec: Spec, p: Pass, *, sizes: bool = True, name: str = "") -> Diagram:
    """The diagram of a recipe.

    Arguments:
        recipe: What is drawn.
        spec: Of its data: what x is called, and its shape.
        p: One pass of the model, over any sample: which levels of codes there are, and whether
            they have a distribution.
        sizes: Whether the numbers of x and z are told.
        name: What it is called, where the recipe has no title.

    >>> p = run.probe
    >>> "KL to the prior" in diagram(run.recipe, run.spec, p).parts
    True
    """
    model, what = recipe.model, traits(recipe, p)
    pen = _Pen(recipe.title or name or words(type(model).__name__))
    label = _label(spec) if what.conditional else ""
    one = of_samples("image", spec.kind)
    told = f"one {one}" + (f", {' × '.join(map(str, spec.shape))}" if sizes else "")
    pen.row(pen.box(["x", told], "data"))
    encoder = pen.box(["encoder", _network(model, "encoder")], "network", "narrowing")
    beside = [pen.side([label], "context", encoder)] if label else []
    pen.row(encoder, beside=beside)
    _codes(pen, recipe, p, what, sizes=sizes)
    decoder = pen.box(["decoder", _network(model, "decoder")], "network", "widening")
    beside = [pen.side([label], "context", decoder)] if label else []
    pen.row(decoder, beside=beside)
    likelihood = getattr(model, "likelihood", None)
    shown = pen.box(["p(x|z)", words(type(likelihood or p.px).__name__)], "data")
    own = ("encoder", "decoder", "bottleneck", "likelihood", "prior")
    further = [child for child, _ in model.named_children() if child not in own]
    known = isinstance(getattr(model, "bottleneck", None), Bottleneck)
    more = further if known else []
    beside = [pen.side(["also:", ", ".join(more)], "network", shown, lead=False)] if more else []
    pen.row(shown, beside=beside)
    _judges(pen, recipe)
    for i, player in enumerate(recipe.players):
        _minimised(pen, player, i, len(recipe.players))
    pen.made.says = _says(pen.made, what)
    return pen.made


def _label(spec: Spec) -> str:
    return "label c" if spec.classes else "attributes c"


def _network(model: nn.Module, name: str) -> str:
    """What sort of network it is, in words."""
    part = getattr(model, name, None)
    if part is None:
        return "network"
    said = words(type(part).__name__)
    return said.removesuffix(f" {name}") or said


def _codes(pen: _Pen, recipe: Recipe, p: Pass, what: Traits, *, sizes: bool) -> None:
    """From the encoder's output to the code, or to the codes of several levels."""
    levels = list(reversed(p.latents))
    bottleneck = getattr(recipe.model, "bottleneck", None)
    if len(levels) > 1:
        for k, level in zip(range(len(levels), 0, -1), levels, strict=True):
            size = _size(level.z.shape[2:]) if sizes else "drawn" if level.q else "a point"
            code = pen.box([f"z{k} ~ q(z{k}|x)" if level.q else f"z{k}", size], "code", "round")
            top = k == len(levels)
            said = [f"p(z{k})" if top else f"p(z{k}|z{k + 1})"]
            said += ["N(0, I)"] if top and recipes.is_standard(level.p) else []
            pen.row(code, beside=[pen.side(said, "prior", code, dashed=True)])
        return
    size = _size(levels[0].z.shape[2:]) if sizes else ""
    prior = ["prior p(z)", what.prior]
    if isinstance(bottleneck, Gaussian):
        mean = pen.box(["μ"], "code", at=MIDDLE - 60, width=92)
        deviation = pen.box(["σ"], "code", at=MIDDLE + 60, width=92)
        beside = pen.side(prior, "prior", deviation, dashed=True)
        pen.row(mean, deviation, beside=[beside])
        code = pen.box(["z = μ + σ ε", *([size] if size else [])], "code", "round")
        beside = pen.side(["ε", "N(0, I)"], "prior", code, shape="round")
        pen.row(code, beside=[beside])
        return
    if what.discrete or levels[0].q is not None:
        kind = words(type(bottleneck).__name__) if bottleneck is not None else "q(z|x)"
        pen.row(pen.box([kind, "nearest of its codes" if what.discrete else "a draw"], "code"))
    code = pen.box(["code z", *([size] if size else [])], "code", "round")
    placed = what.placed and not what.discrete
    pen.row(code, beside=[pen.side(prior, "prior", code, dashed=True)] if placed else [])


def _size(shape: Sequence[int]) -> str:
    return f"{' × '.join(map(str, shape))} number{'' if list(shape) == [1] else 's'}"


def _judges(pen: _Pen, recipe: Recipe) -> None:
    """What looks at x and at what was decoded: feature networks, and other players."""
    decoded = pen.ends[-1]
    for network in recipe.feature_networks:
        made = getattr(network, "make", None)
        name = str(recipe.decided.get("perceptual", getattr(made, "__name__", "")))
        lines = ["feature network", f"{name}: compares x with p(x|z)".lstrip(": ")]
        _judge(pen, lines, "network", decoded)
    for player in recipe.players[1:]:
        name = words(type(player.module).__name__)
        _judge(pen, [name, "real, or decoded?"], "adversary", decoded)


def _judge(pen: _Pen, lines: Sequence[str], role: Role, decoded: Box) -> None:
    """A network that is shown x and p(x|z); the way to the second goes past the first."""
    box = pen.box(lines, role, "narrowing")
    beside = [pen.side(["x"], "data", box)]
    if pen.ends == [decoded]:
        pen.row(box, beside=beside)
        return
    pen.ends = []
    pen.row(box, beside=beside)
    edge, low, high = decoded.x, decoded.y + decoded.height / 2, box.y + box.height / 2
    way = (edge, low), (edge - 9, low), (edge - 9, high), (edge + 0.08 * box.width, high)
    pen.made.arrows.append((way, False))


def _minimised(pen: _Pen, player: Player, i: int, players: int) -> None:
    """The terms of one player as tags, in as many rows as they need."""
    who = "the model" if i == 0 else f"the {words(type(player.module).__name__)}"
    heading = "minimised" if players == 1 else f"{who} minimises"
    pen.y += LINE - (GAP - 12)
    pen.made.notes.append((MIDDLE - MAIN / 2, pen.y - 4, f"{heading}:"))
    objective, pen.ends = player.objective, []
    weights, titles = objective.final_weights(), {k: f.title for k, f in objective.facts.items()}
    texts = [weighted(titles[name], weight) for name, weight in weights.items() if weight]
    texts += [f"at first: {titles[name]}" for name in objective.passing()]
    x, start = MIDDLE - MAIN / 2, pen.y
    for text in texts:
        width = min(LETTER * len(text) + 20, WIDTH - 2 * MARGIN)
        if x > MIDDLE - MAIN / 2 and x + width > WIDTH - MARGIN:
            x, start = MIDDLE - MAIN / 2, pen.y + 8
        tag = pen.box([text], "term", "round", at=x + width / 2, width=width, y=start)
        x, pen.y = x + width + 8, max(pen.y, tag.y + tag.height)
    pen.y += GAP


def _says(made: Diagram, what: Traits) -> str:
    """What the diagram shows, in words."""
    parts = [", ".join(box.lines) for box in made.boxes if box.role != "term"]
    terms = [" ".join(box.lines) for box in made.boxes if box.role == "term"]
    return f"From top to bottom: {'; '.join(parts)}. Minimised: {'; '.join(terms)}."


def _specs() -> list[Spec]:
    """Small data of each kind, of which a recipe takes some."""
    classes = tuple("0123456789")
    return [
        Spec((1, 28, 28), classes),
        Spec((9,), classes, kind="tokens", vocabulary=30),
        Spec((4,), classes, kind="table", columns=tuple(Column(k, "number") for k in "abcd")),
        Spec((24, 3), classes, kind="series", columns=tuple(Column(k, "number") for k in "abc")),
    ]


def drawn(name: str) -> Diagram:
    """The diagram of a recipe by its name, with its defaults, for data that it takes.

    Raises UserError for an unknown recipe, and for one that takes none of the kinds of data.

    >>> drawn("cvae").parts[:2]
    ['x', 'encoder']
    """
    return diagram(*example(name), sizes=False, name=hyphenated(name))


def example(name: str) -> tuple[Recipe, Spec, Pass]:
    """A recipe by its name, made for small data of the first kind that it takes; these data; a
    pass. Raises UserError as `drawn` does.
    """
    function, refused = recipes.find(name), UserError("")
    for spec in _specs():
        with random_kept(torch.device("cpu"), seed=0):
            try:
                recipe = _made(function, spec)
            except UserError as error:
                refused = error
                continue
            model = recipe.model.eval()
            c = torch.zeros(1, model.context) if model.context else None
            with torch.no_grad():
                return recipe, spec, model(torch.zeros(1, *spec.shape), c)
    raise UserError(f"no diagram of recipe '{name}' can be drawn: {refused}")


def _made(function: Callable[..., Recipe], spec: Spec) -> Recipe:
    """With networks of a small width where it has such a choice: no weight is seen."""
    offered = recipes.choices_of(function)
    small: dict[str, Any] = (
        {"hidden": (8,)} if spec.kind == "image" and "hidden" in offered.network else {}
    )
    if offered.network and offered.network["net"].default not in ("auto", "mlp"):
        small = {}
    if "perceptual" in offered.own:
        small["perceptual"] = "judge"
    return function(spec, **small)
