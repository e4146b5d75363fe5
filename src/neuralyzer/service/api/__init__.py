"""The API of the service over HTTP."""
