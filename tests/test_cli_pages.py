"""Pages of the documentation, and the blocks of code in them."""

import pytest

from stageplan.cli.pages import Block, split_command, split_page

PAGE = """\
# Title

Text.

```console torch transformers status=1
$ stageplan plan net \\
    --json
a line
$ stageplan info
```

```toml
# net.toml
name = "net"
```

```toml
name = "part of a file"
```
end
"""


def test_a_page_is_split_into_text_and_blocks():
    text, console, _, file, _, part, end = split_page(PAGE)
    assert text == "# Title\n\nText.\n\n"
    assert console == Block(
        "console",
        ("torch", "transformers"),
        1,
        "$ stageplan plan net \\\n    --json\na line\n$ stageplan info\n",
    )
    assert (file.file, part.file, console.file) == ("net.toml", None, None)
    assert file.code == '# net.toml\nname = "net"\n'
    assert end == "\nend\n"


def test_a_console_has_commands_with_what_they_print():
    _, console, *_ = split_page(PAGE)
    assert list(console.commands()) == [
        ("stageplan plan net \\\n    --json", "a line\n"),
        ("stageplan info", ""),
    ]


@pytest.mark.parametrize(
    ("command", "words", "file"),
    [
        ("stageplan plan net \\\n  --json # why", ["stageplan", "plan", "net", "--json"], None),
        ("stageplan sweep --example > 'a b.toml'", ["stageplan", "sweep", "--example"], "a b.toml"),
    ],
)
def test_a_command_is_split_into_words(command, words, file):
    assert split_command(command) == (words, file)
