"""Feature index → what each feature stands for, in words or patterns, and how well that predicts it on other text."""
