"""A report of every version of a dataset, drawn as soon as the version is ready.

    python examples/automations/report_when_ready.py /data/reviews /data/reports --pool local

registers the deployment `render-report/when-ready` with an automation of its own. The event that starts it says which
version is ready: the run's parameters are filled in from it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger, ResourceSpecification
from prefect.types.entrypoint import EntrypointType

from prefect_datagen.flows.events import DatasetEvent, asset_key
from prefect_datagen.flows.report import render_report


def register(dataset: Path, reports: Path, *, pool: str) -> None:
    """Deploy the report to a work pool that is there, to be drawn whenever `dataset` is ready."""
    version = "{{ event.payload['version'] or 'report' }}"
    trigger = DeploymentEventTrigger(
        name=f"report of {dataset.name}",
        expect={DatasetEvent.READY.value},
        match=ResourceSpecification({"prefect.resource.id": asset_key(str(dataset.resolve()))}),
        parameters={
            "report": {"template": "{{ event.payload['location'] }}", "__prefect_kind": "jinja"},
            "output": {"template": f"{reports.resolve()}/{version}.html", "__prefect_kind": "jinja"},
        },
    )
    deployment = RunnerDeployment.from_flow(
        render_report, "when-ready", triggers=[trigger], entrypoint_type=EntrypointType.MODULE_PATH
    )
    deployment.apply(work_pool_name=pool)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="the dataset: with versions, the folder that holds them")
    parser.add_argument("reports", type=Path, help="folder for the reports")
    parser.add_argument("--pool", default="datagen", help="work pool")
    given = parser.parse_args()
    register(given.dataset, given.reports, pool=given.pool)
