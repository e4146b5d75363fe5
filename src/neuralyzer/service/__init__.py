"""The service: requests, their durable cases, the queue, the API and the dashboard."""
