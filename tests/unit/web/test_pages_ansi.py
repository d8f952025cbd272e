"""Terminal output as HTML: nothing of it becomes markup, colours do."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cronq.web.pages.ansi import PLAIN, Style, finished_length, plain, render

SPAN = re.compile(r"</span>|<span class=\"[a-z0-9 -]+\">")


def html(text: str) -> str:
    return str(render(text)[0])


def test_markup_in_output_is_escaped() -> None:
    assert html("<script>alert('x')</script> &amp;") == (
        "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp;amp;"
    )


@pytest.mark.parametrize(
    ("code", "classes"),
    [
        ("31", "fg1"),
        ("1;91", "bold fg9"),
        ("42;30", "fg0 bg2"),
        ("103", "bg11"),
        ("2;3;4", "dim italic underline"),
        ("7", "fg-page bg-text"),
        ("7;31;44", "fg4 bg1"),
        ("38;5;9", "fg9"),
        ("48;5;3", "bg3"),
        ("38:5:1", "fg1"),
    ],
)
def test_colours_become_classes(code: str, classes: str) -> None:
    assert html(f"\x1b[{code}mred\x1b[0m.") == f'<span class="{classes}">red</span>.'


@pytest.mark.parametrize("code", ["31m<b>", "1,31", "\u0663\u0661", "1" * 101])
def test_what_is_no_code_changes_nothing(code: str) -> None:
    assert PLAIN.after(code) == PLAIN


@pytest.mark.parametrize(
    "code", ["", "0", "0;0", "39;49", "22;24", "38;5;200", "38;2;1;2;3", "999", ";;", "8"]
)
def test_codes_without_an_equal_leave_plain_text(code: str) -> None:
    assert html(f"\x1b[{code}mtext") == "text"


@pytest.mark.parametrize(
    ("begun", "ending", "left"),
    [("1;31", "22", "fg1"), ("1;31", "39", "bold"), ("31;44", "49", "fg1"), ("4;7", "27", "underline")],
)
def test_codes_end_what_they_name(begun: str, ending: str, left: str) -> None:
    assert PLAIN.after(begun).after(ending).classes == left


def test_a_style_goes_on_in_the_next_piece() -> None:
    first, style = render("\x1b[1;31mone")
    second, after = render("two\x1b[0m three", PLAIN.after(style.code))
    assert first == '<span class="bold fg1">one</span>'
    assert second == '<span class="bold fg1">two</span> three'
    assert after == PLAIN


@pytest.mark.parametrize(
    "number", [*range(30, 38), *range(40, 48), *range(90, 98), *range(100, 108), 1, 2, 3, 4, 7]
)
def test_the_code_of_a_style_makes_it_again(number: int) -> None:
    style = Style(foreground=3).after(str(number))
    assert PLAIN.after(style.code) == style


@pytest.mark.parametrize(
    ("sequence", "shown"),
    [
        ("\x1b]0;x\x07", "^[]0;x^G"),
        ("\x1b[5i", "^[[5i"),
        ("\x08", "^H"),
        ("\x7f", "^?"),
        ("\x9b31m", "⟨U+009B⟩31m"),
        ("\u202e", "⟨U+202E⟩"),
        ("\u2066", "⟨U+2066⟩"),
        ("\u200b", "⟨U+200B⟩"),
        ("\x1b[" + "1;" * 60 + "m", "^[[" + "1;" * 60 + "m"),
    ],
)
def test_other_controls_are_shown_and_not_obeyed(sequence: str, shown: str) -> None:
    assert re.sub(r"</?span[^>]*>", "", html(sequence)) == shown


def test_cursor_movements_are_left_out() -> None:
    assert html("a\x1b[2K\x1b[1G\x1b[?25lb") == "ab"


def test_each_version_of_an_overwritten_line_has_a_line() -> None:
    assert html("10%\r20%\r\ndone\r\n") == '10%<span class="control">^M</span>\n20%\ndone\n'


def test_lines_and_tabs_stay() -> None:
    assert html("a\tb\n") == "a\tb\n"


def test_plain_text_has_no_colours_left() -> None:
    assert plain("\x1b[31mdead\x1b[0mlock\x1b[K\n") == "deadlock\n"


@given(st.text(alphabet=st.sampled_from("\x1b[]0;1m37Kx<>&\"'\r\n\t\x07\u202e{}"), max_size=80))
def test_only_our_spans_come_out_and_all_are_closed(text: str) -> None:
    rendered = html(text)
    rest = SPAN.sub("", rendered)
    assert not set(rest) & set("<>\"'\x1b\x07\u202e")
    assert rendered.count("<span") == rendered.count("</span>")


@given(st.text(max_size=30), st.binary(max_size=4))
def test_no_piece_ends_within_a_character(text: str, rest: bytes) -> None:
    data = text.encode() + rest
    length = finished_length(data)
    assert len(data) - 44 <= length <= len(data)
    for cut in range(len(text.encode()) + 1):
        text.encode()[: finished_length(text.encode()[:cut])].decode()


@pytest.mark.parametrize(
    ("data", "length"),
    [
        (b"", 0),
        (b"abc", 3),
        ("aé".encode()[:-1], 1),
        ("a€".encode()[:-1], 1),
        ("a😀".encode()[:-1], 1),
        ("a😀".encode(), 5),
        (b"a\x1b", 1),
        (b"a\x1b[1;3", 1),
        (b"a\x1b[1m", 5),
        (b"10%\r", 3),
        (b"\xff\xff", 2),
        (b"a\x80\x80\x80\x80\x80", 6),
    ],
)
def test_torn_ends_wait_for_their_rest(data: bytes, length: int) -> None:
    assert finished_length(data) == length
