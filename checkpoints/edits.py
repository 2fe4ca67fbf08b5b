"""Edits of a picture, each with phrases for it, which the grammar of `checkpoints.tasks` combines. All are Pillow's.

All are such that a small convolutional network can learn them: colour, tone, and what is near a pixel, not where it is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, final

from PIL import Image, ImageChops, ImageEnhance, ImageFilter, ImageOps

Apply = Callable[[Image.Image], Image.Image]
Matrix = tuple[float, ...]

_GREY: Final = (0.299, 0.587, 0.114)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One edit. `words` are seen in training, `unseen` only in tests; with no `words` the edit itself is unseen."""

    name: str
    apply: Apply
    words: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()

    @property
    def held_out(self) -> bool:
        """Whether it occurs in test tasks only."""
        return not self.words


def _filter(picture: Image.Image, *, kind: Any) -> Image.Image:
    return picture.filter(kind)


def _enhance(picture: Image.Image, *, kind: Any, factor: float) -> Image.Image:
    return kind(picture).enhance(factor)


def _grey(picture: Image.Image) -> Image.Image:
    return picture.convert("L").convert("RGB")


def _matrix(picture: Image.Image, *, matrix: Matrix) -> Image.Image:
    return picture.convert("RGB", matrix)


def _scaled(red: float, green: float, blue: float) -> Matrix:
    return (red, 0, 0, 0, 0, green, 0, 0, 0, 0, blue, 0)


def _tinted(picture: Image.Image, *, colour: str, share: float = 0.4) -> Image.Image:
    return Image.blend(picture, Image.new("RGB", picture.size, colour), share)


def _duotone(picture: Image.Image, *, dark: str, light: str) -> Image.Image:
    return ImageOps.colorize(picture.convert("L"), dark, light)


def _gamma(picture: Image.Image, *, power: float) -> Image.Image:
    return picture.point([round(255 * (value / 255) ** power) for value in range(256)] * 3)


def _solarized(picture: Image.Image, *, threshold: int) -> Image.Image:
    return ImageOps.solarize(picture, threshold)


def _posterized(picture: Image.Image, *, bits: int) -> Image.Image:
    return ImageOps.posterize(picture, bits)


def _stencil(picture: Image.Image, *, threshold: int) -> Image.Image:
    return picture.convert("L").point(lambda value: 255 if value >= threshold else 0).convert("RGB")


def _hue(picture: Image.Image, *, turn: int) -> Image.Image:
    hue, saturation, value = picture.convert("HSV").split()
    turned = hue.point([(each + turn) % 256 for each in range(256)])
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")


def _channels(picture: Image.Image, *, order: tuple[int, int, int]) -> Image.Image:
    bands = picture.split()
    return Image.merge("RGB", [bands[index] for index in order])


def _pixelated(picture: Image.Image, *, block: int) -> Image.Image:
    small = picture.resize((picture.width // block, picture.height // block), Image.Resampling.BOX)
    return small.resize(picture.size, Image.Resampling.NEAREST)


def _sketch(picture: Image.Image, *, radius: float) -> Image.Image:
    """Divide the grey picture by a blurred copy of itself ("colour dodge"): flat parts become white paper."""
    grey = picture.convert("L")
    paper = grey.filter(ImageFilter.GaussianBlur(radius))
    return Image.frombytes("L", grey.size, _divided(grey.tobytes(), paper.tobytes())).convert("RGB")


def _divided(above: bytes, below: bytes) -> bytes:
    return bytes(min(255, 255 * left // max(1, right)) for left, right in zip(above, below, strict=True))


def _glow(picture: Image.Image, *, radius: float) -> Image.Image:
    return ImageChops.screen(picture, picture.filter(ImageFilter.GaussianBlur(radius)))


def _high_pass(picture: Image.Image, *, radius: float) -> Image.Image:
    return ImageChops.subtract(picture, picture.filter(ImageFilter.GaussianBlur(radius)), 0.5, 128)


def _chained(picture: Image.Image, *, steps: tuple[Apply, ...]) -> Image.Image:
    for step in steps:
        picture = step(picture)
    return picture


def _with_itself(picture: Image.Image, *, kind: Any) -> Image.Image:
    return kind(picture, picture)


def _smeared(picture: Image.Image, *, rows: bool) -> Image.Image:
    kernel = [float((index // 5 if rows else index % 5) == 2) for index in range(25)]
    return picture.filter(ImageFilter.Kernel((5, 5), kernel))


def _equalized(picture: Image.Image) -> Image.Image:
    return ImageOps.equalize(picture)


def _stretched(picture: Image.Image) -> Image.Image:
    return ImageOps.autocontrast(picture, cutoff=5)


def _edit(name: str, apply: Callable[..., Image.Image], words: str, unseen: str = "", **options: Any) -> Edit:
    """Return an edit; phrases are separated by bars."""
    split = (tuple(text.strip() for text in phrases.split("|") if text.strip()) for phrases in (words, unseen))
    return Edit(name=name, apply=partial(apply, **options) if options else apply, words=next(split), unseen=next(split))


_BLUR, _COLOUR, _LIGHT, _CONTRAST = (
    ImageFilter.GaussianBlur,
    ImageEnhance.Color,
    ImageEnhance.Brightness,
    ImageEnhance.Contrast,
)
_SEPIA: Final = partial(_matrix, matrix=(0.393, 0.769, 0.189, 0, 0.349, 0.686, 0.168, 0, 0.272, 0.534, 0.131, 0))
_OUTLINES: Final = partial(_filter, kind=ImageFilter.FIND_EDGES)

_FOCUS: Final = (
    _edit("blur-slight", _filter, "slight blur|a little soft focus", kind=_BLUR(0.7)),
    _edit("blur", _filter, "blur|soft focus|gaussian blur", "out-of-focus look|defocused", kind=_BLUR(1.3)),
    _edit("blur-strong", _filter, "strong blur|very soft focus|heavy gaussian blur", kind=_BLUR(2.5)),
    _edit("smear-rows", _smeared, "horizontal motion blur|sideways smear", "speed streaks", rows=True),
    _edit("smear-columns", _smeared, "vertical motion blur|downward smear", rows=False),
    _edit("median", _filter, "median smoothing|remove the noise", "denoised", kind=ImageFilter.MedianFilter(3)),
    _edit(
        "paint", _filter, "oil painting|painterly patches", "brush strokes on canvas", kind=ImageFilter.ModeFilter(5)
    ),
    _edit("sharpen", _filter, "sharpen|crisp details", "razor clarity", kind=ImageFilter.UnsharpMask(1, 150, 0)),
    _edit("sharpen-strong", _filter, "strong sharpening|oversharpened", kind=ImageFilter.UnsharpMask(2, 400, 0)),
    _edit("edges-enhanced", _filter, "enhanced edges|stronger edges", kind=ImageFilter.EDGE_ENHANCE_MORE),
    _edit("glow", _glow, "glow|bloom of light", "radiant halo", radius=1.5),
    _edit("high-pass", _high_pass, "high pass filter|only the fine details on grey", radius=1.5),
    _edit("dilate", _filter, "dilate|thicken the bright parts", kind=ImageFilter.MaxFilter(3)),
    _edit("erode", _filter, "erode|thicken the dark parts", "swollen shadows", kind=ImageFilter.MinFilter(3)),
    _edit("pixelate-2", _pixelated, "small pixel blocks|fine mosaic", block=2),
    _edit("pixelate-4", _pixelated, "pixelate|large pixel blocks|coarse mosaic", "8-bit game look", block=4),
)
_DRAWING: Final = (
    _edit("outlines", _OUTLINES, "edge map|bright outlines on black", "glowing wireframe"),
    _edit("contours", _filter, "contour drawing|coloured outlines on white", kind=ImageFilter.CONTOUR),
    _edit("sketch", _sketch, "pencil sketch|graphite drawing", "charcoal scribble", radius=1.5),
    _edit("sketch-soft", _sketch, "soft pencil sketch|shaded graphite drawing", radius=3.0),
    _edit("emboss", _filter, "emboss|stamped relief", "chiselled stone", kind=ImageFilter.EMBOSS),
    _edit("stencil", _stencil, "stencil|pure black and pure white", "woodcut print", threshold=128),
    _edit("stencil-dark", _stencil, "dark stencil|mostly black silhouette", threshold=176),
)
_TONE: Final = (
    _edit("brighten", _enhance, "brighten|lighter", "overexposed", kind=_LIGHT, factor=1.4),
    _edit("brighten-strong", _enhance, "brighten a lot|much lighter", kind=_LIGHT, factor=1.9),
    _edit("darken", _enhance, "darken|dimmer", "underexposed", kind=_LIGHT, factor=0.65),
    _edit("darken-strong", _enhance, "darken a lot|much dimmer", kind=_LIGHT, factor=0.35),
    _edit("contrast", _enhance, "more contrast|punchy contrast", "dramatic tones", kind=_CONTRAST, factor=1.6),
    _edit("contrast-strong", _enhance, "extreme contrast|very harsh contrast", kind=_CONTRAST, factor=2.8),
    _edit("faded", _enhance, "less contrast|faded", "washed-out print", kind=_CONTRAST, factor=0.45),
    _edit("haze", _tinted, "white haze|light fog", "misty morning", colour="white", share=0.45),
    _edit("shadow", _gamma, "deep shadows|higher gamma", power=2.0),
    _edit("lifted", _gamma, "lifted shadows|lower gamma", power=0.5),
    _edit("equalize", _equalized, "equalize the histogram|evenly spread tones"),
    _edit("stretch", _stretched, "stretch the levels|automatic contrast", "normalised exposure"),
    _edit("soft-light", _with_itself, "soft light on itself|gentle studio light", kind=ImageChops.soft_light),
    _edit("hard-light", _with_itself, "hard light on itself|stark stage light", kind=ImageChops.hard_light),
    _edit("invert", ImageOps.invert, "invert|photo negative", "x-ray film"),
    _edit("solarize", _solarized, "solarize|inverted highlights", "darkroom accident", threshold=128),
    _edit("solarize-low", _solarized, "strong solarize|all but the shadows inverted", threshold=64),
    _edit("posterize-1", _posterized, "two levels for each channel|pure primary colours", bits=1),
    _edit("posterize-2", _posterized, "posterize|few flat colours", "screen-printed poster", bits=2),
)
_TINTS: Final = ("red", "green", "blue", "yellow", "purple", "orange")
_COLOURS: Final = (
    _edit("grey", _grey, "grayscale|black and white", "monochrome|colourless"),
    _edit("vivid", _enhance, "vivid colours|more saturation", "candy-bright hues", kind=_COLOUR, factor=2.2),
    _edit("muted", _enhance, "muted colours|less saturation", "pastel restraint", kind=_COLOUR, factor=0.4),
    _edit("warm", _matrix, "warm tint|golden light", "sunset mood", matrix=_scaled(1.2, 1.0, 0.7)),
    _edit("cool", _matrix, "cool tint|cold light", "icy winter mood", matrix=_scaled(0.75, 0.95, 1.25)),
    *(
        _edit(f"tint-{each}", _tinted, f"{each} tint|a wash of {each}", f"{each}ish cast", colour=each)
        for each in _TINTS
    ),
    _edit("duotone-navy", _duotone, "navy and cream duotone|two tones, navy to cream", dark="#101a4d", light="#fff4d6"),
    _edit("duotone-wine", _duotone, "wine and pink duotone|two tones, wine to pink", dark="#3d0a1e", light="#ffc9d6"),
    _edit(
        "duotone-forest", _duotone, "forest and lime duotone|two tones, forest to lime", dark="#0b2e13", light="#d9ff8a"
    ),
    _edit("hue-third", _hue, "turn the hues by a third|colours moved towards green", turn=85),
    _edit("hue-half", _hue, "opposite hues|complementary colours", "clashing palette", turn=128),
    _edit("hue-back", _hue, "turn the hues back by a third|colours moved towards blue", turn=170),
    _edit("swap-red-blue", _channels, "swap red and blue|red becomes blue", order=(2, 1, 0)),
    _edit("swap-red-green", _channels, "swap red and green|red becomes green", order=(1, 0, 2)),
    _edit("swap-green-blue", _channels, "swap green and blue|green becomes blue", order=(0, 2, 1)),
    _edit("only-red", _channels, "only the red channel|red light in grey", order=(0, 0, 0)),
    _edit("only-blue", _channels, "only the blue channel|blue light in grey", order=(2, 2, 2)),
)
_HELD_OUT: Final = (
    _edit("sepia", _SEPIA, "", "sepia|sepia toned|antique brown photograph"),
    _edit(
        "chalk", _chained, "", "chalkboard|white chalk strokes", steps=(partial(_sketch, radius=1.5), ImageOps.invert)
    ),
    _edit(
        "neon",
        _chained,
        "",
        "neon signs|fluorescent tubes",
        steps=(_OUTLINES, partial(_enhance, kind=_COLOUR, factor=3.0), partial(_enhance, kind=_LIGHT, factor=1.6)),
    ),
    _edit("night", _matrix, "", "moonlit night|midnight scene", matrix=_scaled(0.3, 0.4, 0.65)),
    _edit("teal", _tinted, "", "teal cast|turquoise veil", colour="teal"),
    _edit("cyanotype", _duotone, "", "cyanotype|architect's blueprint", dark="#0a2a66", light="#e8f4ff"),
    _edit(
        "vintage",
        _chained,
        "",
        "vintage snapshot|retro film from the seventies",
        steps=(_SEPIA, partial(_enhance, kind=_CONTRAST, factor=0.6)),
    ),
    _edit(
        "dream",
        _chained,
        "",
        "dreamy memory|ethereal dreamscape",
        steps=(partial(_glow, radius=2.5), partial(_enhance, kind=_COLOUR, factor=0.6)),
    ),
    _edit(
        "comic",
        _chained,
        "",
        "comic book|cartoon panel",
        steps=(
            partial(_filter, kind=ImageFilter.EDGE_ENHANCE_MORE),
            partial(_posterized, bits=2),
            partial(_enhance, kind=_COLOUR, factor=1.8),
        ),
    ),
)

EDITS: Final = {edit.name: edit for edit in (*_FOCUS, *_DRAWING, *_TONE, *_COLOURS, *_HELD_OUT)}
"""All edits by name. Published zoos refer to these names, so a name never changes its meaning."""
