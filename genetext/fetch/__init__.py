"""Bytes from servers, mirrors and folders, whole and checked, whatever is written in them. Knows no snapshots."""
