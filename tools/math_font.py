"""Make the font of the book's formulas, book/_ext/static/vt-math.woff2, from STIX Two Math.

    pip install fonttools brotli
    python tools/math_font.py stix-two-math-latin-400-normal.woff2

The source is in the npm package @fontsource/stix-two-math. What is kept: the letters and signs of
ordinary mathematics, their upright, italic, bold and double-struck forms, and taller brackets.

Browsers keep room for the widest of a sign's tall forms wherever the sign stands, which leaves a
hole after every root and bracket. So tall forms are drawn no wider than ``WIDER`` allows.
"""

import sys
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

TARGET = Path(__file__).resolve().parents[1] / "book" / "_ext" / "static" / "vt-math.woff2"
RANGES = [
    (0x20, 0x7E), (0x391, 0x3C9),  # ASCII, Greek
    (0x1D400, 0x1D467), (0x1D6E2, 0x1D71B),  # bold and italic Latin, italic Greek
]  # fmt: skip
SIGNS = (
    "\N{NO-BREAK SPACE}±×÷·¬°ϑϕϖϱϵℎℓℒ′″…⋯⋮⋱←↑→↓↔↦⇐⇒⇔∀∂∃∅∇∈∉∋∏∑−∓∗∘√∝∞∥∣∧∨∩∪∫≈≠≡≤≥≪≫⊂⊆⊕⊖⊗⊙⊤⊥⋅⌈⌉⌊⌋⟨⟩"
    "⏞⏟‖ˆ˜ˉ¯ˇ˙⃗■□ℂℍℕℙℚℝℤ𝔼𝔸𝔹𝔻𝔽𝔾𝕀𝕁𝕂𝕃𝕄𝕆𝕊𝕋𝕌𝕍𝕎𝕏𝕐𝟙"
)
TALL = 6  # forms of each sign, up to some 2.4 times the height of a line
WIDER = {"radical": 1.0}  # times the sign's own width; a root's bar would begin too late
OTHERWISE = 1.2


def part_of(source: str) -> TTFont:
    """The font with what formulas need, and nothing that only other programs read."""
    options = subset.Options(layout_features=["ssty"], hinting=False, notdef_outline=True)
    options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 13, 14]  # with copyright and licence
    options.drop_tables += ["GPOS"]
    font = subset.load_font(source, options)
    shorten(font["MATH"].table.MathVariants)  # before: what it names is kept
    subsetter = subset.Subsetter(options)
    text = "".join(chr(code) for low, high in RANGES for code in range(low, high + 1))
    subsetter.populate(text=text + SIGNS)
    subsetter.subset(font)
    return font


def shorten(variants) -> None:
    """Keep the first tall forms of each sign."""
    for construction in variants.VertGlyphConstruction:
        del construction.MathGlyphVariantRecord[TALL:]


def narrow(font: TTFont) -> None:
    """Draw tall forms no wider than they may be."""
    variants, widths = font["MATH"].table.MathVariants, font["hmtx"]
    for sign, construction in zip(
        variants.VertGlyphCoverage.glyphs, variants.VertGlyphConstruction, strict=True
    ):
        most = round(widths[sign][0] * WIDER.get(sign, OTHERWISE))
        forms = [record.VariantGlyph for record in construction.MathGlyphVariantRecord]
        if construction.GlyphAssembly:
            forms += [part.glyph for part in construction.GlyphAssembly.PartRecords]
        for form in forms:
            width, left = widths[form]
            if width > most:
                scale = most / width
                glyph = font["glyf"][form]
                glyph.coordinates.scale((scale, 1))
                glyph.coordinates.toInt()
                glyph.recalcBounds(font["glyf"])
                widths[form] = (most, round(left * scale))


def main() -> None:
    font = part_of(sys.argv[1])
    narrow(font)
    font.flavor = "woff2"
    font.save(TARGET)
    print(f"{TARGET.name}: {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
