"""Figures and videos for people to look at. Import from the modules; figures.py alone loads matplotlib."""
