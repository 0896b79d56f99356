import zspace

made = zspace.load("run").sample(16)
print(made.shape)
