import numpy as np

import zspace

again = zspace.load("run").reconstruct(np.load("new.npy"))
print(again.shape)
