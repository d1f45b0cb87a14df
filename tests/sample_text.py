"""A text that makes tokenizers work: letters of several bytes, characters split over tokens."""

SAMPLE = "def größe(x):\n    return '→ naïve' if x else None  # ☃ 雪だるま\n" * 3
