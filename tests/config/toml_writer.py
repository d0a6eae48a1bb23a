"""Writes random TOML and remembers where each key and element was put: the oracle of the places' tests."""

from __future__ import annotations

from hypothesis import strategies as st

ODD = "a#=.]}[{,' \t-\\\"é\U0001f600"

blanks = st.sampled_from(["", " ", "\t", "  "])
comments = st.sampled_from(["", "", " # a = [1", '# "" \'\'\' """', "#é\U0001f600"])
basic = st.text(st.sampled_from(ODD), max_size=6)
scalars = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(str),
    st.floats(allow_nan=False).map(lambda x: f"{x:.3f}" if abs(x) < 1e9 else "inf"),
    st.sampled_from(["true", "false", "1979-05-27T07:32:00Z", "07:32:00", "0xdead_beef", "1_000", "+1e6", "nan"]),
    basic.map(lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t") + '"'),
    basic.map(lambda text: "'" + text.replace("'", "") + "'"),
)
long_text = st.text(st.sampled_from(ODD + "\n\n"), max_size=12)
long_texts = st.one_of(
    long_text.map(lambda text: '"""' + text.replace("\\", "\\\\").replace('""', '"\\"') + '\n"""'),
    long_text.map(lambda text: '"""\n' + text.replace("\\", "\\\\").replace('"', '\\"') + '"" """'),
    long_text.map(lambda text: "'''" + text.replace("'", "’") + "'''"),
    st.just("'''\n'a' ''b'''''"),
    st.just('"""\n"a" ""b\\""""""'),
)


class Writer:
    """`text` so far, and `expected`: path to (line, column)."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.text = ""
        self.expected: dict[tuple[str | int, ...], tuple[int, int]] = {}
        self._draw = draw
        self._number = 0

    def put(self, text: str) -> None:
        self.text += text

    def here(self) -> tuple[int, int]:
        return self.text.count("\n") + 1, len(self.text) - self.text.rfind("\n")

    def key(self) -> tuple[str, str]:
        """A key nobody has used, as it is written and as it is read."""
        self._number += 1
        style = self._draw(st.sampled_from(["bare", "basic", "literal", "escaped"]))
        odd = "" if style == "bare" else self._draw(st.text(st.sampled_from("a#=.]} -"), max_size=4))
        name = f"k{self._number}{odd}"
        if style == "escaped":
            return f'"{name}\\u00e9\\""', name + 'é"'
        quote = {"bare": "", "basic": '"', "literal": "'"}[style]
        return quote + name + quote, name

    def pairs(self, table: tuple[str | int, ...], most: int = 3) -> None:
        for _ in range(self._draw(st.integers(0, most))):
            self.noise()
            self.put(self._draw(blanks))
            self.pair(table, 0)
            self.put(self._draw(blanks) + self._draw(comments) + "\n")

    def noise(self) -> None:
        for _ in range(self._draw(st.integers(0, 2))):
            self.put(self._draw(blanks) + self._draw(comments) + "\n")

    def pair(self, table: tuple[str | int, ...], depth: int) -> None:
        """`a.b = value`; the key's parts are all at where the key begins."""
        here = self.here()
        parts = [self.key() for _ in range(self._draw(st.integers(1, 3)))]
        self.put(self._draw(st.sampled_from([".", " . "])).join(written for written, _ in parts))
        path = table
        for _, name in parts:
            path = (*path, name)
            self.expected[path] = here
        self.put(self._draw(blanks) + "=" + self._draw(blanks))
        self.value(path, depth)

    def value(self, path: tuple[str | int, ...], depth: int) -> None:
        kinds = ["scalar", "scalar", "long"] + (["array", "inline"] if depth < 3 else [])
        match self._draw(st.sampled_from(kinds)):
            case "scalar":
                self.put(self._draw(scalars))
            case "long":
                self.put(self._draw(long_texts))
            case "array":
                self.array(path, depth)
            case "inline":
                self.inline(path, depth)

    def array(self, path: tuple[str | int, ...], depth: int) -> None:
        self.put("[")
        count = self._draw(st.integers(0, 3))
        for i in range(count):
            self.break_line()
            self.expected[*path, i] = self.here()
            self.value((*path, i), depth + 1)
            self.break_line()
            if i < count - 1 or self._draw(st.booleans()):
                self.put(",")
        self.break_line()
        self.put("]")

    def break_line(self) -> None:
        if self._draw(st.booleans()):
            self.put(self._draw(comments) + "\n")
        self.put(self._draw(blanks))

    def inline(self, path: tuple[str | int, ...], depth: int) -> None:
        self.put("{" + self._draw(blanks))
        for i in range(self._draw(st.integers(0, 3))):
            self.put(("," if i else "") + self._draw(blanks))
            self.pair(path, depth + 1)
            self.put(self._draw(blanks))
        self.put("}")

    def header(self, opening: str, closing: str, names: list[tuple[str, str]]) -> tuple[int, int]:
        """`[ a . b ]`; where its key begins."""
        self.noise()
        self.put(self._draw(blanks) + opening + self._draw(blanks))
        here = self.here()
        self.put(self._draw(st.sampled_from([".", " . "])).join(written for written, _ in names))
        self.put(self._draw(blanks) + closing + self._draw(blanks) + self._draw(comments) + "\n")
        return here


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[tuple[str | int, ...], tuple[int, int]]]:
    """A TOML text, and for each of its paths line and column."""
    writer = Writer(draw)
    writer.pairs(())
    lengths: dict[str, int] = {}
    for _ in range(draw(st.integers(0, 5))):
        if draw(st.booleans()):
            _table(writer, draw)
        else:
            _list_of_tables(writer, draw, lengths)
    writer.noise()
    return writer.text, writer.expected


def _table(writer: Writer, draw: st.DrawFn) -> None:
    names = [writer.key() for _ in range(draw(st.integers(1, 2)))]
    here = writer.header("[", "]", names)
    path: tuple[str | int, ...] = ()
    for _, name in names:
        path = (*path, name)
        writer.expected[path] = here
    writer.pairs(path)


def _list_of_tables(writer: Writer, draw: st.DrawFn, lengths: dict[str, int]) -> None:
    name = draw(st.sampled_from(["rule", "source"]))
    here = writer.header("[[", "]]", [(name, name)])
    index = lengths.get(name, 0)
    lengths[name] = index + 1
    writer.expected.setdefault((name,), here)
    writer.expected[name, index] = here
    writer.pairs((name, index))
    if draw(st.booleans()):
        written, below = writer.key()
        here = writer.header("[", "]", [(name, name), (written, below)])
        writer.expected[name, index, below] = here
        writer.pairs((name, index, below))
