"""HTML pages as their titles, tables and texts."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """Reads a page, and fails where its elements are not nested."""

    def __init__(self, html):
        super().__init__()
        self.open, self.sections, self.tips, self.texts, self.tags = [], {}, [], [], []
        self._title, self._row = "", None
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag != "meta":
            self.open.append(tag)
        if tag == "tr":
            self._row = []
            self.sections.setdefault(self._title, []).append(self._row)
        if tag in ("td", "th"):
            self._row.append("")

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h1", "h2"):
            self._title = data
        elif self.open and self.open[-1] in ("td", "th"):
            self._row[-1] += data
        if self.open and self.open[-1] == "title":
            self.tips.append(data)
        elif self.open and self.open[-1] not in ("style", "script"):
            self.texts.append(data)

    def tile(self, name):
        return self.texts[self.texts.index(name) + 1]
