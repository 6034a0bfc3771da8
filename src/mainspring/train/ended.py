"""That a fine-tuning job has ended, for webhooks."""

from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.store.jobs import Job
from mainspring.store.outbox import announce

__all__ = ["announce_end"]


async def announce_end(connection: AsyncConnection, job: Job, now_s: float) -> None:
    """Tell it in the transaction in which the job's status becomes final: fine_tuning.job.succeeded, for instance."""
    await announce(connection, project=job.project, type=f"fine_tuning.job.{job.status}", object=job.id, now_s=now_s)
