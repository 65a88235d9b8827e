"""When a judge says that something falls, is kept or is near: every threshold, and its reason."""

# Shares of the trials.
MOST = 0.9  # what nine trials in ten do is what the setting does; one may be an accident
OFTEN = 0.5  # the paper's "frequently": at least every second time

# Changes along training, between the random weights and the end.
FALL = 0.9  # a tenth is lost: less is within what one trial differs from the next
CLOSE = 0.01  # two clusterings are equally good within one point in a hundred
FASTER = 0.9  # a tenth fewer steps

# What is left of the signal.
KEPT = 0.99  # share of P(X*) inside the leading r + 1 directions that counts as preserved
NEAR = 0.5  # spectral distance, every principal angle at 30° or less: a layer preserves
NEAR_ZERO = 0.1  # the claim "distance ≈ 0": a tenth of the largest possible spectral distance
DESTROYED, THERE = 0.9, 0.3  # sines: above, a direction is as good as lost; below, it is there

# Clusterings.
WELL = 0.9  # "clusters well": nine points in ten, in the median over the trials
OTHERS_WELL = (0.8, 0.95)  # … and what the same count is at other thresholds
NEARLY = 0.95  # "perfect or nearly so": ACC, NMI and ARI, in the median over the seeds

# Noise and depth.
REALISTIC = -2.0  # log₁₀ of the variance, one per cent of the signal's energy; the paper uses ten
LEVEL = 1.01  # a bound that grows by less than this factor from first to last layer does not grow

# Non-negative starts.
IDLE = 0.01  # ReLU acts on at most one pre-activation in a hundred
FLAT = 1e-3  # ‖g‖‖θ‖/L: moving the weights by their own size changes the loss by a thousandth
LEFT = 0.1  # part of the usual start's descent that is left at the loss that is raced for: late
# enough to count as learning, early enough not to be about the last digits of a loss that goes to 0

# Rank correlation over trained networks: a smaller NC1 (further collapse) or a smaller sharpness
# (a flatter minimum) goes with a larger share of P(X*) where Spearman's ρ is at most this.
CONNECTED = -0.5
