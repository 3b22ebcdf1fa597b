"""`sofs health`."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console

from cluster.cli.context import Settings, call_node
from cluster.text import visible

SEVERITIES = {4: "information", 5: "warning", 6: "error"}


def health() -> None:
    """What is wrong with disks, pool and volumes, why, and what to do about it."""
    found: dict[str, Any] = call_node("health")
    if Settings.as_json:
        Console(soft_wrap=True, highlight=False).print_json(json.dumps(found))
        return
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    console.print(found["health"])
    for fault in found["faults"]:
        severity = SEVERITIES.get(fault["PerceivedSeverity"], "?")
        kind = fault["FaultType"].removeprefix("Microsoft.Health.FaultType.")
        console.print(f"\n{severity}: {visible(fault['FaultingObjectDescription'])}: {kind}")
        console.print(f"  {visible(fault['Reason'])}")
        for action in fault["RecommendedActions"]:
            console.print(f"  - {visible(action)}")
