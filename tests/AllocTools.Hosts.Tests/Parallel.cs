// These tests mostly wait for timeouts, and each has its own hosts.
[assembly: Xunit.v3.Parallelization(MaxThreads = 3)]
