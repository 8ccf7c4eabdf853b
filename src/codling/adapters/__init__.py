"""Low-rank adapters: attach, train, save, and what is trained with them."""
