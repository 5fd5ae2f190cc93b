"""A cloud provider as a deployment target."""

from abc import abstractmethod

from pipelines.integrations.target import DeploymentTarget
from pipelines.model import Frozen


class Account(Frozen):
    """Whose resources are used, as the provider itself says."""

    id: str
    region: str = ""


class CloudProvider(DeploymentTarget):
    """Runs a service as the provider's managed containers."""

    @abstractmethod
    async def account(self) -> Account:
        """Return whose credentials are used; UserError if there are none that work."""
