"""Notifications: console, webhook, Slack, and a mock."""
