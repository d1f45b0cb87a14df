"""Routes by resource: each reads its parameters, asks a view, and answers as a page or as JSON."""
