"""From the store to what a page shows: no HTML here, no HTTP."""
