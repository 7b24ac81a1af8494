"""Drawing in SVG."""

from xml.etree import ElementTree

from stageplan.report.svg import Picture, escape, shorten


def drawn(picture):
    return ElementTree.fromstring(str(picture))


def test_markup_and_control_characters_are_escaped():
    assert escape("<b>&\"'\x00\u202e") == "&lt;b&gt;&amp;&quot;&#x27;\\u0000\\u202e"


def test_long_texts_lose_their_end():
    assert (shorten("abcdef", 6), shorten("abcdefg", 6)) == ("abcdef", "abcde…")


def test_places_along_x_are_fractions_and_along_y_pixels():
    picture = Picture(50, "label")
    picture.rect(0.25, 10, 0.5, 20, "t0", "tip")
    svg = drawn(picture)
    assert (svg.get("width"), svg.get("height"), svg.get("aria-label")) == ("100%", "50", "label")
    (rect,) = svg
    assert [rect.get(name) for name in ("x", "y", "width", "height")] == ["25%", "10", "50%", "20"]
    assert rect.find("title").text == "tip"


def test_no_width_is_negative():
    picture = Picture(50, "label")
    picture.rect(0.25, 10, -1e-17, 20, "t0")
    assert drawn(picture)[0].get("width") == "0%"


def test_the_longest_text_that_fits_is_written_by_the_width_of_the_picture():
    picture = Picture(50, "label")
    picture.fitting(0.5, 10, 0.11, ["nine long", "four"], "on")
    assert [(text.text, text.get("class")) for text in drawn(picture)] == [
        ("four", "on level w0"),
        ("nine long", "on level w1 w2"),
    ]


def test_a_text_that_fits_everywhere_has_no_level():
    picture = Picture(50, "label")
    picture.fitting(0.5, 10, 0.5, ["nine long", "four"], "on")
    assert [(text.text, text.get("class")) for text in drawn(picture)] == [("nine long", "on")]


def test_of_a_name_at_the_left_a_narrow_picture_shows_the_begin():
    picture = Picture(50, "label")
    picture.heading(10, "a name of many letters that is long")
    assert [(text.text, text.get("class")) for text in drawn(picture)] == [
        ("a name of many letter…", "brief"),
        ("a name of many letters that is long", "full"),
    ]


def test_a_text_that_fits_nowhere_is_left_out():
    picture = Picture(50, "label")
    picture.fitting(0.5, 10, 0.001, ["text"])
    assert len(drawn(picture)) == 0


def test_lines_between_points_are_scaled_alone():
    picture = Picture(50, "label")
    picture.path([(0.0, 50), (1.0, 0)], "main")
    (inner,) = drawn(picture)
    assert inner.get("viewBox") == "0 0 1000 50"
    assert inner.get("preserveAspectRatio") == "none"
    assert inner[0].get("d") == "M0 50L1000 0"
