"""How benchmarks write into pages."""

import pytest

from benchmarks.report import replace_section
from glowdiff.errors import ConfigError


def test_a_section_is_replaced_in_place_and_added_once(tmp_path):
    page = tmp_path / "results.md"
    page.write_text("# Results\n\n<!-- ablation depth -->\nold\n<!-- end -->\n\nrest\n")
    replace_section(page, "ablation depth", "new")
    assert page.read_text() == "# Results\n\n<!-- ablation depth -->\nnew\n<!-- end -->\n\nrest\n"
    for body in ("first", "second"):
        replace_section(page, "ablation models", body)
    assert page.read_text().endswith("rest\n\n<!-- ablation models -->\nsecond\n<!-- end -->\n")
    page.write_text("<!-- ablation depth -->\n")
    with pytest.raises(ConfigError, match="without <!-- end -->"):
        replace_section(page, "ablation depth", "new")
