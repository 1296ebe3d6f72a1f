"""Keep pandas out of a process that does not need it.

pyarrow imports pandas if it is installed, 57 MB in each worker, to check for pandas objects, which the API never has.
"""

import sys
from importlib.abc import MetaPathFinder
from typing import Any


class PandasBlock(MetaPathFinder):
    """Makes `import pandas` fail as if pandas were not installed."""

    def find_spec(self, fullname: str, *_: Any, **__: Any) -> None:
        """Leave every other module to the next finder.

        Raises:
            ModuleNotFoundError: the module is pandas.
        """
        if fullname == "pandas":
            raise ModuleNotFoundError("the API runs without pandas", name=fullname)


def block_pandas() -> None:
    """Block pandas in this process and in those that it forks."""
    sys.meta_path.insert(0, PandasBlock())
