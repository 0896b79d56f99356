"""A study or a run as one HTML file that needs no network.

facts      a study as the sentences see it
families   what the page says of a family, and which two are fair to compare
measures   numbers that stand beside the figures
words      numbers into sentences
captions   the text of each figure (about_images, about_codes); intros, prose: all other text
evaluated  what zspace evaluate measured
pictures   figures as data URIs; scatter: the interactive one; tables: rows of text
page       the file
"""

from zspace.report.page import write_report

__all__ = ["write_report"]
