"""The viewer: a web application over a log folder; reads results, never imports torch."""
