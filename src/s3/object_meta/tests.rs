//! Metas, strictly in and faithfully out.
