"""Tables: alignment, heading, fitting into a width, Markdown, HTML."""

from arrayinit.common.tables import (
    Column,
    aligned,
    filled,
    fitted,
    heading,
    html_document,
    html_fields,
    html_table,
    line,
    markdown_heading,
    markdown_line,
    markdown_text,
    sized,
    titled,
)

COLUMNS = (Column("name", width=6), Column("size", right=True, width=5), Column())


def test_a_line_is_padded_and_has_no_blanks_at_its_end():
    assert line(("ab", "12", "note"), COLUMNS) == "ab         12  note"
    assert line(("ab", "12", ""), COLUMNS) == "ab         12"
    assert line(("ab", "missing"), COLUMNS) == "ab      missing"
    assert line(("longer than its column", "1", "x"), COLUMNS) == "longer than its column      1  x"


def test_dashes_are_as_long_as_the_table():
    titles, dashes = heading(COLUMNS)
    assert titles == "name     size"
    assert dashes == "-" * (6 + 2 + 5 + 2)
    assert set(heading(COLUMNS, "=")[1]) == {"="}


def test_columns_are_as_wide_as_their_longest_cells():
    rows = [("a", "1", "bcd"), ("abcdefgh", "22", "")]
    assert [column.width for column in sized(COLUMNS, rows)] == [8, 5, 3]
    assert aligned(rows, right=(1,)) == ["a          1  bcd", "abcdefgh  22"]
    assert aligned([]) == []


def test_paths_are_shortened_before_columns_are_left_out():
    columns = [Column("path"), Column("minor", weight=1), Column("major", weight=5), Column("last")]
    rows = [("a.path.with.many.parts.to.a.weight", "minor cell", "major cell", "last")]
    for width in (200, 60, 56, 50, 40, 32, 20):
        kept, cells = fitted(columns, rows, width)
        assert len(line(cells[0], kept)) <= max(width, 18)
    titles = [[column.title for column in fitted(columns, rows, width)[0]] for width in (200, 54, 50, 20)]
    assert titles == [["path", "minor", "major", "last"]] * 2 + [["path", "major", "last"], ["path", "last"]]
    shortened = fitted(columns, rows, 54)[1][0][0]
    assert len(shortened) == 54 - 30
    assert shortened.startswith("a.path")
    assert shortened.endswith("to.a.weight")


def test_markdown_is_escaped():
    columns = (Column("name"), Column("a|b", right=True))
    assert markdown_heading(columns) == ["| name | a\\|b |", "|---|--:|"]
    assert markdown_line(("*x*", "1")) == "| \\*x\\* | 1 |"
    assert markdown_text("- two\nlines") == "\\- two lines"


def test_columns_without_text_are_left_out():
    columns = (Column("name"), Column("empty"), Column("size", right=True))
    rows = [("a", "", "1"), ("bc", "", "")]
    assert [column.title for column in filled(columns, rows)[0]] == ["name", "size"]
    assert titled(columns, rows) == ["name  size", "----------", "a        1", "bc"]
    assert titled(columns, []) == ["name", "----"]


def test_html_is_escaped_and_says_what_it_leaves_out():
    columns = (Column("<name>"), Column("size", right=True))
    rows = [("<b>", "1"), ("&", '"2"'), ("c", "3")]
    shown = html_table(
        columns, rows, "a < b", [("<p>", "k", "t & u"), ("", "", "alone")], [False, True, False], limit=2
    )
    assert '<th>&lt;name&gt;</th>\n<th class="n">size</th>' in shown
    assert '<tr><td>&lt;b&gt;</td><td class="n">1</td></tr>' in shown
    assert '<tr class="bad"><td>&amp;</td><td class="n">&quot;2&quot;</td></tr>' in shown
    assert "<td>c</td>" not in shown
    assert '<td colspan="2">1 more row, which print shows; a &lt; b<ul>' in shown
    assert "<li><code>&lt;p&gt;</code>: <b>k</b>: t &amp; u</li><li>alone</li></ul>" in shown
    assert "tfoot><tr" not in html_table(columns, rows)
    assert html_table(columns, [("x", "1")] * 700, limit=None).count("<td>x</td>") == 700
    assert html_table(columns, [("x", "1")] * 700).count("<td>x</td>") == 500
    page = html_document("a & b", html_fields("<f>", {"x": "<1>"}))
    assert "<title>a &amp; b</title>" in page
    assert "<td>x</td><td>&lt;1&gt;</td>" in page
