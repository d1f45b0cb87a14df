"""Files of other tools: features out to SAEDashboard and Neuronpedia, features in from SAEDashboard and delphi.

Decisions:
- Foreign formats stay in this package; an import goes through `IndexWriter` like any other, so that every table, check
  and statistic of an imported index is exact for what was imported, and readers need not know where it came from.
- What a file does not say is not invented: it is left out, or NaN in a column that must hold a number, and the index's
  provenance says so in words (`knows`).
- All of a source is read and checked before anything is written; what is written appears under its name when it is
  complete.

`export_sae_dashboard(store, folder, …)` and `export_neuronpedia(store, folder, …)` write the features of an index;
`import_sae_dashboard(workspace, source, …)` and `import_delphi(workspace, folder, vocabulary, special, …)` build an
index from files. On the command line: `saebench store export FOLDER --to …` and `saebench store import SOURCE`.
"""

from store.interchange.delphi import import_delphi
from store.interchange.names import Names
from store.interchange.neuronpedia import export_neuronpedia
from store.interchange.sae_dashboard import export_sae_dashboard
from store.interchange.sae_dashboard_import import import_sae_dashboard

__all__ = ["Names", "export_neuronpedia", "export_sae_dashboard", "import_delphi", "import_sae_dashboard"]
