"""Pictures: looks, graphs by epoch, pictures of what is computed, charts of tables."""
