"""The web application: routes, and what every answer has in common."""

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from bot.web.alerts import AlertmanagerWebhook
from bot.web.health import Health
from bot.web.webhooks import GitHubWebhook

_log = structlog.stdlib.get_logger("bot.web.app")
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def create_app(
    webhook: GitHubWebhook, alerts: AlertmanagerWebhook, health: Health
) -> web.Application:
    """Return the application with its routes; it owns nothing that must be closed."""
    app = web.Application(middlewares=[_guarded])
    app.router.add_post("/webhooks/github", webhook.receive)
    app.router.add_post("/webhooks/alertmanager", alerts.receive)
    _add_health(app, health)
    return app


def create_health_app(health: Health) -> web.Application:
    """Return the application of a process that receives nothing, for probes and Prometheus."""
    app = web.Application(middlewares=[_guarded])
    _add_health(app, health)
    return app


def _add_health(app: web.Application, health: Health) -> None:
    app.router.add_get("/healthz", health.live)
    app.router.add_get("/readyz", health.ready)
    app.router.add_get("/metrics", health.metrics)


@web.middleware
async def _guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give every request its own log context and every answer the same headers."""
    structlog.contextvars.clear_contextvars()
    try:
        response = await handler(request)
    except web.HTTPException as refusal:
        response = web.json_response({"reason": refusal.reason}, status=refusal.status)
        if "Allow" in refusal.headers:
            response.headers["Allow"] = refusal.headers["Allow"]
    except Exception:  # noqa: BLE001  (the last line of defence: nothing may answer with a trace)
        _log.exception("request_failed", path=request.path)
        response = web.json_response({"reason": "Our fault; it has been logged."}, status=503)
    response.headers.update(_HEADERS)
    return response
