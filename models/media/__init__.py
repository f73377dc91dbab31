"""Pictures, chat files, metadata and plots."""
