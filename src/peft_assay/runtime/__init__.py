"""Runtime: from a permission to an active adapter in this process. The only room that (lazily) meets torch."""
