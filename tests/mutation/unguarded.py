"""Mutants that need no test, each for a reason: they open nothing."""

from __future__ import annotations

from tests.mutation.mutants import Mutant

NOT_SECURITY = frozenset(
    {
        "azure-native:monitor:ActionGroup",
        "azure-native:monitor:ScheduledQueryRule",
        "azure-native:resources:ResourceGroup",
        "azure-native:web:AppServicePlan",
    }
)
"""Types of which only the absence would be a hole; tests of their own look at what they do."""

WORDS = frozenset(
    {
        "ManagementLockByScope.lockName",
        "ManagementLockByScope.notes",
        "ManagementPolicy.policy.rules.cool.name",
        "RoleDefinition.description",
        "RoleDefinition.roleName",
        "Subnet.delegations.app.name",
        "Subnet.delegations.containers.name",
    }
)
"""Words for people: any others do as well."""

DEFAULTS = frozenset(
    {
        "Component.applicationType",
        "Component.flowType",
        "Component.kind",
        "Component.publicNetworkAccessForIngestion",
        "Component.publicNetworkAccessForQuery",
        "Component.requestSource",
        "Image.dockerfile",
        "Image.network",
        "PrivateEndpoint.subnet.privateEndpointNetworkPolicies",
        "PrivateEndpoint.subnet.privateLinkServiceNetworkPolicies",
        "Registry.zoneRedundancy",
        "Subnet.privateLinkServiceNetworkPolicies",
        "VirtualNetwork.enableDdosProtection",
        "VirtualNetwork.enableVmProtection",
        "WebApp.clientAffinityEnabled",
        "WebApp.hyperV",
        "WebApp.isXenon",
        "WebApp.scmSiteAlsoStopped",
        "WebApp.siteConfig.localMySqlEnabled",
        "WebApp.siteConfig.netFrameworkVersion",
    }
)
"""What the package fills in where the program says nothing, and what fails a build if wrong."""


def is_unguarded(mutant: Mutant) -> bool:
    """Whether no test has to notice the mutant."""
    if not mutant.path:
        return False
    path = f"{mutant.type.rpartition(':')[2]}.{mutant.path}"
    unguarded = WORDS | DEFAULTS
    return mutant.type in NOT_SECURITY or any(
        path == each or path.startswith(f"{each}.") for each in unguarded
    )
