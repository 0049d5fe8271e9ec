"""The site: ``make docs``. Nothing is fetched when it is built or read."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

from llm4grn import __version__  # noqa: E402

# Pages of names that are no longer public would stay from an earlier build.
shutil.rmtree(Path(__file__).with_name("reference") / "generated", ignore_errors=True)

project = "llm4grn"
author = "The llm4grn developers"
copyright = "2026, the llm4grn developers"
release = version = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "myst_nb",
    "sphinx_copybutton",
    "llm4grn_docs",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_ext", "_templates", "**.ipynb_checkpoints"]

# -- text and notebooks -----------------------------------------------------------------------------------------------
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # outputs are stored: make tutorials
nb_output_stderr = "remove"
nb_merge_streams = True
html_math_renderer = "mathml"  # of llm4grn_docs; MathJax would be fetched
suppress_warnings = ["mystnb.unknown_mime_type"]

# -- Python -----------------------------------------------------------------------------------------------------------
autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_rtype = False

# -- look -------------------------------------------------------------------------------------------------------------
html_theme = "sphinx_book_theme"
html_title = "llm4grn"
html_theme_options = {
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "home_page_in_toc": False,
    "navbar_persistent": [],  # the search is in the side bar
    "pygments_light_style": "a11y-light",
    "pygments_dark_style": "a11y-dark",
}
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system is set
html_static_path = ["_static"]
html_css_files = ["llm4grn.css"]
html_show_sourcelink = False
html_copy_source = False
