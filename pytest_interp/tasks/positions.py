"""Named positions of an IOI prompt, as Wang et al. 2022 (section 2) name them."""

from __future__ import annotations

IO = "IO"
"""The indirect object: the name that is the answer."""
S1 = "S1"
"""The subject's first mention."""
S1_NEXT = "S1+1"
"""The token after the subject's first mention."""
S2 = "S2"
"""The subject's second mention."""
END = "END"
"""The last token before the answer."""

IOI_POSITIONS = (IO, S1, S1_NEXT, S2, END)
