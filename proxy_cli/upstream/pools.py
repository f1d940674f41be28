"""All pools: one for each backend, which is told apart by its address, its TLS settings and its proxy."""

from collections.abc import Mapping

from proxy_cli.shapes import Backend
from proxy_cli.tasks import Tasks
from proxy_cli.upstream.connect import Ways
from proxy_cli.upstream.names import Names, Resolver
from proxy_cli.upstream.pool import Figures, Pool, Terms
from proxy_cli.upstream.tls import Contexts


class Pools(dict[Backend, Pool]):
    """Pools by backend, made when they are first asked for. Owns them, and what all of them share."""

    def __init__(self, terms: Terms, resolve: Resolver) -> None:
        super().__init__()
        self._terms = terms
        self._ways = Ways(Names(resolve), Contexts())
        self._tasks = Tasks()

    def __missing__(self, backend: Backend) -> Pool:
        pool = self[backend] = Pool(backend, self._ways, self._terms, self._tasks)
        return pool

    @property
    def figures(self) -> Mapping[str, Figures]:
        """How each stands, by the backend's address; several pools of one address are added up."""
        found: dict[str, Figures] = {}
        for backend, pool in self.items():
            name = str(backend)
            figures = pool.figures
            found[name] = Figures(*map(sum, zip(found[name], figures, strict=True))) if name in found else figures
        return found

    async def close(self) -> None:
        """Close every connection, idle or busy; who still waits gets an error."""
        for pool in list(self.values()):
            await pool.close()
        await self._tasks.close()
        self._ways.names.close()
