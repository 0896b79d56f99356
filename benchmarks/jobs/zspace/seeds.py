import zspace
from zspace.runs.comparison import compare

zspace.study(["vae"], data="pictures", latent=[8], seeds=3, epochs=1, out="seeds")
print(compare(["seeds"]).text("table"))
