"""The dashboard: pages on the same server as the API, made with templates; each works without a script."""
