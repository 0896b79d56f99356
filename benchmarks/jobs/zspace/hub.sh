zspace export run --to hub --out USER/NAME
