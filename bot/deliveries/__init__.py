"""Webhook deliveries: their form, their signature, and the inbox that keeps them."""
