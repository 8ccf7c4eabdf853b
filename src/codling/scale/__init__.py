"""Many machines: joining them, and planning for them without owning them."""
