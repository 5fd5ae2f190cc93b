"""Messages between the parts: publish/subscribe, request/response, leased work queues."""
