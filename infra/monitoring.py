"""Logs of the scheduler and the extractors, and alerts on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import applicationinsights, monitor, operationalinsights

from infra.config import AlertsConfig, MonitoringConfig
from infra.stack import StackProps

_SHORT_NAME = "pipelines"
"""What mails call the action group: at most 12 characters."""

_EVALUATION = "PT5M"
"""How often alerts look, and how far back unless they say otherwise."""


@dataclass(frozen=True)
class Alert:
    """A rule on the scheduler's log.

    Args:
        name: the rule's name.
        description: what has happened, for whoever gets the mail.
        query: in Kusto; each row that it finds is one such event.
        window: ISO 8601 duration that the query looks back.
        expected: whether it is bad to find nothing, and not to find something.
        severity: 0 is critical, 4 is verbose.
    """

    name: str
    description: str
    query: str
    window: str = _EVALUATION
    expected: bool = False
    severity: int = 1


def alerts(config: AlertsConfig) -> Iterator[Alert]:
    """The rules that the configuration asks for; none without somebody to tell."""
    if not config.emails:
        return
    yield Alert(
        name="no-tick",
        description=f"The scheduler has not ticked for {config.no_tick_minutes} minutes.",
        query='AppTraces | where Message startswith "tick finished"',
        window=f"PT{config.no_tick_minutes}M",
        expected=True,
        severity=0,
    )
    if config.job_failed:
        yield Alert(
            name="job-failed",
            description="A run has failed, timed out or was abandoned.",
            query='AppTraces | where Message startswith "run ended" '
            'and Message has_any ("status=failed", "status=timed_out", "status=abandoned")',
        )
    if config.run_overdue:
        yield Alert(
            name="run-overdue",
            description="A run was still going at its deadline.",
            query='AppTraces | where Message startswith "run overdue"',
        )
    if config.run_slow:
        yield Alert(
            name="run-slow",
            description="A run takes far longer than those before it did.",
            query='AppTraces | where Message startswith "run slow"',
            severity=2,
        )


@dataclass(frozen=True)
class MonitoringProps:
    """Arguments of :class:`Monitoring`."""

    stack: StackProps
    config: MonitoringConfig


class Monitoring(pulumi.ComponentResource):
    """A Log Analytics workspace, Application Insights on top of it, and alerts by mail.

    Logs are sent with an identity: neither the workspace nor Application Insights takes a key.

    Attributes:
        component_id: id of the Application Insights component, the scope of the role to send.
        connection_string: where to send to. It is no secret where keys are not accepted.
    """

    def __init__(
        self, name: str, props: MonitoringProps, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("pipelines:infra:Monitoring", name, None, opts)
        self._name = name
        self._stack = props.stack
        parent = pulumi.ResourceOptions(parent=self)
        self._workspace = operationalinsights.Workspace(
            name,
            resource_group_name=props.stack.resource_group_name,
            sku=operationalinsights.WorkspaceSkuArgs(
                name=operationalinsights.WorkspaceSkuNameEnum.PER_GB2018
            ),
            retention_in_days=props.config.retention_days,
            features=operationalinsights.WorkspaceFeaturesArgs(disable_local_auth=True),
            tags=props.stack.tags,
            opts=parent,
        )
        component = applicationinsights.Component(
            name,
            resource_group_name=props.stack.resource_group_name,
            kind="web",
            application_type=applicationinsights.ApplicationType.WEB,
            workspace_resource_id=self._workspace.id,
            disable_local_auth=True,
            tags=props.stack.tags,
            opts=parent,
        )
        self.component_id: pulumi.Output[str] = component.id
        self.connection_string: pulumi.Output[str] = component.connection_string
        self._declare_alerts(props.config.alerts)
        self.register_outputs({})

    def _declare_alerts(self, config: AlertsConfig) -> None:
        rules = list(alerts(config))
        if not rules:
            return
        group = monitor.ActionGroup(
            self._name,
            resource_group_name=self._stack.resource_group_name,
            location="global",
            enabled=True,
            group_short_name=_SHORT_NAME,
            email_receivers=[
                monitor.MicrosoftCommonEmailReceiverArgs(
                    name=email, email_address=email, use_common_alert_schema=True
                )
                for email in config.emails
            ],
            tags=self._stack.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        for rule in rules:
            self._rule(rule, group.id)

    def _rule(self, alert: Alert, group_id: pulumi.Input[str]) -> None:
        monitor.ScheduledQueryRule(
            f"{self._name}-{alert.name}",
            resource_group_name=self._stack.resource_group_name,
            kind=monitor.Kind.LOG_ALERT,
            scopes=[self._workspace.id],
            description=alert.description,
            enabled=True,
            severity=alert.severity,
            evaluation_frequency=_EVALUATION,
            window_size=alert.window,
            criteria=monitor.ScheduledQueryRuleCriteriaArgs(
                all_of=[
                    monitor.ConditionArgs(
                        query=alert.query,
                        time_aggregation=monitor.TimeAggregation.COUNT,
                        # As text: the package's enumeration is that of another resource.
                        operator="LessThan" if alert.expected else "GreaterThanOrEqual",
                        threshold=1,
                        failing_periods=monitor.ConditionFailingPeriodsArgs(
                            number_of_evaluation_periods=1, min_failing_periods_to_alert=1
                        ),
                    )
                ]
            ),
            # The table comes into being with the first log line, after the rule.
            skip_query_validation=True,
            actions=monitor.ActionsArgs(action_groups=[group_id]),
            tags=self._stack.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
