"""Every figure of the package; the only folder that imports matplotlib."""
