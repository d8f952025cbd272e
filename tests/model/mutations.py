"""All rules that can be taken out, by the name of the function that does it."""

from __future__ import annotations

from tests.model import mutations_inside, mutations_outside
from tests.model.mutation import MUTATIONS, Mutation

__all__ = ["MUTATIONS", "Mutation", "mutations_inside", "mutations_outside"]
