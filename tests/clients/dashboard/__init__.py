"""The dashboard in a real browser, over a proxy that real engines read through."""
