"""Raw requests, sent byte for byte as written, to the origin and through the proxy."""
