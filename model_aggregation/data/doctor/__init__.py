"""The whole examination of a data set: near duplicates, shortcuts, statistics, and a page that shows them."""
