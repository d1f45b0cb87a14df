"""What happens to every request before and after its route: who may ask, in which form, and what may be kept."""
