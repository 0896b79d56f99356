zspace train vae --data gaps.csv --latent 4 --epochs 20 --out gaps
zspace impute gaps --data gaps.csv --out filled.csv
