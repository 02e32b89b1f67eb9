"""The page that shows the figures: one HTML file beside the pictures, without scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

from neural_style_tf.figures.plan import Figure
from neural_style_tf.figures.texts import TEXTS

# By this a page of ours is known.
MARK = '<meta name="generator" content="neural-style-tf figures">'

_STYLE = """
body { margin: 2rem auto; padding: 0 1rem; max-width: 72rem;
  font: 1.05rem/1.6 system-ui, sans-serif; color: #181818; background: #fff; }
h1 { line-height: 1.2; }
h2 { margin: 3.5rem 0 1rem; line-height: 1.3; }
h2 span { display: block; font-size: 0.8em; font-weight: normal; color: #666; }
img { max-width: 100%; height: auto; }
p { max-width: 46rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.2rem 1rem; }
dt { color: #666; }
dd { margin: 0; overflow-wrap: anywhere; }
"""


def page(
    figures: Iterable[Figure], sizes: Mapping[str, tuple[int, int]], facts: Mapping[str, str]
) -> str:
    """The whole of `index.html`.

    Args:
        figures: those whose sheets are there, as `<name>.png` and `<name>.json`.
        sizes: `{figure's name: width and height of its sheet}`.
        facts: what they were made from, in words.
    """
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        '<meta charset="utf-8">',
        MARK,
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        "<title>Neural style transfer in pictures</title>",
        f"<style>{_STYLE}</style>",
        '<h1>Neural style transfer in pictures <span lang="zh">图说神经风格迁移</span></h1>',
        "<dl>",
        *(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items()),
        "</dl>",
    ]
    for figure in figures:
        width, height = sizes[figure.name]
        text, name = TEXTS[figure.slug], escape(figure.name)
        parts += [
            f'<h2 id="{name}">{figure.number}. {escape(figure.title)}'
            f' <span lang="zh">{escape(text.chinese_heading)}</span></h2>',
            f'<a href="{name}.png"><img src="{name}.png" alt="{escape(figure.title)}" '
            f'width="{width}" height="{height}"></a>',
            f"<p>{escape(text.english)}</p>",
            f'<p lang="zh">{escape(text.chinese)}</p>',
            f'<p><a href="{name}.json">settings and losses '
            '<span lang="zh">设置与损失</span></a></p>',
        ]
    return "\n".join([*parts, "</html>", ""])
