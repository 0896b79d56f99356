from sdv.sampling import Condition
from sdv.utils import load_synthesizer

model = load_synthesizer("sdv-run.pkl")
asked = Condition(num_rows=16, column_values={"cultivar": "class_1"})
made = model.sample_from_conditions([asked])
print(made)
