import pandas as pd
from sdv.metadata import Metadata
from sdv.single_table import TVAESynthesizer

rows = {"rows": pd.read_csv("rows.csv")}
model = TVAESynthesizer(Metadata.detect_from_dataframes(rows), epochs=20)
model.fit(rows)
model.save("sdv-run.pkl")
model.sample(num_rows=100)["rows"].to_csv("made.csv", index=False)
