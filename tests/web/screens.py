"""What tests of pages in a browser share: the sizes of screens, and waiting for a plot."""

from playwright.sync_api import Page, expect

SIZES = {"desk": (1280, 800), "phone": (390, 844)}


def drawn(page: Page, plot: str) -> None:
    """Wait until plotly has drawn a figure."""
    expect(page.locator(f"#{plot} .main-svg").first).to_be_visible()
