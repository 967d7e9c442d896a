"""Growth curves as SVG."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from benchmarks.plot import Curve, draw

_SVG = "{http://www.w3.org/2000/svg}"


def test_every_point_is_drawn_and_labelled() -> None:
    """A curve has a dot, its place and its value for each point; text is escaped."""
    points = [(1000, 900.0), (1_000_000, 850.0)]
    curves = [
        Curve("Sagas a second", "sagas in the store", points),
        Curve("Less < more", "replicas", [(1, 0.0)]),
    ]
    root = ET.fromstring(draw(curves, "On two cores."))
    texts = [element.text for element in root.iter(f"{_SVG}text")]
    assert len(list(root.iter(f"{_SVG}circle"))) == 3
    assert {"1k", "1M", "900", "850", "Less < more", "On two cores."} <= {*texts}
    assert "sagas in the store (logarithmic)" in texts


def test_the_higher_value_is_higher() -> None:
    """Values go up from 0, places to the right by their logarithm."""
    curve = Curve("a", "b", [(1, 10.0), (10, 20.0), (100, 20.0)])
    root = ET.fromstring(draw([curve], ""))
    dots = [
        (float(d.get("cx", 0)), float(d.get("cy", 0)))
        for d in root.iter(f"{_SVG}circle")
    ]
    (first, low), (second, high), (third, same) = dots
    assert low > high == same
    assert round(second - first, 1) == round(third - second, 1) > 0


def test_ranges_and_even_places() -> None:
    """Where a figure spreads is drawn; what does not grow by factors starts at 0."""
    curve = Curve("a", "minutes", [(0, 5.0), (1, 6.0), (2, 5.0)], [(4, 6)] * 3, False)
    root = ET.fromstring(draw([curve], ""))
    dots = [float(dot.get("cx", 0)) for dot in root.iter(f"{_SVG}circle")]
    assert dots[1] - dots[0] == dots[2] - dots[1] > 0
    kinds = [path.get("class") for path in root.iter(f"{_SVG}path")]
    assert kinds.count("range") == 3
