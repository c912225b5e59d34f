"""Draws the pictures of the documentation as SVG, from the few shapes that they are made of.

``python scripts/drawings.py`` writes ``docs/images/*.svg``. They carry their own light background,
so they read the same on a dark page, and need nothing but the file itself.
"""

from collections.abc import Callable
from html import escape
from pathlib import Path

IMAGES = Path(__file__).parents[1] / "docs" / "images"
LEFT, RIGHT, INK, PALE, LINE = "#2f6fb0", "#b3541e", "#222222", "#6b6b6b", "#c9c9c9"
LEFT_FILL, RIGHT_FILL, PLAIN_FILL, SHUT = "#dbe9f7", "#fae3d4", "#f3f3f3", "#b00020"
_COLOURS = {"L": (LEFT, LEFT_FILL), "R": (RIGHT, RIGHT_FILL), "": (PALE, PLAIN_FILL)}


class Drawing:
    """A sheet of paper; coordinates are in pixels from its upper left corner."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._size = (width, height)
        self._title = title
        self._parts: list[str] = []

    def text(
        self, x: float, y: float, words: str, *, size: int = 14, colour: str = INK,
        anchor: str = "start", bold: bool = False, mono: bool = False,
    ) -> None:  # fmt: skip
        """Write words; ``y`` is their base line."""
        family = "ui-monospace,Menlo,Consolas,monospace" if mono else "Helvetica,Arial,sans-serif"
        weight = ' font-weight="bold"' if bold else ""
        self._parts.append(
            f'<text x="{x}" y="{y}" font-family="{family}" font-size="{size}" fill="{colour}" '
            f'text-anchor="{anchor}"{weight}>{escape(words)}</text>'
        )

    def box(
        self, x: float, y: float, width: float, height: float, words: str = "",
        *, kind: str = "", mono: bool = True, dashed: bool = False, size: int = 13,
    ) -> None:  # fmt: skip
        """Draw a box with words in its middle; ``kind`` is L or R for the cluster's colour."""
        edge, fill = _COLOURS[kind]
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self._parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="4" fill="{fill}" '
            f'stroke="{edge}"{dash}/>'
        )
        if words:
            self.text(
                x + width / 2, y + height / 2 + 5, words, size=size, anchor="middle", mono=mono
            )

    def frame(self, x: float, y: float, width: float, height: float, kind: str) -> None:
        """Draw the outline of a cluster."""
        edge, _ = _COLOURS[kind]
        self._parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="none" '
            f'stroke="{edge}" stroke-width="2"/>'
        )

    def line(
        self, x: float, y: float, to_x: float, to_y: float,
        *, colour: str = INK, dashed: bool = False, arrow: bool = False, width: float = 1.5,
    ) -> None:  # fmt: skip
        """Draw a line, with an arrow's head at its end if it is one."""
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        head = f' marker-end="url(#head{colour[1:]})"' if arrow else ""
        self._parts.append(
            f'<line x1="{x}" y1="{y}" x2="{to_x}" y2="{to_y}" stroke="{colour}" '
            f'stroke-width="{width}"{dash}{head}/>'
        )

    def arrow(self, x: float, y: float, to_x: float, to_y: float, colour: str = INK) -> None:
        """Draw an arrow."""
        self.line(x, y, to_x, to_y, colour=colour, arrow=True)

    def svg(self) -> str:
        """Return the file's text."""
        width, height = self._size
        heads = "".join(
            f'<marker id="head{colour[1:]}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
            f'markerHeight="7" orient="auto-start-reverse">'
            f'<path d="M0 0 10 5 0 10z" fill="{colour}"/></marker>'
            for colour in (INK, LEFT, RIGHT, PALE, SHUT)
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img">\n<title>{escape(self._title)}</title>\n'
            f"<defs>{heads}</defs>\n"
            f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff" stroke="{LINE}"/>\n'
            + "\n".join(self._parts)
            + "\n</svg>\n"
        )


def classic() -> Drawing:
    """Two clusters, TOPIC1 and LEFT.TOPIC1, the drain, and the way back."""
    d = Drawing(880, 420, "Two clusters, the switch to RIGHT, and the way back")
    for x, alias, kind in ((30, "LEFT", "L"), (470, "RIGHT", "R")):
        d.frame(x, 50, 360, 150, kind)
        d.text(x + 15, 74, alias, bold=True, size=16)
    d.box(50, 90, 320, 36, "TOPIC1        0 ... 29,999 | 30,000 ...", kind="L")
    d.box(50, 146, 320, 36, "RIGHT.TOPIC1  0 ... 4,999", kind="R", dashed=True)
    d.box(490, 90, 320, 36, "LEFT.TOPIC1   0 ... 30,009 | ...", kind="L", dashed=True)
    d.box(490, 146, 320, 36, "TOPIC1        0 ... 4,999", kind="R")
    d.arrow(376, 108, 484, 108, LEFT)
    d.arrow(484, 164, 376, 164, RIGHT)
    d.text(430, 98, "MM2", anchor="middle", colour=PALE)
    d.text(430, 154, "MM2", anchor="middle", colour=PALE)
    d.text(30, 34, "Solid: written by applications.  Dashed: the copy that MirrorMaker 2 makes, "
                   "with other offsets.", colour=PALE, size=13)  # fmt: skip
    d.text(30, 238, "failover switch --to RIGHT", bold=True, mono=True)
    d.text(470, 238, "failover failback", bold=True, mono=True)
    there = (
        "1  producers hold their records and flush",
        "2  the end of TOPIC1 (30,000) goes into the ledger",
        "3  the copy holds everything up to its end (30,010)",
        "4  RIGHT becomes active: the point of no return",
        "5  producers go on there, in the order they had",
        "6  consumers finish LEFT.TOPIC1 up to 30,010 ...",
        "7  ... and only then read RIGHT's own TOPIC1 from 0",
    )
    back = (
        "1  the same, the other way",
        "2  the end of RIGHT's TOPIC1 (5,000) is kept",
        "3  RIGHT.TOPIC1 on LEFT holds everything up to 5,000",
        "4  LEFT becomes active",
        "5  producers go on at TOPIC1, from 30,000",
        "6  consumers finish RIGHT.TOPIC1 up to 5,000 ...",
        "7  ... and only then LEFT's own TOPIC1 from 30,000",
    )
    for x, steps in ((30, there), (470, back)):
        for number, step in enumerate(steps):
            d.text(x, 264 + 21 * number, step, size=13)
    return d


def gate() -> Drawing:
    """A lagging group on RIGHT, reading epoch by epoch."""
    d = Drawing(860, 330, "The gate: a group reads the first epoch that it has not finished")
    d.text(30, 34, "Epochs of TOPIC1[0], as their records lie on RIGHT", bold=True)
    spans = ((150, 250, "1 LEFT", "L"), (410, 120, "2 RIGHT", "R"), (540, 170, "3 LEFT", "L"),
             (720, 120, "4 RIGHT", "R"))  # fmt: skip
    for x, width, name, _ in spans:
        d.text(x + width / 2, 66, name, anchor="middle", colour=PALE)
    d.text(30, 103, "LEFT.TOPIC1", mono=True)
    d.text(30, 153, "TOPIC1", mono=True)
    d.box(150, 80, 250, 36, "0 ........... 30,009", kind="L")
    d.box(540, 80, 170, 36, "30,010 .. 70,019", kind="L")
    d.box(410, 130, 120, 36, "0 .. 4,999", kind="R")
    d.box(720, 130, 120, 36, "5,000 ...", kind="R", dashed=True)
    for x in (405, 535, 715):
        d.line(x, 74, x, 184, colour=SHUT, dashed=True)
    d.text(405, 200, "end 30,010", anchor="middle", size=12, colour=SHUT)
    d.text(535, 200, "end 5,000", anchor="middle", size=12, colour=SHUT)
    d.text(715, 200, "end 70,020", anchor="middle", size=12, colour=SHUT)
    d.text(780, 200, "open", anchor="middle", size=12, colour=PALE)
    d.text(30, 200, "ledger", colour=SHUT)
    d.text(30, 240, "The group's commits: LEFT.TOPIC1 = 12,000 and TOPIC1 = 0. It reads", bold=True)
    d.box(30, 258, 195, 36, "LEFT.TOPIC1 to 30,009", kind="L")
    d.box(245, 258, 165, 36, "TOPIC1 to 4,999", kind="R")
    d.box(430, 258, 195, 36, "LEFT.TOPIC1 to 70,019", kind="L")
    d.box(645, 258, 185, 36, "TOPIC1 from 5,000", kind="R", dashed=True)
    for x in (227, 412, 627):
        d.arrow(x, 276, x + 16, 276)
    d.text(30, 316, "One partition at a time. Between two of them the application sees an "
                    "ordinary rebalance.", size=13, colour=PALE)  # fmt: skip
    return d


def handover() -> Drawing:
    """The position goes from LEFT's owner to RIGHT's owner, pulled by the latter."""
    d = Drawing(860, 400, "The handover: each cluster's commits are made by its own members")
    d.box(60, 24, 250, 36, "LEFT: owner of TOPIC1[0]", kind="L", mono=False)
    d.box(545, 24, 250, 36, "RIGHT: owner of TOPIC1[0]", kind="R", mono=False)
    for x, colour in ((185, LEFT), (670, RIGHT)):
        d.line(x, 60, x, 380, colour=colour)
    d.text(427, 88, "epoch 2 (RIGHT) appears", anchor="middle", bold=True)
    d.arrow(340, 96, 196, 96, PALE)
    d.arrow(515, 96, 659, 96, PALE)
    d.text(200, 128, "stops delivering")
    d.text(200, 150, "runs the application's on_revoke")
    d.text(200, 172, "commits on LEFT with the token (2, LEFT)")
    d.text(655, 150, "reads LEFT's commits:", anchor="end", colour=PALE)
    d.text(655, 168, "not released yet", anchor="end", colour=PALE)
    d.arrow(660, 206, 196, 206)
    d.text(427, 199, "reads LEFT's commits again", anchor="middle")
    d.arrow(196, 238, 660, 238)
    d.text(427, 231, "TOPIC1 = 30,000, released", anchor="middle", mono=True)
    d.text(655, 268, "finds the same records in RIGHT's logs", anchor="end")
    d.text(655, 290, "commits on RIGHT with the token (2, RIGHT):", anchor="end")
    d.text(655, 312, "LEFT.TOPIC1 = 30,010, TOPIC1 = 0", anchor="end", mono=True)
    d.text(655, 340, "calls on_assign, and reads by the gate", anchor="end")
    d.text(200, 366, "A stalled member cannot commit: its group's generation has passed.",
           size=13, colour=PALE)  # fmt: skip
    return d


def replay() -> Drawing:
    """LEFT is gone; the producer writes again what the copy lacks."""
    d = Drawing(860, 350, "The replay: what the copy lacks is written again, before anything new")
    d.text(30, 34, "LEFT is killed while the copy is 3 records behind", bold=True)
    d.text(30, 73, "TOPIC1 on LEFT", mono=True)
    d.text(30, 123, "LEFT.TOPIC1", mono=True)
    copied, sent = 5, 8
    for number in range(sent):
        x = 190 + 60 * number
        gone = number >= copied
        d.box(x, 52, 54, 34, f"r{number}", kind="L", dashed=gone)
        if not gone:
            d.box(x, 102, 54, 34, f"r{number}", kind="L")
    d.line(487, 44, 487, 146, colour=SHUT, dashed=True)
    d.text(497, 124, "end of epoch 1, in the ledger", colour=SHUT, size=13)
    d.text(690, 74, "out of reach", colour=PALE, size=13)
    d.text(30, 188, "The producer's replay buffer: sent and not known to be copied", bold=True)
    for number, name in enumerate(("r5", "r6", "r7")):
        d.box(190 + 60 * number, 202, 54, 34, name, kind="L")
    d.text(390, 223, "then, sent in the meantime:", size=13, colour=PALE)
    d.box(650, 202, 54, 34, "r8")
    d.box(710, 202, 54, 34, "r9")
    for x in (217, 277, 337):
        d.arrow(x, 238, x, 268, RIGHT)
    d.arrow(677, 238, 407, 270, RIGHT)
    d.text(30, 293, "TOPIC1 on RIGHT", mono=True)
    for number, name in enumerate(("r5", "r6", "r7", "r8", "r9")):
        d.box(190 + 60 * number, 272, 54, 34, name, kind="R")
    d.text(190, 330, "r5 to r7 carry the header failover.replay; when LEFT returns, its own r5 "
                     "to r7 are known and skipped.", size=13, colour=PALE)  # fmt: skip
    return d


DRAWINGS: dict[str, Callable[[], Drawing]] = {
    "classic": classic,
    "gate": gate,
    "handover": handover,
    "replay": replay,
}


def main() -> None:
    """Write every picture."""
    IMAGES.mkdir(exist_ok=True)
    for name, draw in DRAWINGS.items():
        (IMAGES / f"{name}.svg").write_text(draw().svg(), encoding="utf-8")


if __name__ == "__main__":
    main()
