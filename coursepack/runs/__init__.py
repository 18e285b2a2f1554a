"""What runs leave behind: records, mistakes, and runs side by side as recipes."""
