"""All sources, in the order they are made."""
from corpora.sources import documentation, essays, handbooks, manuals, novels, poems, questions

ALL = [*essays.SOURCES, *novels.SOURCES, *handbooks.SOURCES, *documentation.SOURCES, *manuals.SOURCES, *poems.SOURCES, *questions.SOURCES]
