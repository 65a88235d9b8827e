"""The printed book: contents, and links that stay inside it."""

import shutil

import pdf
import pytest
from pypdf import PdfReader

pytestmark = [pytest.mark.browser]


def test_pages_are_bound_with_contents_and_working_links(tmp_path):
    if not any(map(shutil.which, pdf.BROWSERS)):
        pytest.skip("no Chromium on this machine: nothing is printed")
    names = [path.stem for path in pdf.chapters()[4:6]]
    assert all((pdf.PAGES / f"book/{name}.html").exists() for name in names), "run `make book`"
    address = pdf.print_pages(names, tmp_path)
    pdf.bind(names, tmp_path, address)
    book = PdfReader(tmp_path / pdf.BOOK)
    assert len(book.pages) == sum(len(PdfReader(tmp_path / f"{n}.pdf").pages) for n in names)
    bookmarks = [item for item in book.outline if not isinstance(item, list)]
    assert [item.title for item in bookmarks] == [pdf.title(name) for name in names]
    links = [link.get_object() for page in book.pages for link in page.get("/Annots", ())]
    inside = [link["/A"] for link in links if link.get("/A", {}).get("/S") == "/GoTo"]
    assert inside, "a chapter mentions its neighbour"
    addresses = [link.get("/A", {}).get("/URI", "") for link in links]
    assert not [a for a in addresses if any(f"{address}/book/{name}" in a for name in names)]
