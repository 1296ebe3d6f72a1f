"""Keep pandas out of a process that gains nothing by it.

pyarrow imports pandas where it is installed, 57 MB in each worker, to look for objects that nobody gives it here.
"""

import sys
from importlib.abc import MetaPathFinder
from typing import Any


class PandasBlock(MetaPathFinder):
    """Makes `import pandas` fail as if it were not installed."""

    def find_spec(self, fullname: str, *_: Any, **__: Any) -> None:
        """As importlib asks for it; leaves all else to the finders behind it.

        Raises:
            ModuleNotFoundError: pandas is asked for.
        """
        if fullname == "pandas":
            raise ModuleNotFoundError("the API runs without pandas", name=fullname)


def block_pandas() -> None:
    """From now on, in this process and those that are forked from it."""
    sys.meta_path.insert(0, PandasBlock())
