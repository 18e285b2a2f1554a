"""The looks of all pictures: a colour and a line of its own for each norm, and the theme."""

from pathlib import Path
from typing import NamedTuple

import matplotlib

from coursepack import threads
from coursepack.files import Later
from coursepack.runs.recipes import norm_name

font_manager, style = Later("matplotlib.font_manager"), Later("matplotlib.style")


class Look(NamedTuple):
    short: str
    colour: str
    line: str | tuple  # matplotlib's style


STYLES = {  # Okabe and Ito's colours, which colour-blind people can tell apart, and a line for each
    "batch": ("#0072B2", "-"),
    "group": ("#D55E00", "--"),
    "layer": ("#009E73", "-."),
    "instance": ("#CC79A7", ":"),
    "rms": ("#E69F00", (0, (6, 1, 1, 1, 1, 1))),
    "none": ("#555555", (0, (1, 3))),
}
FALLBACKS = (  # fonts for what the first one has no letters of, each where it is installed
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC", "PingFang SC",
    "Hiragino Sans GB", "Microsoft YaHei", "SimHei", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei",
    "Malgun Gothic", "Droid Sans Fallback", "Noto Sans Arabic", "Noto Sans Hebrew",
    "Noto Sans Devanagari", "Noto Sans Thai", "Nirmala UI", "Segoe UI", "Arial Unicode MS",
    "Unifont")
LOOKS = {norm: Look(norm_name(norm), *style) for norm, style in STYLES.items()}


def set_up() -> None:
    """What a process needs before its first tensor (see threads) and its first figure: the theme.

    Importing a module of the course changes nothing in the process; this does, once.
    """
    threads.set_up_torch()
    there = {*font_manager.get_font_names()}
    style.use(Path(__file__).with_name("course.mplstyle"))
    matplotlib.rcParams["font.family"] = ["sans-serif",
                                          *(font for font in FALLBACKS if font in there)]
