"""Reports: what was found, shown to people and programs. Renderers only; nothing is decided or computed anew here."""
