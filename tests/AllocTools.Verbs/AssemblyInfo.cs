using Xunit;

// What is pinned is counted for the process.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
