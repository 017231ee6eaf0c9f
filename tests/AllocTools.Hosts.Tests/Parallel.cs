// Much of what these tests do is to wait for time-outs, and each has hosts of its own.
[assembly: Xunit.v3.Parallelization(MaxThreads = 3)]
